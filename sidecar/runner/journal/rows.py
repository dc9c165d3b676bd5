"""Convert rows of the journal's tables to records, and back.

Rows that this version does not know, because another version wrote them, are left out.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, astuple, fields
from enum import Enum
from typing import Any, TypeVar

from sidecar.engines.base import FailureClass, Stats
from sidecar.lib.process import Child
from sidecar.runner.due import Job, JobKind, Retry
from sidecar.runner.journal.records import (
    Ended,
    Past,
    Phase,
    Run,
    RunCause,
    RunOutcome,
    Unfinished,
)
from sidecar.runner.journal.schema import Row

_MOST_REASON = 2_000
_MOST_EXCERPT = 8_000

RUN_COLUMNS = (
    "id, kind, subject, repo, cause, started, phase, "
    "ended, outcome, snapshot, stats, failure, reason, excerpt"
)
PAST_COLUMNS = (
    "first_seen, last_start, last_missed, last_end, last_outcome, last_success, "
    "retry_fire, retry_at, retry_tries, retry_hook_tries, kind, subject, repo"
)

START_COLUMNS = ("kind", "subject", "repo", "cause", "started", "phase", "resume")
OF_JOB = "kind = ? AND subject = ? AND repo = ?"

_STATS_FIELDS = {known.name: known.type for known in fields(Stats)}

E = TypeVar("E", bound=Enum)
Values = tuple[Any, ...]


def plain_text(value: str, most: int = _MOST_EXCERPT) -> str:
    """Return the last characters of a text, half characters replaced so that it can be stored."""
    return value[-most:].encode("utf-8", "replace").decode()


def _member(kind: type[E], value: object) -> E | None:
    """Return the member of that value; None if another version has it."""
    return next((one for one in kind if one.value == value), None)


def job_of(kind: str, subject: str, repo: str) -> Job | None:
    """Return the job; None if another version knows its kind."""
    known = _member(JobKind, kind)
    return None if known is None else Job(known, subject, repo)


def read_runs(cursor: sqlite3.Cursor) -> Iterator[Run]:
    """Read rows of RUN_COLUMNS."""
    return (run for row in cursor if (run := run_of(row)) is not None)


def run_of(row: Values) -> Run | None:
    """Read a row of RUN_COLUMNS."""
    number, kind, subject, repo, cause, started, phase, *ended = row
    job = job_of(kind, subject, repo)
    if job is None:
        return None
    return Run(
        number,
        job,
        _member(RunCause, cause) or RunCause.MANUAL,
        started,
        _member(Phase, phase) or Phase.ENDING,
        _ended_of(tuple(ended)),
    )


def _ended_of(row: Values) -> Ended | None:
    """Read the columns from `ended` to `excerpt`."""
    at, outcome, snapshot, stats, failure, reason, excerpt = row
    if at is None:
        return None
    return Ended(
        _member(RunOutcome, outcome) or RunOutcome.FAILED,
        at,
        snapshot,
        None if stats is None else stats_of(stats),
        None if failure is None else _member(FailureClass, failure) or FailureClass.UNKNOWN,
        reason,
        excerpt,
    )


def stats_of(text: str) -> Stats | None:
    """Read what a backup counted; None if another version has written it."""
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(held, dict):
        return None
    return Stats(**{key: value for key, value in held.items() if key in _STATS_FIELDS})


def ended_values(ended: Ended) -> Values:
    """Return the values of the columns from `ended` to `excerpt`."""
    return (
        ended.at,
        ended.outcome.value,
        plain_text(ended.snapshot),
        None if ended.stats is None else json.dumps(asdict(ended.stats)),
        None if ended.failure is None else ended.failure.value,
        plain_text(ended.reason, _MOST_REASON),
        plain_text(ended.excerpt, _MOST_EXCERPT),
    )


def unfinished_of(row: Values) -> Unfinished | None:
    """Read a row of `resume, child_pid, child_started, snapshot` and RUN_COLUMNS."""
    resume, pid, started, snapshot, *rest = row
    run = run_of(tuple(rest))
    if run is None:
        return None
    child = None if pid is None or started is None else Child(pid, started)
    return Unfinished(run, resume, child, snapshot)


def read_past(cursor: sqlite3.Cursor) -> dict[Job, Past]:
    """Read rows of PAST_COLUMNS."""
    found: dict[Job, Past] = {}
    for row in cursor:
        first_seen, start, missed, end, outcome, success, *retry, kind, subject, repo = row
        if (job := job_of(kind, subject, repo)) is not None:
            known = _member(RunOutcome, outcome)
            again = None if retry[0] is None else Retry(*retry)
            found[job] = Past(first_seen, start, missed, end, known, success, again)
    return found


def past_values(job: Job, past: Past) -> Values:
    """Return the values of PAST_COLUMNS."""
    outcome = None if past.last_outcome is None else past.last_outcome.value
    return (
        past.first_seen,
        past.last_start,
        past.last_missed,
        past.last_end,
        outcome,
        past.last_success,
        *((None, None, 0, 0) if past.retry is None else astuple(past.retry)),
        *job,
    )


def past_row(job: Job, past: Past) -> Row:
    """Return the whole row of a job's past."""
    return "works", tuple(PAST_COLUMNS.split(", ")), past_values(job, past)


def unfinished_row(one: Unfinished) -> Row:
    """Return the whole row of a run without an end."""
    run, child = one.run, one.child
    columns = ("id", *START_COLUMNS, "snapshot", "child_pid", "child_started")
    head = (run.id, *run.job, run.trigger.value, run.started, run.phase.value, one.resume)
    tail = (None, None) if child is None else (child.pid, child.started)
    return "runs", columns, (*head, one.snapshot, *tail)
