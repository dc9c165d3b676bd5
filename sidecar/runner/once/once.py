"""One backup of everything: what has to be quiet is stopped, and started again in any case."""

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sidecar.docker.local_engine import OnceEngine
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.runner.once.begun import Begun, remove_begun, write_begun
from sidecar.runner.once.leftover import DEFAULT_TIMEOUT, put_right
from sidecar.runner.once.quiesce import Circumstances, choose_quiet, quiesced
from sidecar.runner.once.way import Result, Say, Way
from sidecar.runner.settings import Settings
from sidecar.service.waker import Waker

_FOREVER = 3600.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Once:
    """A backup of everything: by which way, and which containers are to be quiet for it.

    `quiet` are ids; `seconds` is how long each of them has to stop. `engines` makes a
    connection to the engine, for one thread each. `say` tells people lines.
    """

    settings: Settings
    way: Way
    engines: Callable[[], OnceEngine]
    quiet: Collection[str]
    say: Say
    seconds: float = DEFAULT_TIMEOUT


def preview_once(once: Once) -> None:
    """Say what would be stopped, run, forgotten and started; does nothing else."""
    with once.engines() as engine:
        stopped = choose_quiet(engine, once.quiet)
    lines = [f"stop {one.name}" for one in stopped]
    lines += once.way.preview()
    lines += [f"start {one.name}" for one in reversed(stopped)]
    for line in lines:
        once.say(line)


def run_once(once: Once, waker: Waker) -> Result:
    """Back up, unless `waker` is stopped meanwhile: then end early, in good order.

    Raises SidecarError: Locked if the document is executed already, NotStopped if nothing was
    backed up because a container cannot be stopped.
    """
    state = once.settings.state_directory
    once.way.prepare()
    with once.way.opened() as journal, once.engines() as engine:
        for reason in put_right(engine, journal, once.seconds):
            once.say(reason)
        once.way.resume()
        stopped = choose_quiet(engine, once.quiet)
        write_begun(state, Begun(engine.now(), once.way.container))
        how = Circumstances(once.seconds, waker.wait, lambda: waker.is_stopped)
        try:
            with quiesced(engine, stopped, journal, how):
                return _run_in_thread(once, waker)
        finally:
            # What could not be started is to be started still: by the next start of ours.
            if not journal.still_stopped():
                remove_begun(state)


def _run_in_thread(once: Once, waker: Waker) -> Result:
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
            waker.wake()

    thread = threading.Thread(target=run, name="once")
    thread.start()
    while not is_over.is_set() and waker.wait(_FOREVER):
        pass
    if not is_over.is_set():
        log_event(_log, logging.WARNING, "once.stopping")
        once.way.stop()
    thread.join()
    if errors:
        raise errors[0]
    return results[0] if results else Result.FAILED
