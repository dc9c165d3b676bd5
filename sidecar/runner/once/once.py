"""One backup of everything: what has to be quiet is stopped, and started again in any case.

What the two ways of backing up once have in common.
"""

import logging
import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from sidecar.docker.lifecycle import OneShotDocker
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
from sidecar.runner.parts import JOURNAL
from sidecar.runner.settings import RunnerSettings
from sidecar.service.signals import SignalWaiter

PURPOSE = "backup-once"
"""The word for whoever is refused because of us."""
Say = Callable[[str], None]
"""Tells people a line."""


class Result(IntEnum):
    """What came of it; of several the highest counts."""

    DONE = 0
    WARNING = 1
    """Everything is saved, but something went wrong besides."""
    FAILED = 2


class BackupStrategy(Protocol):
    """A way to back up everything once. Everything but `stop` may raise SidecarError."""

    @property
    def container(self) -> str:
        """What containers are called that it makes; empty: it makes none."""
        ...

    def preview(self) -> tuple[str, ...]:
        """Say what would be done, a line each; does nothing."""
        ...

    def prepare(self) -> None:
        """See to it that it can be begun, while nothing is stopped yet."""
        ...

    def opened(self) -> AbstractContextManager[Journal]:
        """Be the only one who does this, for the block, and give the journal."""
        ...

    def resume(self) -> None:
        """Put right what its runs left that were killed; the containers run again by then."""
        ...

    def run(self) -> Result:
        """Do it."""
        ...

    def stop(self) -> None:
        """End it early; called by another thread, while `run` runs."""
        ...


def make_state(settings: RunnerSettings) -> None:
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
    """Open the journal that the runner has; raises SidecarError."""
    make_state(settings)
    return Journal(settings.state_directory / JOURNAL, settings.journal_keep)


_FOREVER = 3600.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Once:
    """A backup of everything: by which way, and which containers are to be quiet for it.

    `quiet` are ids; `seconds` is how long each of them has to stop. `engines` makes a
    connection to the engine, for one thread each. `say` tells people lines.
    """

    settings: RunnerSettings
    way: BackupStrategy
    engines: Callable[[], OneShotDocker]
    quiet: Collection[str]
    say: Say
    seconds: float = DEFAULT_TIMEOUT


def preview_once(once: Once) -> None:
    """Say what would be stopped, run, forgotten and started; does nothing else."""
    with once.engines() as engine:
        stopped = choose_stopped(engine, once.quiet)
    lines = [f"stop {one.name}" for one in stopped]
    lines += once.way.preview()
    lines += [f"start {one.name}" for one in reversed(stopped)]
    for line in lines:
        once.say(line)


def run_once(once: Once, waiter: SignalWaiter) -> Result:
    """Back up, unless `waker` is stopped meanwhile: then end early, in good order.

    Raises SidecarError: Locked if the document is executed already, NotStopped if nothing was
    backed up because a container cannot be stopped.
    """
    state = once.settings.state_directory
    once.way.prepare()
    with once.way.opened() as journal, once.engines() as engine:
        for reason in recover_leftovers(engine, journal, once.seconds):
            once.say(reason)
        once.way.resume()
        stopped = choose_stopped(engine, once.quiet)
        write_record(state, BackupRecord(engine.now(), once.way.container))
        how = QuiesceContext(once.seconds, waiter.wait, lambda: waiter.is_stopped)
        try:
            with quiesced(engine, stopped, journal, how):
                return _run_in_thread(once, waiter)
        finally:
            # What could not be started is to be started still: by the next start of ours.
            if not journal.still_stopped():
                remove_record(state)


def _run_in_thread(once: Once, waiter: SignalWaiter) -> Result:
    """Run it beside the thread that hears signals, which ends it early if one comes."""
    results: list[Result] = []
    errors: list[SidecarError] = []
    is_over = threading.Event()

    def run() -> None:
        try:
            results.append(once.way.run())
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
        once.way.stop()
    thread.join()
    if errors:
        raise errors[0]
    return results[0] if results else Result.FAILED
