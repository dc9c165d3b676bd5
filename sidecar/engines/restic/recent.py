"""Remember what repositories were lately seen to hold: one question serves many runs."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.backrest.reading import Repo
from sidecar.engines.base import Snapshot

_BELIEVED_SECONDS = 600.0
# Further than a clock drifts within that time.
_SET_SECONDS = 60.0


def _seconds_since_boot() -> float:
    """Return seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class _Listing:
    """An answer: when it was asked for, by both clocks, and the plans that were saved since."""

    repo: Repo
    at: float
    wall: float
    snapshots: tuple[Snapshot, ...]
    saved: set[str] = field(default_factory=set)


class RecentSnapshots:
    """The snapshots of each repository as they were listed, at most ten minutes ago.

    A repository is known by all of its settings, so that another one of the same name is asked
    itself. Where the clock was set since, what was made before that may be dated after it: the
    repository is asked again. `now` gives unix seconds. Safe for threads.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = _seconds_since_boot,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._now = now
        self._lock = threading.Lock()
        self._listed: dict[str, _Listing] = {}

    def last(self, repo: Repo, newest_of: str = "") -> tuple[Snapshot, ...] | None:
        """Return all snapshots of a repository, oldest first; None: ask it.

        With `newest_of`, the id of a plan, nothing is believed that may lack its newest one.
        """
        at, wall = self._monotonic(), self._now()
        with self._lock:
            listed = self._listed.get(repo.id)
            if listed is None or listed.repo != repo or newest_of in listed.saved:
                return None
        passed = at - listed.at
        is_set = abs(wall - listed.wall - passed) > _SET_SECONDS
        return None if is_set or passed > _BELIEVED_SECONDS else listed.snapshots

    def keep(self, repo: Repo, ask: Callable[[], tuple[Snapshot, ...]]) -> tuple[Snapshot, ...]:
        """Ask, keep the answer as of before the question, and return it. Raises what `ask` does."""
        at, wall = self._monotonic(), self._now()
        snapshots = ask()
        with self._lock:
            self._listed[repo.id] = _Listing(repo, at, wall, snapshots)
        return snapshots

    def note_saved(self, repo: Repo, plan: str) -> None:
        """Note that a plan is saved now: its newest snapshot will not be in the answer."""
        with self._lock:
            if (listed := self._listed.get(repo.id)) is not None:
                listed.saved.add(plan)

    def drop(self, repo: Repo) -> None:
        """Ask again next time."""
        with self._lock:
            self._listed.pop(repo.id, None)
