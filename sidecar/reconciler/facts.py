"""Facts about the daemon, for its status pages and its heartbeat: ids, reasons, times.

No message, command, address, host path or label's value is among them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from sidecar import __version__
from sidecar.labels.problem import SEVERITIES
from sidecar.reconciler.heartbeat import allowance

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, in seconds, of the histogram of passes."""


class ReconcileResult(StrEnum):
    """How a pass ended."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"


class ApplyResult(StrEnum):
    """What became of making the runner notice."""

    APPLIED = "applied"
    FAILED = "failed"
    WAITING = "waiting"
    """The runner is busy for longer than it should be."""
    LIMITED = "limited"
    """There were too many restarts already."""
    FOREIGN_EDIT = "foreign-edit"
    """Somebody else saved meanwhile."""
    REFUSED = "refused"
    """Backrest does not take the document."""


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """A labelled workload by its natural key: its plan's id, the reasons of its problems."""

    workload: str
    plan: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PassFacts:
    """A pass: when it ended (unix seconds), how long it took, which hints led to it."""

    at: float
    seconds: float
    result: ReconcileResult
    hints: tuple[str, ...] = ()
    words: str = ""


@dataclass(frozen=True, slots=True)
class RunnerFacts:
    """The runner's container: whether its mounts are known, when it was seen last."""

    name: str
    is_known: bool
    seen_at: float | None


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """One consistent view; times in unix seconds, ages in seconds by a clock nobody sets.

    `engine` and `document` are None until something was said about them. `workloads`,
    `plans` (how many of ours have a workload) and `problems` (by reason) are those of the
    last good pass. `drift`: how often, and when last, a key of a plan was put back.
    `passes`: how many took at most each bound of BUCKETS, the last of them all.
    """

    interval: float
    now: float = 0.0
    uptime: float = 0.0
    beat_age: float = 0.0
    good_age: float | None = None
    next_resync: float | None = None
    version: str = __version__
    is_stopping: bool = False
    engine: bool | None = None
    document: bool | None = None
    runner: RunnerFacts | None = None
    last_pass: PassFacts | None = None
    workloads: tuple[WorkloadFacts, ...] = ()
    plans: int = 0
    problems: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(SEVERITIES, 0))
    orphans: Mapping[str, float] = field(default_factory=dict)
    are_orphans_held: bool = False
    drift: Mapping[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    drifts: int = 0
    contested: frozenset[tuple[str, str]] = frozenset()
    apply: tuple[ApplyResult, float] | None = None
    guarded: int = 0
    reconciles: Mapping[str, int] = field(
        default_factory=lambda: dict.fromkeys(map(str, ReconcileResult), 0)
    )
    applies: Mapping[str, int] = field(
        default_factory=lambda: dict.fromkeys(map(str, ApplyResult), 0)
    )
    passes: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    pass_seconds: float = 0.0

    @property
    def is_alive(self) -> bool:
        """Whether the main loop moved lately."""
        return self.beat_age <= allowance(self.interval)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the daemon is not ready, in words of ours; empty when it is."""
        last = self.last_pass
        found = {
            "it is stopping": self.is_stopping,
            f"the main loop has not moved for {self.beat_age:.0f} s": not self.is_alive,
            "the engine is not connected": self.engine is False,
            "the document is missing, empty or broken": self.document is False,
            "no pass has ended yet": last is None,
            f"the last pass failed: {last.words if last else ''}": bool(last and last.words),
        }
        return tuple(words for words, holds in found.items() if holds)


def iso(at: float) -> str:
    """Write unix seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
