"""Letting a signal end what runs in the main thread as an exception does: `finally` is reached."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block at the first signal to end; later ones are ignored.

    For the main thread. What puts things right after the first must not be interrupted.
    """

    def interrupt(_: int, __: FrameType | None) -> None:
        for one in _ENDING:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in _ENDING}
    try:
        yield
    finally:
        for one, action in before.items():
            signal.signal(one, action)
