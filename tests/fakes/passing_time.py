"""What a stop of the runner sets, in a world where time passes at once."""

import threading
from collections.abc import Callable


class PassingTime(threading.Event):
    """An event; whoever waits for it goes on at once, after `wait_for` got the seconds."""

    def __init__(self, wait_for: Callable[[float], object]) -> None:
        super().__init__()
        self._wait_for = wait_for

    def wait(self, timeout: float | None = None) -> bool:
        """Let the time pass."""
        self._wait_for(timeout or 0.0)
        return self.is_set()
