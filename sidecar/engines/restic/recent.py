"""Remember what repositories were lately seen to hold: one question serves many runs."""

import threading
import time
from collections.abc import Callable

from sidecar.backrest.reading import Repo
from sidecar.engines.base import Snapshot

_BELIEVED_SECONDS = 600.0


def _seconds_since_boot() -> float:
    """Return seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class RecentSnapshots:
    """The snapshots of each repository as they were listed, at most ten minutes ago.

    A repository is known by all of its settings, so that another one of the same name is asked
    itself. Safe for threads.
    """

    def __init__(self, monotonic: Callable[[], float] = _seconds_since_boot) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._listed: dict[str, tuple[Repo, float, tuple[Snapshot, ...]]] = {}

    def last(self, repo: Repo) -> tuple[Snapshot, ...] | None:
        """Return all snapshots of a repository, oldest first; None: ask it."""
        with self._lock:
            of, at, snapshots = self._listed.get(repo.id, (None, 0.0, ()))
        is_believed = of == repo and self._monotonic() - at <= _BELIEVED_SECONDS
        return snapshots if is_believed else None

    def keep(self, repo: Repo, ask: Callable[[], tuple[Snapshot, ...]]) -> tuple[Snapshot, ...]:
        """Ask, keep the answer as of before the question, and return it. Raises what `ask` does."""
        at = self._monotonic()
        snapshots = ask()
        with self._lock:
            self._listed[repo.id] = (repo, at, snapshots)
        return snapshots

    def drop(self, repo: Repo) -> None:
        """Ask again next time."""
        with self._lock:
            self._listed.pop(repo.id, None)
