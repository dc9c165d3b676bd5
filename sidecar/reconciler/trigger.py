"""When a pass is due: hints from threads and signals go in, due passes come out."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.lib.threads import Closable
from sidecar.service.signals import SignalWaiter

_FREE_PASSES = 3
_MOST_DOUBLINGS = 16
_MANY_IDS = 50
_MOST_WAITING = 10_000


@dataclass(slots=True)
class Debounce:
    """Decides when the next pass is due; times are monotonic seconds.

    The first hint is due at once. Hints after a pass settle: they are due when none came
    for `settle` seconds, at the latest `cap` seconds after the first of them. A resync,
    a pass over everything, is due at the start, each `interval`, and on request.

    In a storm of hints a fixed cap would mean a pass each five seconds, for minutes. Each
    would list everything and write the document, although what it finds is out of date
    when it is written. So waits grow while hints go on: from the fourth pass on both waits
    double with each, the settling up to `cap`, the cap up to `interval`. Whoever adds a
    handful of services does not notice. Whoever adds a thousand still sees the first at
    once and gets a pass each interval at the worst. The number of passes grows with the
    logarithm of the storm's length: at most 8 in 40 s. The waits fall back when hints
    pause for `cap` seconds, not for `settle`: a storm on a slow Docker has gaps of a
    second, and each gap would begin it anew.
    """

    settle: float = 1.0
    cap: float = 5.0
    interval: float = 60.0
    _first: float | None = field(default=None, init=False)
    _last: float = field(default=-math.inf, init=False)
    _passed: float = field(default=-math.inf, init=False)
    _is_calm: bool = field(default=True, init=False)
    _passes: int = field(default=0, init=False)
    _next_resync: float = field(default=-math.inf, init=False)

    def hint(self, now: float) -> None:
        """Take a hint that came at `now`."""
        if now - self._last >= self.cap:
            self._passes = 0
        if self._first is None:
            self._first = now
            self._is_calm = now - max(self._last, self._passed) >= self._settling()
        self._last = max(self._last, now)

    def resync_at(self, at: float) -> None:
        """Request a resync at `at`, whatever else happens."""
        self._next_resync = min(self._next_resync, at)

    def due_at(self) -> float:
        """Return when the next pass is due; a time that is over means now."""
        if self._first is None:
            return self._next_resync
        hinted = self._last + self._settling()
        capped = self._first + min(self.cap * self._growth(), max(self.cap, self.interval))
        return min(self._first if self._is_calm else hinted, capped, self._next_resync)

    def is_resync_due(self, now: float) -> bool:
        """Return whether a resync is due, hints or not."""
        return now >= self._next_resync

    def begin_pass(self, now: float, *, everything: bool) -> None:
        """Note that a pass begins at `now`, which serves all hints so far."""
        if self._first is not None:
            self._passes += 1
        self._first = None
        self._passed = now
        if everything:
            self._next_resync = now + self.interval

    def _growth(self) -> int:
        return int(2 ** min(max(0, self._passes - _FREE_PASSES), _MOST_DOUBLINGS))

    def _settling(self) -> float:
        return min(self.settle * self._growth(), max(self.settle, self.cap))


@dataclass(frozen=True, slots=True)
class DuePass:
    """What a pass has to observe: everything, or only the containers of `ids` (may be none).

    `ids` are those that hints named, also where everything is due. `reasons`: `start`,
    `resync`, `signal`, `event` (a container was named), `everything` (a hint without a
    name: its source may have missed something), and the reasons given to `nudge`.
    """

    everything: bool
    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()


class _Hint(NamedTuple):
    """One hint on its way to the main thread; `delay` in seconds requests a later resync."""

    at: float
    reason: str
    container_id: str = ""
    everything: bool = False
    delay: float | None = None


class PassTrigger(Closable):
    """Wakes the main thread: any thread and any signal may hint, one thread waits.

    Nothing here takes a lock: hints go through a deque, whose single operations are
    atomic. So a signal that arrives at any point of the main thread finds nothing held.
    Close it when nobody hints any more.
    """

    def __init__(
        self,
        settle: float = 1.0,
        cap: float = 5.0,
        interval: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._debounce = Debounce(settle, cap, interval)
        self._monotonic = monotonic
        self._hints: deque[_Hint] = deque()
        self._waiter = SignalWaiter(on_hangup=lambda: self.resync_within(0.0, "signal"))
        self._ids: set[str] = set()
        self._reasons = {"start"}
        self._later: set[str] = set()
        self._everything = True

    def close(self) -> None:
        """Stop taking hints; those that come later are lost."""
        self._waiter.close()

    def hint(self, container_id: str | None = None) -> None:
        """Hint that a container may have changed; None: anything may have."""
        if container_id is None:
            self._take(_Hint(self._monotonic(), "everything", everything=True))
        else:
            self._take(_Hint(self._monotonic(), "event", container_id))

    def nudge(self, reason: str) -> None:
        """Request a pass over the containers as they are known: something else changed."""
        self._take(_Hint(self._monotonic(), reason))

    def resync_within(self, seconds: float, reason: str) -> None:
        """Request a resync, once, no later than in so many seconds."""
        self._take(_Hint(self._monotonic(), reason, delay=seconds))

    def stop(self) -> None:
        """Make `wait` return None from now on; also from a signal."""
        self._waiter.stop()

    def wait(self) -> DuePass | None:
        """Block until a pass is due, and return it; None when it is time to stop."""
        while not self._waiter.is_stopped:
            self._collect()
            now = self._monotonic()
            left = self._debounce.due_at() - now
            if left <= 0:
                return self._due(now)
            self._waiter.wait(left)
        return None

    @contextmanager
    def install_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, resync at once on SIGHUP; main thread only."""
        with self._waiter.install_signals():
            yield

    def _take(self, hint: _Hint) -> None:
        if len(self._hints) >= _MOST_WAITING:
            # Hints flood in during a long pass: their ids are replaced by "everything".
            self._hints.clear()
            hint = _Hint(hint.at, "everything", everything=True)
        self._hints.append(hint)
        self._waiter.wake()

    def _collect(self) -> None:
        """Take the hints so far, in the order in which they came."""
        for _ in range(len(self._hints)):
            try:
                hint = self._hints.popleft()
            except IndexError:
                return  # a flood cleared them meanwhile
            self._sort(hint)

    def _sort(self, hint: _Hint) -> None:
        if hint.delay is not None:
            self._later.add(hint.reason)
            self._debounce.resync_at(hint.at + hint.delay)
            return
        self._reasons.add(hint.reason)
        if hint.container_id:
            self._ids.add(hint.container_id)
        self._everything |= hint.everything
        self._debounce.hint(hint.at)

    def _due(self, now: float) -> DuePass:
        everything = self._everything or len(self._ids) > _MANY_IDS
        if self._debounce.is_resync_due(now):
            everything = True
            self._reasons |= self._later
            self._later = set()
        due = DuePass(everything, frozenset(self._ids), frozenset(self._reasons or {"resync"}))
        self._debounce.begin_pass(now, everything=everything)
        self._ids, self._reasons, self._everything = set(), set(), False
        return due
