"""React to signals: wake a daemon's loop, or end a command so that `finally` blocks run."""

import math
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from sidecar.lib.threads import Closable

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MAX_WAIT_SECONDS = 3600.0


class SignalWaiter(Closable):
    """Lets one thread wait until any thread, a signal or the time wakes it.

    Nothing here takes a lock: a byte in a pipe wakes the waiting thread, so a signal may
    arrive at any point of the main thread. Close it when nobody wakes it any more.
    `on_hangup` is called in the main thread on SIGHUP, and has to call `wake`.
    """

    def __init__(self, on_hangup: Callable[[], None] | None = None) -> None:
        self._on_hangup = on_hangup or self.wake
        self.is_stopped = False
        """Whether it is time to end."""
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._reading, select.POLLIN)

    def close(self) -> None:
        """Close the pipe."""
        self.is_stopped = True
        if self._writing >= 0:
            reading, writing = self._reading, self._writing
            self._reading = self._writing = -1
            os.close(writing)
            os.close(reading)

    def wake(self) -> None:
        """End the present wait, or the next one."""
        # A full pipe wakes as well as one more byte would.
        if self._writing >= 0:
            with suppress(BlockingIOError):
                os.write(self._writing, b"\0")

    def stop(self) -> None:
        """End the waiting for good; may be called by a signal handler."""
        self.is_stopped = True
        self.wake()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until woken; False when it is time to end."""
        if not self.is_stopped:
            self._poll.poll(math.ceil(min(max(seconds, 0.0), _MAX_WAIT_SECONDS) * 1000))
            with suppress(BlockingIOError):
                while os.read(self._reading, 65536):
                    pass
        return not self.is_stopped

    @contextmanager
    def install_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, call `on_hangup` on SIGHUP; main thread only."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        # The byte that the interpreter writes only ends the wait: where the pipe is full it
        # is lost, so _on_signal decides by the number of the signal.
        previous = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            for number, action in before.items():
                signal.signal(number, action)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._on_hangup()
        else:
            self.stop()


class _HeldBack:
    """How many blocks hold an interrupt back, and whether one has come."""

    blocks = 0
    has_come = False


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let the signal that ends an `interruptible` block do so only at the end of this one.

    For what cleans up or must be whole, and ends by itself: the first signal may come while it is
    at work. Without effect in other threads, which no signal interrupts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _HeldBack.blocks += 1
    try:
        yield
    finally:
        _HeldBack.blocks -= 1
        if _HeldBack.has_come and not _HeldBack.blocks:
            _HeldBack.has_come = False
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block at the first signal to end, and ignore later ones.

    Main thread only. The `finally` blocks that clean up must not be interrupted. Programs that they
    start can be ended: they would inherit SIG_IGN, but not a handler.
    """

    def interrupt(_: int, __: FrameType | None) -> None:
        for one in _ENDING_SIGNALS:
            signal.signal(one, _let_pass)
        if _HeldBack.blocks:
            _HeldBack.has_come = True
        else:
            raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for one, action in before.items():
            signal.signal(one, action)


def _let_pass(_: int, __: FrameType | None) -> None:
    """Do nothing about a signal."""
