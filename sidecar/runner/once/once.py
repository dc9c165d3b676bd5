"""One backup of everything: containers are stopped for it, and started again in any case."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from sidecar.docker.one_shot import OneShotDocker
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.lib.log import log_event
from sidecar.runner.journal import Journal
from sidecar.runner.once.leftover import (
    DEFAULT_TIMEOUT,
    BackupRecord,
    recover_leftovers,
    remove_record,
    write_record,
)
from sidecar.runner.once.quiesce import QuiesceContext, choose_stopped, quiesced
from sidecar.runner.settings import JOURNAL, RunnerSettings
from sidecar.service.signals import SignalWaiter

PURPOSE = "backup-once"
"""What a runner is told that is refused because this backup holds the scheduler's lock."""
ShowLine = Callable[[str], None]
"""Shows people a line."""

_FOREVER = 3600.0
_log = logging.getLogger(__name__)


class Result(IntEnum):
    """How a backup ended; of several results the highest counts."""

    DONE = 0
    WARNING = 1
    """Everything is saved, but something went wrong besides."""
    FAILED = 2


class OpenBackup(Protocol):
    """A backup that may begin: everybody else is locked out."""

    def resume(self) -> None:
        """Finish runs that were killed; the containers run again by then. Raises SidecarError."""

    def run(self) -> Result:
        """Back up. Raises SidecarError."""
        ...

    def stop(self) -> None:
        """End `run` early; called by another thread."""


class PreparedBackup(Protocol):
    """A backup for which everything is checked and fetched."""

    def opened(self) -> AbstractContextManager[tuple[OpenBackup, Journal]]:
        """Lock out everybody else for the block; give the journal too. Raises SidecarError."""
        ...


class BackupStrategy(Protocol):
    """By what everything is backed up. Every method may raise SidecarError."""

    @property
    def container(self) -> str:
        """The name of the containers that it creates; empty: it creates none."""
        ...

    def preview(self) -> tuple[str, ...]:
        """Return what would be done, a line each; does nothing."""
        ...

    def prepare(self) -> PreparedBackup:
        """Check and fetch what it needs, while nothing is stopped yet."""
        ...


@dataclass(frozen=True, slots=True)
class OnceBackup:
    """A backup of everything.

    Attributes:
        settings: those of the runner whose document and journal are used.
        strategy: by what it is backed up.
        connect: makes a connection to Docker, for one thread each.
        to_stop: ids of the containers that are stopped for it, if they run.
        show: shows people a line.
        stop_seconds: how long each container has to stop.
    """

    settings: RunnerSettings
    strategy: BackupStrategy
    connect: Callable[[], OneShotDocker]
    to_stop: Collection[str]
    show: ShowLine
    stop_seconds: float = DEFAULT_TIMEOUT


def preview_once(backup: OnceBackup) -> None:
    """Show what would be stopped, run, forgotten and started; does nothing else."""
    with backup.connect() as docker:
        stopped = choose_stopped(docker, backup.to_stop)
    lines = [f"stop {one.name}" for one in stopped]
    lines += backup.strategy.preview()
    lines += [f"start {one.name}" for one in reversed(stopped)]
    for line in lines:
        backup.show(line)


def run_once(backup: OnceBackup, waiter: SignalWaiter) -> Result:
    """Back up; if `waiter` is stopped meanwhile, end early and in good order.

    Raises SidecarError: Locked if the document is executed already, StopFailed if nothing was
    backed up because a container cannot be stopped.
    """
    state = backup.settings.state_directory
    prepared = backup.strategy.prepare()
    with prepared.opened() as (opened, journal), backup.connect() as docker:
        for reason in recover_leftovers(docker, journal, time.sleep):
            backup.show(reason)
        opened.resume()
        stopped = choose_stopped(docker, backup.to_stop)
        write_record(state, BackupRecord(backup.strategy.container))
        context = QuiesceContext(backup.stop_seconds, waiter)
        try:
            with quiesced(docker, stopped, journal, context):
                return _run_in_thread(opened, waiter)
        finally:
            # The record stays as long as the next start of ours has something to start.
            if not journal.containers.still_stopped():
                remove_record(state)


def _run_in_thread(backup: OpenBackup, waiter: SignalWaiter) -> Result:
    """Run in a thread, while this one waits for signals and ends the run early if one comes."""
    results: list[Result] = []
    errors: list[SidecarError] = []
    is_over = threading.Event()

    def run() -> None:
        try:
            results.append(backup.run())
        except SidecarError as error:
            errors.append(error)
        finally:
            is_over.set()
            waiter.wake()

    thread = threading.Thread(target=run, name="once")
    thread.start()
    while not is_over.is_set() and waiter.wait(_FOREVER):
        pass
    if not is_over.is_set():
        log_event(_log, logging.WARNING, "once.stopping")
        backup.stop()
    thread.join()
    if errors:
        raise errors[0]
    return results[0] if results else Result.FAILED


def make_state_folder(settings: RunnerSettings) -> None:
    """Make the state folder; raises UsageError."""
    state = settings.state_directory
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder {state} cannot be made: {error.strerror}",
            "name one that can be written by --runner-state-dir",
        ) from None


def open_journal(settings: RunnerSettings) -> Journal:
    """Open the runner's journal; raises SidecarError."""
    make_state_folder(settings)
    return Journal(settings.state_directory / JOURNAL, settings.journal_keep)
