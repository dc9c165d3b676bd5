"""The records of the journal. All times are unix seconds.

Rows of the journal's tables as records, and back; what is no record any more is left out.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum, StrEnum
from typing import Any, TypeVar

from sidecar.engines.base import FailureClass, Stats
from sidecar.lib.errors import SidecarError
from sidecar.lib.process import Child
from sidecar.runner.due import Job, JobKind, Moments


class JournalError(SidecarError):
    """The journal could not be read, or something could not be made durable."""

    def __init__(self, message: str, hint: str, failure: FailureClass) -> None:
        super().__init__(message, hint)
        self.failure = failure


class RunOutcome(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    WARNING = "warning"
    """It has done its work, but not all of it, or something after it went wrong."""
    SKIPPED = "skipped"
    """Nothing had changed, so that no snapshot was made."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    """A START hook called it off, or the runner was asked to end."""
    INTERRUPTED = "interrupted"
    """The runner died during it."""

    @property
    def is_good(self) -> bool:
        """Whether what should be saved is saved."""
        return self in {RunOutcome.SUCCESS, RunOutcome.WARNING, RunOutcome.SKIPPED}


class RunCause(StrEnum):
    """Why a run began."""

    SCHEDULE = "schedule"
    START = "start"
    MANUAL = "manual"
    RETRY = "retry"


class Phase(StrEnum):
    """How far a run has come."""

    BEGUN = "begun"
    STARTING = "starting"
    """START hooks run, or are waited for to be run once more."""
    WORKING = "working"
    ENDING = "ending"
    """The hooks after the work run."""
    FORGETTING = "forgetting"
    """All of that is over; snapshots beyond the retention are forgotten."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, and when; `reason` and `excerpt` are in words, without secrets."""

    outcome: RunOutcome
    at: float
    snapshot: str = ""
    stats: Stats | None = None
    failure: FailureClass | None = None
    reason: str = ""
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt; `ended` None: it runs, or nobody has told yet how it ended.

    A negative id is that of a run which could not be recorded when it began.
    """

    id: int
    job: Job
    trigger: RunCause
    started: float
    phase: Phase = Phase.BEGUN
    ended: Ended | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run that has no end, and what is needed to put things right after it.

    `resume` is what `begin` was given, `child` a program that may still run, `snapshot`
    what the run had made when it was last heard of.
    """

    run: Run
    resume: str = field(repr=False)
    child: Child | None = None
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a piece of work; None: never."""

    first_seen: float
    last_start: float | None = None
    last_missed: float | None = None
    last_end: float | None = None
    last_outcome: RunOutcome | None = None
    last_success: float | None = None
    """The end of the last run that saved what it should."""

    @property
    def moments(self) -> Moments:
        """What decides when it is due."""
        return Moments(self.first_seen, self.last_start, self.last_missed)


@dataclass(frozen=True, slots=True)
class RunHistory:
    """All that is known of the past, by work; never changed, but replaced by a newer one."""

    past: Mapping[Job, Past] = field(default_factory=dict)
    moments: Mapping[Job, Moments] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MissedFires:
    """Fires that no run answers: the first, the last, and how many; `at`: when that was told."""

    job: Job
    first: float
    last: float
    count: int
    at: float


@dataclass(frozen=True, slots=True)
class Verified:
    """A plan's snapshot that was last compared with what it was made of, byte for byte."""

    at: float
    snapshot: str


@dataclass(frozen=True, slots=True)
class Device:
    """The device on which a path of a plan lay at the last backup, and whether it held anything."""

    device: int
    non_empty: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """A container that is to be started again; `run` is what stopped it, 0: no recorded run."""

    container: str
    name: str
    run: int


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that is yet to be sent, after `failures` tries; `body` is its sender's."""

    id: int
    body: str = field(repr=False)
    posted: float
    failures: int


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
    """Return the end of a text in a form that can be stored: halves of characters cannot."""
    return value[-most:].encode("utf-8", "replace").decode()


def _member(kind: type[E], value: object) -> E | None:
    """Return the member of that value; None for one of another version."""
    return next((one for one in kind if one.value == value), None)


def job_of(kind: str, subject: str, repo: str) -> Job | None:
    """Return the work; None if it is of a kind that another version knows."""
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
        _member(RunOutcome, outcome) or RunOutcome.FAILED,
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
    """Return the values of the columns from `ended` to `excerpt`."""
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


def read_past(cursor: sqlite3.Cursor) -> dict[Job, Past]:
    """Read rows of PAST_COLUMNS."""
    found: dict[Job, Past] = {}
    for first_seen, start, missed, end, outcome, success, *names in cursor:
        if (job := job_of(*names)) is not None:
            known = _member(RunOutcome, outcome)
            found[job] = Past(first_seen, start, missed, end, known, success)
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
        *job,
    )


def history_of(past: Mapping[Job, Past]) -> RunHistory:
    """Show the past from both sides."""
    return RunHistory(past, {job: known.moments for job, known in past.items()})
