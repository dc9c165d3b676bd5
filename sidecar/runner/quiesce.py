"""Stop containers for a while, and start them again whatever happens meanwhile.

What is to be stopped is first written into the journal. As long as a process has containers
stopped, it holds a lock beside the journal: containers in the journal while the lock is free
were left behind by a process that died.
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

LOCK = "quiet.lock"
_log = logging.getLogger(__name__)


class ContainerControl(Protocol):
    """The methods of `Containers` that are needed; all may raise ContainersError."""

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
        """Return whether it would be removed by that (--rm)."""
        ...


class StoppedRecords(Protocol):
    """The methods of the journal that are needed."""

    @property
    def path(self) -> Path:
        """Its file."""
        ...

    def stopped(self, container: str, name: str, run: int = 0) -> None:
        """Record durably that it has to be started again; raises JournalError."""
        ...

    def resumed(self, container: str) -> None:
        """Record that it need not be started any more."""
        ...

    def still_stopped(self) -> tuple[Stopped, ...]:
        """List what has to be started again; raises JournalError."""
        ...


def reasons_not_to_stop(
    containers: ContainerControl, found: Iterable[ContainerUse]
) -> tuple[str, ...]:
    """Return a sentence for each of these that would not start again as it is, and why."""
    reasons = []
    for one in found:
        if one.service:
            reasons.append(f"{one.name} belongs to the Swarm service {one.service}: scale it to 0")
        elif one.state == "paused":
            reasons.append(f"{one.name} is paused: unpause or stop it")
        elif containers.goes_when_stopped(one.id):
            reasons.append(f"{one.name} would be removed when it stops (--rm): stop it yourself")
    return tuple(reasons)


@contextlib.contextmanager
def while_stopped(
    containers: ContainerControl,
    found: Sequence[ContainerUse],
    journal: StoppedRecords,
    *,
    run: int = 0,
    seconds: int = 10,
) -> Iterator[None]:
    """Stop running containers, for the block; `run` is the number of the run in the journal.

    Containers that depend on others are stopped first and started last. Raises ContainersError
    or JournalError after it has started again what it stopped; also if one cannot be started,
    which `start_again` then tries.
    """
    ordered = in_start_order(found)
    intended: list[Stopped] = []
    with _locked(journal.path.parent, is_shared=True):
        try:
            for one in reversed(ordered):
                intended.insert(0, Stopped(one.id, one.name, run))
                journal.stopped(one.id, one.name, run)
                log_event(_log, logging.INFO, "container.stop", name=one.name)
                containers.stop(one.id, seconds)
            yield
        except BaseException:
            _start(containers, intended, journal)
            raise
        failed = _start(containers, intended, journal)
        if failed:
            raise ContainersError("; ".join(failed), "start by hand what is needed at once")


def start_again(containers: ContainerControl, journal: StoppedRecords) -> tuple[str, ...]:
    """Start what a killed process has stopped; return a sentence for each that does not start.

    Does nothing as long as a process has containers stopped. Called at each start of the
    runner, and once a minute. Raises JournalError.
    """
    left = journal.still_stopped()
    if not left:
        return ()
    with contextlib.suppress(BlockingIOError), _locked(journal.path.parent, is_shared=False):
        return _start(containers, left, journal)
    return ()


def _start(
    containers: ContainerControl, stopped: Iterable[Stopped], journal: StoppedRecords
) -> tuple[str, ...]:
    failed = []
    for one in stopped:
        try:
            _start_one(containers, one)
        except ContainersError as error:
            log_event(
                _log, logging.ERROR, "container.not-started", name=one.name, reason=str(error)
            )
            failed.append(f"{one.name} is stopped and could not be started: {error.message}")
        else:
            journal.resumed(one.container)
    return tuple(failed)


def _start_one(containers: ContainerControl, stopped: Stopped) -> None:
    """Start it, or the container that has its name now; no error if neither exists."""
    found = containers.start(stopped.container)
    if not found and (replacement := containers.find(stopped.name)) is not None:
        found = containers.start(replacement.id)
    level, event = (
        (logging.INFO, "container.start") if found else (logging.WARNING, "container.gone")
    )
    log_event(_log, level, event, name=stopped.name)


@contextlib.contextmanager
def _locked(folder: Path, *, is_shared: bool) -> Iterator[None]:
    """Hold the lock; raises BlockingIOError if another has it and it is not shared."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder / LOCK, flags, 0o600)
    try:
        if is_shared:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        elif not try_lock(descriptor):
            raise BlockingIOError
        yield
    finally:
        os.close(descriptor)
