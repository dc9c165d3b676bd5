"""Threads of a daemon: started and ended by a `with` block, and reported when they fail.

A daemon of which one thread has failed ends, so that it is restarted as a whole.
"""

import logging
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sidecar.lib.log import log_event


class Closable(ABC):
    """Has `close()`; a `with` block calls it, whatever happens."""

    @abstractmethod
    def close(self) -> None:
        """Release what it holds. No error if already closed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Worker(Closable):
    """A thread that runs `_run` until `close()`; a `with` block starts and closes it."""

    def __init__(self, name: str) -> None:
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._interrupt()
        if self._thread.is_alive():
            self._thread.join(self._join_seconds)

    @property
    def _join_seconds(self) -> float | None:
        """Seconds that `close` waits for the thread; None: until it has ended."""
        return None

    def _interrupt(self) -> None:
        """Interrupt what the thread waits for, from another thread."""

    @abstractmethod
    def _run(self) -> None:
        """Work until `_closing` is set."""


@contextmanager
def failing_threads(logger: logging.Logger, on_failure: Callable[[], None]) -> Iterator[list[str]]:
    """Collect and log the names of threads that fail; `on_failure` is called for each."""
    failures: list[str] = []
    before = threading.excepthook

    def record(failed: threading.ExceptHookArgs) -> None:
        failures.append(failed.thread.name if failed.thread else "unknown")
        what = failed.exc_type.__name__
        facts = {"thread": failures[-1], "reason": what, "at": places_of(failed.exc_traceback)}
        log_event(logger, logging.ERROR, "thread.failed", **facts)
        on_failure()

    threading.excepthook = record
    try:
        yield failures
    finally:
        threading.excepthook = before


def places_of(trace: TracebackType | None) -> list[str]:
    """Return the last places of an error, such as `loop.py:42`.

    Its text is left out, since it might quote a label, or a secret.
    """
    frames = traceback.extract_tb(trace)
    return [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames][-3:]
