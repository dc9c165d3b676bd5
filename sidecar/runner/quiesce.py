"""Stopping containers for a while, and starting them again whatever happens meanwhile.

What is stopped is written into the journal before. So long as somebody is at it, a lock is
held beside the journal: whoever finds containers in the journal and the lock free knows that
they have been left behind.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from sidecar.docker.lifecycle import ContainersError
from sidecar.docker.usage import ContainerUse, in_start_order
from sidecar.lib.files import try_lock
from sidecar.lib.log import log_event
from sidecar.runner.journal import Stopped

_LOCK = "quiet.lock"
_log = logging.getLogger(__name__)


class ContainerControl(Protocol):
    """What is needed of `Containers`; everything may raise ContainersError."""

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it."""
        ...

    def start(self, container: str) -> bool:
        """Start it; False if it does not exist."""
        ...

    def find(self, name: str) -> ContainerUse | None:
        """Find it by its id or its name."""
        ...

    def goes_when_stopped(self, container: str) -> bool:
        """Tell whether it would be removed."""
        ...


class StoppedRecords(Protocol):
    """What is needed of the journal."""

    @property
    def path(self) -> Path:
        """Its file."""
        ...

    def stopped(self, container: str, name: str, run: int = 0) -> None:
        """Record durably that it is to be started again; raises JournalError."""
        ...

    def resumed(self, container: str) -> None:
        """Record that it needs not be started again."""
        ...

    def still_stopped(self) -> tuple[Stopped, ...]:
        """List what is to be started again; raises JournalError."""
        ...


def reasons_not_to_stop(engine: ContainerControl, found: Iterable[ContainerUse]) -> tuple[str, ...]:
    """Tell which of these containers would not come back as they are, and why."""
    reasons = []
    for one in found:
        if one.service:
            reasons.append(f"{one.name} belongs to the Swarm service {one.service}: scale it to 0")
        elif one.state == "paused":
            reasons.append(f"{one.name} is paused: unpause or stop it")
        elif engine.goes_when_stopped(one.id):
            reasons.append(f"{one.name} would be removed when it stops (--rm): stop it yourself")
    return tuple(reasons)


@contextlib.contextmanager
def while_stopped(
    engine: ContainerControl,
    found: Sequence[ContainerUse],
    journal: StoppedRecords,
    *,
    run: int = 0,
    seconds: int = 10,
) -> Iterator[None]:
    """Stop containers that run, for the block; `run` is that of the journal.

    Those that need others are stopped first and started last. Raises ContainersError or
    JournalError, having started again what it stopped; also if one cannot be started: then
    it is started by `start_again`.
    """
    ordered = in_start_order(found)
    intended: list[Stopped] = []
    with _locked(journal.path.parent, is_shared=True):
        try:
            for one in reversed(ordered):
                intended.insert(0, Stopped(one.id, one.name, run))
                journal.stopped(one.id, one.name, run)
                log_event(_log, logging.INFO, "container.stop", name=one.name)
                engine.stop(one.id, seconds)
            yield
        except BaseException:
            _start(engine, intended, journal)
            raise
        failed = _start(engine, intended, journal)
        if failed:
            raise ContainersError("; ".join(failed), "start by hand what is needed at once")


def start_again(engine: ContainerControl, journal: StoppedRecords) -> tuple[str, ...]:
    """Start what somebody stopped who was killed; give what could not be started, in words.

    Nothing is done as long as anybody is at it. For each start of the runner, and once a
    minute. Raises JournalError.
    """
    left = journal.still_stopped()
    if not left:
        return ()
    with contextlib.suppress(BlockingIOError), _locked(journal.path.parent, is_shared=False):
        return _start(engine, left, journal)
    return ()


def _start(
    engine: ContainerControl, stopped: Iterable[Stopped], journal: StoppedRecords
) -> tuple[str, ...]:
    failed = []
    for one in stopped:
        try:
            _start_one(engine, one)
        except ContainersError as error:
            log_event(
                _log, logging.ERROR, "container.not-started", name=one.name, reason=str(error)
            )
            failed.append(f"{one.name} is stopped and could not be started: {error.message}")
        else:
            journal.resumed(one.container)
    return tuple(failed)


def _start_one(engine: ContainerControl, stopped: Stopped) -> None:
    """Start it, or what has its name by now; that neither exists is not our failure."""
    found = engine.start(stopped.container)
    if not found and (replacement := engine.find(stopped.name)) is not None:
        found = engine.start(replacement.id)
    level, event = (
        (logging.INFO, "container.start") if found else (logging.WARNING, "container.gone")
    )
    log_event(_log, level, event, name=stopped.name)


@contextlib.contextmanager
def _locked(folder: Path, *, is_shared: bool) -> Iterator[None]:
    """Hold the lock; raises BlockingIOError where somebody is at it and it is not shared."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder / _LOCK, flags, 0o600)
    try:
        if is_shared:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        elif not try_lock(descriptor):
            raise BlockingIOError
        yield
    finally:
        os.close(descriptor)
