"""Stop containers for a while, and start them again whatever happens meanwhile.

What is to be stopped is first written into the journal. As long as a process has containers
stopped, it holds a lock beside the journal: containers in the journal while the lock is free
were left behind by a process that died. The engine may still be about to stop one of them, as
it goes on with a stop whoever asked for it died: that is waited for, and never asked for again.
"""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from sidecar.docker.failures import DockerError
from sidecar.docker.models import Container, ContainerState
from sidecar.docker.stopped import NotedStop, StopVerb, Verdict, judge_container
from sidecar.docker.usage import in_start_order
from sidecar.lib.files import try_lock
from sidecar.lib.log import log_event
from sidecar.runner.journal import Journal, Stopped
from sidecar.service.signals import uninterrupted

LOCK = "quiet.lock"
_LOOK_SECONDS = 1.0

Wait = Callable[[float], object]
"""Waits so many seconds."""

_log = logging.getLogger(__name__)


class ContainerControl(Protocol):
    """The methods of `Containers` that are needed; all may raise DockerError."""

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it."""
        ...

    def start(self, container: str) -> bool:
        """Start it; False if it does not exist."""
        ...

    def find(self, name: str) -> Container | None:
        """Find it by its id or its name."""
        ...

    def goes_when_stopped(self, container: str) -> bool:
        """Return whether it would be removed by that (--rm)."""
        ...

    def state(self, container: str) -> ContainerState | None:
        """Return how it stands; None if it does not exist."""
        ...

    def now(self) -> float:
        """Return the time of Docker's clock, in unix seconds."""
        ...


def reasons_not_to_stop(
    containers: ContainerControl, found: Iterable[Container]
) -> tuple[str, ...]:
    """Return a sentence for each of these that would not start again as it is, and why."""
    reasons = []
    for one in found:
        if one.swarm_service:
            reasons.append(
                f"{one.name} belongs to the Swarm service {one.swarm_service}: scale it to 0"
            )
        elif one.state == "paused":
            reasons.append(f"{one.name} is paused: unpause or stop it")
        elif containers.goes_when_stopped(one.id):
            reasons.append(f"{one.name} would be removed when it stops (--rm): stop it yourself")
    return tuple(reasons)


@contextlib.contextmanager
def while_stopped(
    containers: ContainerControl,
    found: Sequence[Container],
    journal: Journal,
    *,
    run: int = 0,
    seconds: int = 10,
    wait: Wait = time.sleep,
) -> Iterator[None]:
    """Stop running containers, for the block; `run` is the number of the run in the journal.

    Containers that depend on others are stopped first and started last. Raises DockerError
    or JournalError after it has started again what it stopped; also if one cannot be started,
    which `start_again` then tries. One whose stop failed may stop all the same: it is waited
    for, by `wait`, which gets seconds.
    """
    asked: list[Stopped] = []
    done: list[Stopped] = []
    with _locked(journal.path.parent, is_shared=True):
        try:
            for one in reversed(in_start_order(found)):
                noted = Stopped(one.id, one.name, run, containers.now(), seconds)
                journal.containers.stopped(noted)
                asked.append(noted)
                log_event(_log, logging.INFO, "container.stop", name=one.name)
                containers.stop(one.id, seconds)
                done.insert(0, asked.pop())
            yield
            with uninterrupted():
                failed = _start(containers, done, journal)
                done.clear()
        except BaseException:
            with uninterrupted():
                _start(containers, asked, journal, partial(_start_once_over, wait=wait))
                _start(containers, done, journal)
            raise
        if failed:
            raise DockerError("; ".join(failed), "start by hand what is needed at once")


def start_again(
    containers: ContainerControl,
    journal: Journal,
    wait: Wait | None = None,
    left: Sequence[Stopped] | None = None,
) -> tuple[str, ...]:
    """Start what a killed process has stopped; return a sentence for each that does not start.

    Does nothing as long as a process has containers stopped. What may still be about to stop is
    waited for, by `wait`; without that it is left to the next call. `left` are those of the
    journal in the order in which they start, which else is that of their names. Called at each
    start of the runner, and once a minute. Raises JournalError.
    """
    left = journal.containers.still_stopped() if left is None else left
    if not left:
        return ()
    with while_nobody_stops(journal.path.parent) as is_free:
        if is_free:
            return _start(containers, left, journal, partial(_start_once_over, wait=wait))
    return ()


@contextlib.contextmanager
def while_nobody_stops(state: Path) -> Iterator[bool]:
    """Keep all processes from stopping containers, for the block; False if one has some stopped.

    `state` is the journal's folder.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_locked(state, is_shared=False))
            is_free = True
        except BlockingIOError:
            is_free = False
        except OSError:
            # It is not there and cannot be made, as on a full disk: then nobody holds it.
            is_free = True
        yield is_free


def _start(
    containers: ContainerControl,
    stopped: Iterable[Stopped],
    journal: Journal,
    start: Callable[[ContainerControl, Stopped], bool] | None = None,
) -> tuple[str, ...]:
    """Start each by `start`, which returns whether that is settled; return what failed."""
    failed = []
    for one in stopped:
        try:
            is_settled = (start or _start_one)(containers, one)
        except DockerError as error:
            log_event(
                _log, logging.ERROR, "container.not-started", name=one.name, reason=str(error)
            )
            failed.append(f"{one.name} is stopped and could not be started: {error.message}")
        else:
            if is_settled:
                journal.containers.resumed(one.container)
    return tuple(failed)


def _start_once_over(containers: ContainerControl, one: Stopped, wait: Wait | None) -> bool:
    """Start a container whose stop may still be under way, if it was us who stopped it."""
    noted = NotedStop(StopVerb.STOP, one.at, one.seconds)
    verdict = _judge(containers, one, noted)
    if verdict is Verdict.WAIT and wait is not None:
        log_event(_log, logging.INFO, "container.settle", name=one.name)
    while verdict is Verdict.WAIT and noted.may_still_stop(containers.now()):
        if wait is None:
            return False
        wait(_LOOK_SECONDS)
        verdict = _judge(containers, one, noted)
    if verdict is Verdict.START:
        return _start_one(containers, one)
    if verdict is Verdict.SOMEBODY_ELSE:
        log_event(_log, logging.WARNING, "container.left", name=one.name)
    return verdict is not Verdict.WAIT


def _judge(containers: ContainerControl, one: Stopped, noted: NotedStop) -> Verdict:
    state = containers.state(one.container)
    if not one.at or state is None:
        # Too little was noted, or another has its name by now.
        return Verdict.START
    return judge_container(noted, state.status, state.finished, containers.now())


def _start_one(containers: ContainerControl, stopped: Stopped) -> bool:
    """Start it, or the container that has its name now; no error if neither exists."""
    found = containers.start(stopped.container)
    if not found and (replacement := containers.find(stopped.name)) is not None:
        found = containers.start(replacement.id)
    level, event = (
        (logging.INFO, "container.start") if found else (logging.WARNING, "container.gone")
    )
    log_event(_log, level, event, name=stopped.name)
    return True


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
