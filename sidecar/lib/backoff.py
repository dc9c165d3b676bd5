"""Compute how long to wait before trying again what keeps failing."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

# 2 ** 64 times the first wait is beyond any limit; without a bound the number would grow.
_MOST_DOUBLINGS = 64


@dataclass(slots=True)
class Backoff:
    """Waits that double from `first` to `most` seconds, each spread by ±`spread` of itself.

    The spread keeps many clients that lost the same server from coming back at the same
    time. `chance` returns numbers in [0, 1). A try that went well for `healthy` seconds
    resets the waits: one that only just succeeded may fail again at once.
    """

    first: float = 0.5
    most: float = 30.0
    spread: float = 0.5
    healthy: float = 60.0
    chance: Callable[[], float] = random.random
    _failures: int = field(default=0, init=False)

    def next_wait(self, well_for: float = 0.0) -> float:
        """Return the seconds to wait now, after a try that went well for `well_for` seconds."""
        if well_for >= self.healthy:
            self._failures = 0
        wait = min(self.first * 2.0 ** min(self._failures, _MOST_DOUBLINGS), self.most)
        self._failures += 1
        return wait * (1 - self.spread + 2 * self.spread * self.chance())

    def reset(self) -> None:
        """Start with the first wait again."""
        self._failures = 0
