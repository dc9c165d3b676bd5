"""The records that the journal keeps. All times are unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.engines.base import FailureClass, Stats
from sidecar.lib.errors import SidecarError
from sidecar.lib.process import Child
from sidecar.runner.due import Job, Moments, Retry


class JournalError(SidecarError):
    """The journal could not be read, or a change could not be made durable."""

    def __init__(self, message: str, hint: str, failure: FailureClass) -> None:
        super().__init__(message, hint)
        self.failure = failure


class RunOutcome(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    WARNING = "warning"
    """It saved something, but not all of it, or something after it failed."""
    SKIPPED = "skipped"
    """Nothing had changed, so that no snapshot was made."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    """A START hook cancelled it, or the runner was asked to end."""
    INTERRUPTED = "interrupted"
    """The runner died during it."""

    @property
    def is_good(self) -> bool:
        """Whether the run saved what it should."""
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
    """START hooks run, or wait to be run once more."""
    WORKING = "working"
    ENDING = "ending"
    """The hooks after the engine run."""
    SEALING = "sealing"
    """END commands have run; what was captured is made a snapshot, then all other hooks run."""
    FORGETTING = "forgetting"
    """All hooks have run; snapshots beyond the retention are forgotten."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, and when; `reason` and `excerpt` hold no secrets."""

    outcome: RunOutcome
    at: float
    snapshot: str = ""
    stats: Stats | None = None
    failure: FailureClass | None = None
    reason: str = ""
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a job; `ended` is None while it runs, or if its end is not recorded.

    A negative id is that of a run which could not be recorded when it began. `again` is when it is
    tried again, in unix seconds; None: it is not, or was read from the journal.
    """

    id: int
    job: Job
    trigger: RunCause
    started: float
    phase: Phase = Phase.BEGUN
    ended: Ended | None = None
    again: float | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run without an end, and what is needed to finish it.

    `resume` is the text that `Runs.begin` was given, `child` a program that may still run,
    `snapshot` the id that the run had made when it was last recorded.
    """

    run: Run
    resume: str = field(repr=False)
    child: Child | None = None
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of the runs of a job; None: never."""

    first_seen: float
    last_start: float | None = None
    last_missed: float | None = None
    last_end: float | None = None
    last_outcome: RunOutcome | None = None
    last_success: float | None = None
    """The end of the last run that saved what it should."""
    retry: Retry | None = None
    """The fire that is tried again."""

    @property
    def moments(self) -> Moments:
        """What decides when it is due."""
        return Moments(self.first_seen, self.last_start, self.last_missed)

    def pulled_back(self, now: float) -> "Past":
        """Return it without what lies ahead of `now`: it counts as having been now."""
        moments = self.moments.pulled_back(now)
        return Past(
            moments.first_seen,
            moments.last_start,
            moments.last_missed,
            None if self.last_end is None else min(self.last_end, now),
            self.last_outcome,
            None if self.last_success is None else min(self.last_success, now),
            None if self.retry is None else self.retry.pulled_back(now),
        )


@dataclass(frozen=True, slots=True)
class RunHistory:
    """What is known of past runs, by job; never changed, but replaced by a newer one."""

    past: Mapping[Job, Past] = field(default_factory=dict)
    moments: Mapping[Job, Moments] = field(default_factory=dict)
    retries: Mapping[Job, Retry] = field(default_factory=dict)
    """What waits to be tried again."""


@dataclass(frozen=True, slots=True)
class MissedFires:
    """Fires that no run answers: the first, the last, how many, and when that was recorded."""

    job: Job
    first: float
    last: float
    count: int
    at: float


@dataclass(frozen=True, slots=True)
class Verified:
    """The snapshot of a plan that was last compared with its source, and when."""

    at: float
    snapshot: str


@dataclass(frozen=True, slots=True)
class Device:
    """The device on which a path of a plan lay at the last backup, and whether it held anything."""

    device: int
    non_empty: bool


@dataclass(frozen=True, slots=True)
class AheadSnapshot:
    """A snapshot, by its id, whose date lay far ahead of the clock when it was seen."""

    snapshot: str
    time: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """A container that is to be started again; `run` is what stopped it, 0: no recorded run.

    `at` is when it was asked to stop, in unix seconds by Docker's clock, and `seconds` how long
    it had; an older version did not record them (0).
    """

    container: str
    name: str
    run: int
    at: float = 0.0
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that waits to be sent, after `failures` tries; `body` is the sender's text."""

    id: int
    body: str = field(repr=False)
    posted: float
    failures: int
