"""The records of the journal. All times are unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.engines.base import FailureClass, Stats
from sidecar.lib.errors import SidecarError
from sidecar.lib.process import Child
from sidecar.runner.due import Moments, Work


class JournalError(SidecarError):
    """The journal could not be read, or something could not be made durable."""

    def __init__(self, message: str, hint: str, failure: FailureClass) -> None:
        super().__init__(message, hint)
        self.failure = failure


class Outcome(StrEnum):
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
        return self in {Outcome.SUCCESS, Outcome.WARNING, Outcome.SKIPPED}


class Trigger(StrEnum):
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

    outcome: Outcome
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
    work: Work
    trigger: Trigger
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
    last_outcome: Outcome | None = None
    last_success: float | None = None
    """The end of the last run that saved what it should."""

    @property
    def moments(self) -> Moments:
        """What decides when it is due."""
        return Moments(self.first_seen, self.last_start, self.last_missed)


@dataclass(frozen=True, slots=True)
class History:
    """All that is known of the past, by work; never changed, but replaced by a newer one."""

    past: Mapping[Work, Past] = field(default_factory=dict)
    moments: Mapping[Work, Moments] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MissedFires:
    """Fires that no run answers: the first, the last, and how many; `at`: when that was told."""

    work: Work
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
