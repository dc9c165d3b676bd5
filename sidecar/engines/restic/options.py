"""How restic is run: which one, in which environment, how long it is waited for, its locks."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.engines.base import LockHolder, LockRecords
from sidecar.engines.restic.locks import Host
from sidecar.engines.restic.recent import RecentSnapshots


class OnMissing(StrEnum):
    """What to do if a path of the plan does not exist."""

    FAIL = "fail"
    """Nothing is backed up, as in Backrest."""
    WARN = "warn"
    """The other paths are backed up, with a warning."""


@dataclass(frozen=True, slots=True)
class Locking:
    """By what locks are judged: this machine, and what we remember of programs; None: nothing."""

    host: Host = field(default_factory=Host)
    records: LockRecords | None = None

    def holders(self, repo: str) -> tuple[LockHolder, ...]:
        """List our programs that may have left locks in the repository of this name."""
        return () if self.records is None else self.records.holders(repo)


@dataclass(frozen=True, slots=True)
class CommandTimeouts:
    """How long to wait for restic, in seconds."""

    probe: float = 60.0
    """For the repository's id, or one lock."""
    stall: float | None = 3600.0
    """For anything else, without a sign of progress; None: for ever."""
    retrying: float = 300.0
    """While restic tries one and the same operation again and again; of a probe a sixth."""
    every: float = 1.0
    """Between two reports of progress."""
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)


@dataclass(frozen=True, slots=True)
class ResticOptions:
    """How restic is run for all repositories.

    Attributes:
        environ: our own environment, from which `${NAME}` is taken.
        restic: its name or path.
        on_missing: what to do if a path of a plan does not exist.
        limits: how long it is waited for.
        locking: by what locks are judged.
        recent: what engines that share these options share of what they have asked.
    """

    environ: Mapping[str, str]
    restic: str = "restic"
    on_missing: OnMissing = OnMissing.FAIL
    limits: CommandTimeouts = field(default_factory=CommandTimeouts)
    locking: Locking = field(default_factory=Locking)
    recent: RecentSnapshots = field(default_factory=RecentSnapshots)
