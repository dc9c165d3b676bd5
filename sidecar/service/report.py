"""Keep what is known of a daemon: its threads note it, and anybody takes a view of one moment."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sidecar import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """What is known of any daemon; each program adds facts of its own.

    Attributes:
        interval: the longest that the main loop waits between two beats, in seconds.
        now: unix seconds.
        uptime: seconds since the start, by a clock that nobody sets.
        beat_age: seconds since the main loop last moved, by the same.
        is_stopping: whether the daemon ends.
        version: that of the program.
    """

    interval: float = 60.0
    now: float = 0.0
    uptime: float = 0.0
    beat_age: float = 0.0
    is_stopping: bool = False
    version: str = __version__


F = TypeVar("F", bound=DaemonFacts)


class Reporter(Generic[F]):
    """Keeps the facts of a daemon, a frozen record; safe for threads.

    `wall` gives unix seconds and `monotonic` seconds that nobody sets.
    """

    def __init__(self, facts: F, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._wall, self._monotonic = wall, monotonic
        self._facts = facts
        self._started = self._beat = monotonic()

    def snapshot(self) -> F:
        """Return the facts as they are now."""
        with self._lock:
            return self._view()

    def beat(self, **fields: Any) -> F:
        """Note that the main loop moves, and facts that it has changed; return all."""
        with self._lock:
            self._beat = self._monotonic()
            self._set(**fields)
            return self._view()

    def stopping(self) -> None:
        """Note that the daemon ends."""
        self.note(is_stopping=True)

    def note(self, **fields: Any) -> F:
        """Note facts that have changed; return all as they were before."""
        with self._lock:
            before = self._facts
            self._set(**fields)
            return before

    def _set(self, **fields: Any) -> None:
        """Change facts; the lock is held."""
        self._facts = replace(self._facts, **fields)

    def _view(self) -> F:
        """Return the facts with the clocks as they are now; the lock is held."""
        now = self._monotonic()
        return replace(
            self._facts,
            now=self._wall(),
            uptime=now - self._started,
            beat_age=now - self._beat,
        )
