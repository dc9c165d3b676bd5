"""A plan's latest snapshot: the newest that holds a file and is not ahead of the clock."""

import contextlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from sidecar.engines.base import Engine, EngineError, FailureClass, Snapshot
from sidecar.lib.text import counted, is_hash, short_id
from sidecar.runner.due import Job
from sidecar.runner.journal import JournalError
from sidecar.schedule.fires import EARLIEST

BELIEVED_AHEAD = 86_400.0
"""Seconds that a snapshot may be ahead of the clock: zones and clocks of two machines differ."""

_MOST_LOOKS = 100
_MOST_NAMED = 3


class FileCounts(Protocol):
    """What is needed of the journal."""

    def files_in(self, job: Job, snapshot: str) -> int | None:
        """Return how many files a snapshot holds that a job has made; None: not known."""
        ...


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest snapshot among some, and the newer ones that were passed over, newest first.

    Attributes:
        snapshot: None if there is none such.
        empty: those that hold no regular file.
        ahead: those that are ahead of the clock.
    """

    snapshot: Snapshot | None
    empty: tuple[Snapshot, ...] = ()
    ahead: tuple[Snapshot, ...] = ()

    @property
    def passed_over(self) -> str:
        """What was passed over, in words; empty if nothing was.

        For example `2 newer snapshots hold no file (5f3a9c01, 77ab0042)`.
        """
        said = []
        if self.empty:
            verb = "holds" if len(self.empty) == 1 else "hold"
            which = "snapshot" if self.snapshot is None else "newer snapshot"
            number = counted(len(self.empty), which)
            said.append(f"{number} {verb} no file ({name_snapshots(self.empty)})")
        if self.ahead:
            verb = "is" if len(self.ahead) == 1 else "are"
            number = counted(len(self.ahead), "snapshot")
            said.append(f"{number} {verb} ahead of the clock ({name_snapshots(self.ahead)})")
        return "; ".join(said)


def is_ahead(moment: float, now: float) -> bool:
    """Return whether a moment lies further ahead of the clock than is believed.

    Nothing is ahead of a clock that knows no year yet, as after a start without its battery.
    """
    return now >= EARLIEST and moment > now + BELIEVED_AHEAD


class FileLook:
    """Tells whether snapshots of a job hold a file: by the journal, else by what they hold.

    Raises EngineError, also when a hundred were looked into that nobody had counted.
    """

    def __init__(self, engine: Engine, counts: FileCounts, job: Job) -> None:
        self._engine = engine
        self._counts = counts
        self._job = job
        self._left = _MOST_LOOKS

    def holds_file(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot holds at least one regular file."""
        known = self._counted(snapshot)
        return self._look(snapshot) if known is None else known > 0

    def _counted(self, snapshot: Snapshot) -> int | None:
        known = None
        with contextlib.suppress(JournalError):
            known = self._counts.files_in(self._job, snapshot.id)
        return snapshot.files_processed if known is None else known

    def _look(self, snapshot: Snapshot) -> bool:
        if not self._left:
            raise EngineError(
                FailureClass.UNKNOWN,
                f"of {_MOST_LOOKS} snapshots none holds a file, and there are older ones",
            )
        self._left -= 1
        return self._engine.holds_file(snapshot)


def render_deletion(ids: Collection[str]) -> str:
    """Return what deletes snapshots: `restic forget 5f3a9c01`.

    Only restic calls them by hashes; of others a person deletes the folders of these names.
    """
    names = " ".join(map(short_id, ids))
    if all(map(is_hash, ids)):
        return f"restic forget {names}"
    return f"delete {names} in the repository"


def name_snapshots(snapshots: tuple[Snapshot, ...]) -> str:
    """Name up to three snapshots by their short ids."""
    names = ", ".join(one.short for one in snapshots[:_MOST_NAMED])
    more = len(snapshots) - _MOST_NAMED
    return f"{names} and {more} more" if more > 0 else names


def find_latest(snapshots: Iterable[Snapshot], look: FileLook, now: float) -> Latest:
    """Find the latest of some snapshots at `now`, in unix seconds.

    They are looked into from the newest on, until one holds a file. Raises EngineError.
    """
    newest_first = sorted(snapshots, key=lambda one: one.time, reverse=True)
    ahead = tuple(one for one in newest_first if is_ahead(one.time.timestamp(), now))
    empty: list[Snapshot] = []
    for one in newest_first[len(ahead) :]:
        if look.holds_file(one):
            return Latest(one, tuple(empty), ahead)
        empty.append(one)
    return Latest(None, tuple(empty), ahead)
