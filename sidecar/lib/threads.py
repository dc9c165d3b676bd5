"""Threads that must not end: better that a process is started anew than that it limps on."""

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sidecar.lib.log import log_event


@contextmanager
def failing_threads(logger: logging.Logger, on_failure: Callable[[], None]) -> Iterator[list[str]]:
    """Collect the names of threads that end by an error; `on_failure` is called for each."""
    failures: list[str] = []
    before = threading.excepthook

    def told(failed: threading.ExceptHookArgs) -> None:
        failures.append(failed.thread.name if failed.thread else "unknown")
        what = failed.exc_type.__name__
        facts = {"thread": failures[-1], "reason": what, "at": places_of(failed.exc_traceback)}
        log_event(logger, logging.ERROR, "thread.failed", **facts)
        on_failure()

    threading.excepthook = told
    try:
        yield failures
    finally:
        threading.excepthook = before


def places_of(trace: TracebackType | None) -> list[str]:
    """Tell where an error happened, not what it says: that might quote a label, or a secret."""
    frames = traceback.extract_tb(trace)
    return [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames][-3:]
