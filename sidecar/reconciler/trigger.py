"""When a pass is due: hints from threads and signals go in, due passes come out."""

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.lib.threads import Closable
from sidecar.service.signals import SignalWaiter

_PASS_TIMES = 10
_BURST = 2.0
_MANY_IDS = 50
_MOST_WAITING = 10_000
_MOST_IDLE_RESTARTS = 3
_MUTED_SECONDS = 60.0
_MOST_MUTED = 10_000


@dataclass(slots=True)
class Debounce:
    """Decides when the next pass is due; times are monotonic seconds.

    The first hint is due at once. Hints right after a change settle: they are due when none
    came for `settle` seconds, at the latest `cap` seconds after the first of them, or ten
    times as long as the last pass over single containers took: a Docker that is slow to
    answer is not kept busy by passes alone. A resync, a pass over everything, is due at the
    start, each `interval`, and on request.

    A storm of hints that leave gaps of `settle` seconds would get a pass in each gap, and
    the document a write. So two passes may follow each other at once, and a further one
    becomes free with each `cap` seconds. Only passes that changed something count, here
    and for the settling: containers that crash and start again beside a new one neither
    delay its plan nor extend the wait for it.
    """

    settle: float = 0.1
    cap: float = 0.5
    interval: float = 60.0
    _first: float | None = field(default=None, init=False)
    _last: float = field(default=-math.inf, init=False)
    _stirred: float = field(default=-math.inf, init=False)
    _is_calm: bool = field(default=True, init=False)
    _pass_seconds: float = field(default=0.0, init=False)
    _free: float = field(default=_BURST, init=False)
    _free_since: float = field(default=-math.inf, init=False)
    _next_resync: float = field(default=-math.inf, init=False)
    _before: tuple[float, float, float] = field(default=(-math.inf, _BURST, -math.inf), init=False)

    def hint(self, now: float) -> None:
        """Take a hint that came at `now`."""
        if self._first is None:
            self._first = now
            self._is_calm = now - self._stirred >= self.settle
        self._last = max(self._last, now)

    def resync_at(self, at: float) -> None:
        """Request a resync at `at`, whatever else happens."""
        self._next_resync = min(self._next_resync, at)

    def due_at(self) -> float:
        """Return when the next pass is due; a time that is over means now."""
        if self._first is None:
            return self._next_resync
        capped = self._first + self._longest()
        settled = self._first if self._is_calm else min(self._last + self.settle, capped)
        return min(max(settled, self._free_at()), self._next_resync)

    def is_resync_due(self, now: float) -> bool:
        """Return whether a resync is due, hints or not."""
        return now >= self._next_resync

    def begin_pass(self, now: float, *, everything: bool) -> None:
        """Note that a pass begins at `now`, which serves all hints so far.

        It counts as one that changes something, unless `end_pass` says otherwise.
        """
        self._before = (self._stirred, self._free, self._free_since)
        if self._first is not None:
            refilled = self._free + (now - self._free_since) / self._longest()
            self._free, self._free_since = max(0.0, min(_BURST, refilled) - 1.0), now
        self._stirred = max(self._last, now)
        self._first, self._last = None, -math.inf
        if everything:
            self._next_resync = now + self.interval

    def end_pass(self, seconds: float, *, everything: bool, changed: bool) -> None:
        """Note what came of the pass that took so many `seconds`."""
        if not everything:
            self._pass_seconds = seconds
        if not changed:
            self._stirred, self._free, self._free_since = self._before

    def _longest(self) -> float:
        return max(self.cap, _PASS_TIMES * self._pass_seconds, 1e-3)

    def _free_at(self) -> float:
        if self._free >= 1.0:
            return -math.inf
        return self._free_since + (1.0 - self._free) * self._longest()


class RestartFilter:
    """Mutes containers that start and die again and again while nothing comes of it.

    After three passes that changed nothing, a start or an end of that container is no hint
    for a minute. All else that happens to it is. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._idle: dict[str, int] = {}
        self._muted_until: dict[str, float] = {}

    def is_muted(self, container_id: str, now: float) -> bool:
        """Return whether a start or an end of this container says nothing at `now`."""
        until = self._muted_until.get(container_id)
        if until is not None and now >= until:
            del self._muted_until[container_id]
            until = None
        return until is not None

    def note(self, restarted: Collection[str], now: float, *, changed: bool) -> None:
        """Note a pass over these, which had started or died; `changed`: something came of it."""
        for container_id in restarted:
            if changed:
                self._idle.pop(container_id, None)
                continue
            count = self._idle.pop(container_id, 0) + 1
            if count < _MOST_IDLE_RESTARTS:
                self._idle[container_id] = count
            else:
                self._muted_until[container_id] = now + _MUTED_SECONDS
        # Ids of containers that are gone for good: the oldest are forgotten.
        for known in (self._idle, self._muted_until):
            for container_id in list(known)[: max(0, len(known) - _MOST_MUTED)]:
                del known[container_id]


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
    is_restart: bool = False
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
        settle: float = 0.1,
        cap: float = 0.5,
        interval: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._debounce = Debounce(settle, cap, interval)
        self._monotonic = monotonic
        self._hints: deque[_Hint] = deque()
        self._waiter = SignalWaiter(on_hangup=lambda: self.resync_within(0.0, "signal"))
        self._filter = RestartFilter()
        self._ids: set[str] = set()
        self._restarted: set[str] = set()
        self._last_pass: tuple[frozenset[str], bool] = (frozenset(), True)
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

    def hint_restart(self, container_id: str) -> None:
        """Hint that a container started or ended, which may say nothing: see RestartFilter."""
        self._take(_Hint(self._monotonic(), "event", container_id, is_restart=True))

    def nudge(self, reason: str) -> None:
        """Request a pass over the containers as they are known: something else changed."""
        self._take(_Hint(self._monotonic(), reason))

    def resync_within(self, seconds: float, reason: str) -> None:
        """Request a resync, once, no later than in so many seconds."""
        self._take(_Hint(self._monotonic(), reason, delay=seconds))

    def passed(self, seconds: float, *, changed: bool) -> None:
        """Note what came of the pass that `wait` returned last, and how long it took."""
        restarted, everything = self._last_pass
        self._debounce.end_pass(seconds, everything=everything, changed=changed)
        self._filter.note(restarted, self._monotonic(), changed=changed)

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
        if hint.is_restart:
            if self._filter.is_muted(hint.container_id, hint.at):
                return
            if hint.container_id not in self._ids:
                self._restarted.add(hint.container_id)
        else:
            self._restarted.discard(hint.container_id)
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
        self._last_pass = (frozenset(self._restarted), everything)
        self._ids, self._reasons, self._everything = set(), set(), False
        self._restarted = set()
        return due
