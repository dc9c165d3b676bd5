"""Rows of the journal's tables as records, and back; what is no record any more is left out."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from enum import Enum
from typing import Any, TypeVar

from sidecar.engines.base import FailureClass, Stats
from sidecar.lib.process import Child
from sidecar.runner.due import Kind, Work
from sidecar.runner.journal.records import (
    Ended,
    History,
    Outcome,
    Past,
    Phase,
    Run,
    Trigger,
    Unfinished,
)

MOST_REASON = 2_000
MOST_EXCERPT = 8_000

RUN_COLUMNS = (
    "id, kind, subject, repo, cause, started, phase, "
    "ended, outcome, snapshot, stats, failure, reason, excerpt"
)
PAST_COLUMNS = (
    "first_seen, last_start, last_missed, last_end, last_outcome, last_success, kind, subject, repo"
)

_MEMBERS = {known.name: known.type for known in fields(Stats)}

E = TypeVar("E", bound=Enum)
Values = tuple[Any, ...]


def plain_text(value: str, most: int = MOST_EXCERPT) -> str:
    """Give the end of a text in a form that can be stored: halves of characters cannot."""
    return value[-most:].encode("utf-8", "replace").decode()


def _member(kind: type[E], value: object) -> E | None:
    """Give the member of that value; None for one of another version."""
    return next((one for one in kind if one.value == value), None)


def work_of(kind: str, subject: str, repo: str) -> Work | None:
    """Give the work; None if it is of a kind that another version knows."""
    known = _member(Kind, kind)
    return None if known is None else Work(known, subject, repo)


def read_runs(cursor: sqlite3.Cursor) -> Iterator[Run]:
    """Read rows of RUN_COLUMNS."""
    return (run for row in cursor if (run := run_of(row)) is not None)


def run_of(row: Values) -> Run | None:
    """Read a row of RUN_COLUMNS."""
    number, kind, subject, repo, cause, started, phase, *ended = row
    work = work_of(kind, subject, repo)
    if work is None:
        return None
    return Run(
        number,
        work,
        _member(Trigger, cause) or Trigger.MANUAL,
        started,
        _member(Phase, phase) or Phase.ENDING,
        _ended_of(*ended),
    )


def _ended_of(
    at: float | None,
    outcome: str | None,
    snapshot: str,
    stats: str | None,
    failure: str | None,
    reason: str,
    excerpt: str,
) -> Ended | None:
    if at is None:
        return None
    return Ended(
        _member(Outcome, outcome) or Outcome.FAILED,
        at,
        snapshot,
        None if stats is None else _stats_of(stats),
        None if failure is None else _member(FailureClass, failure) or FailureClass.UNKNOWN,
        reason,
        excerpt,
    )


def _stats_of(text: str) -> Stats | None:
    try:
        held = json.loads(text)
    except ValueError:
        return None
    if not isinstance(held, dict):
        return None
    return Stats(**{key: value for key, value in held.items() if key in _MEMBERS})


def ended_values(ended: Ended) -> Values:
    """Give the values of the columns from `ended` to `excerpt`."""
    return (
        ended.at,
        ended.outcome.value,
        plain_text(ended.snapshot),
        None if ended.stats is None else json.dumps(asdict(ended.stats)),
        None if ended.failure is None else ended.failure.value,
        plain_text(ended.reason, MOST_REASON),
        plain_text(ended.excerpt, MOST_EXCERPT),
    )


def unfinished_of(row: Values) -> Unfinished | None:
    """Read a row of `resume, child_pid, child_started, snapshot` and RUN_COLUMNS."""
    resume, pid, started, snapshot, *rest = row
    run = run_of(tuple(rest))
    if run is None:
        return None
    child = None if pid is None or started is None else Child(pid, started)
    return Unfinished(run, resume, child, snapshot)


def read_past(cursor: sqlite3.Cursor) -> dict[Work, Past]:
    """Read rows of PAST_COLUMNS."""
    found: dict[Work, Past] = {}
    for first_seen, start, missed, end, outcome, success, *names in cursor:
        if (work := work_of(*names)) is not None:
            known = _member(Outcome, outcome)
            found[work] = Past(first_seen, start, missed, end, known, success)
    return found


def past_values(work: Work, past: Past) -> Values:
    """Give the values of PAST_COLUMNS."""
    outcome = None if past.last_outcome is None else past.last_outcome.value
    return (
        past.first_seen,
        past.last_start,
        past.last_missed,
        past.last_end,
        outcome,
        past.last_success,
        *work,
    )


def history_of(past: Mapping[Work, Past]) -> History:
    """Show the past from both sides."""
    return History(past, {work: known.moments for work, known in past.items()})
