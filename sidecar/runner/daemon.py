"""The daemon: what is due goes to the seats; whatever fails is a state that heals.

The main thread looks at the document and the clock. The seats run, others answer questions
(control socket, pages), look after disks and repositories (rounds) and send notifications.
"""

import gc
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial

from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.lib.threads import failing_threads
from sidecar.runner.control import ControlApi
from sidecar.runner.due import Job, Missed
from sidecar.runner.heartbeat import RunnerHeartbeat
from sidecar.runner.identity import switch_user
from sidecar.runner.job.progress import ProgressHub
from sidecar.runner.job.upkeep import Prober
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.loader import Loader
from sidecar.runner.loop import LoopDependencies, RunnerLoop
from sidecar.runner.maintenance import Maintenance
from sidecar.runner.parts import RunnerDependencies, assemble, lock_scheduler
from sidecar.runner.pool import Pool
from sidecar.runner.settings import RunnerSettings
from sidecar.runner.status import RunnerReport, Sources, job_of
from sidecar.service.file_watcher import FileWatcher
from sidecar.service.signals import SignalWaiter

LAST_PATIENCE = 600.0
"""Seconds that hooks have to start again what was stopped, when the daemon ends."""
_log = logging.getLogger(__name__)


@dataclass
class RunnerDaemon:
    """The whole process: loop, workers, threads, signals. `run` ends by SIGTERM or SIGINT.

    `serve` lets others ask the ControlApi for as long as its context is open.
    """

    settings: RunnerSettings
    environ: Mapping[str, str]
    serve: Callable[[ControlApi], AbstractContextManager[None]]

    def run(self) -> bool:
        """Run until a signal; a document that cannot be had yet is waited for.

        False when a thread ended that must not, or when a run could not be brought to its
        end. Raises SidecarError if it cannot begin.
        """
        settings = self.settings
        environ = switch_user(settings, self.environ)
        with ExitStack() as stack:
            stack.enter_context(lock_scheduler(settings, environ, "daemon"))
            log_event(_log, logging.INFO, "daemon.started", config=str(settings.config))
            waiter = stack.enter_context(SignalWaiter())
            stack.enter_context(waiter.install_signals())
            failures = stack.enter_context(failing_threads(_log, waiter.stop))
            parts = stack.enter_context(assemble(settings, environ))
            running = DaemonParts(parts, waiter)
            running.recover_leftovers()
            has_ended = running.live(stack, self.serve)
        log_event(_log, logging.INFO, "daemon.stopped")
        return has_ended and not failures


class DaemonParts:
    """The threads of a daemon, and what they share."""

    def __init__(self, parts: RunnerDependencies, waiter: SignalWaiter) -> None:
        settings = parts.settings
        state = settings.state_directory
        self._parts = parts
        self._waiter = waiter
        self._hub = ProgressHub()
        self._loader = Loader(settings.config)
        self._jobs = JobRunner(parts, self._hub, self._miss)
        self._pool = Pool(self._jobs.run, settings.scheduling.seats, self._done, self._jobs.failed)
        prober = Prober(
            lambda repo: parts.engines.make(parts.probes, repo), partial(_known_guid, parts)
        )
        self._maintenance = Maintenance(
            state,
            lambda: self._jobs.config,
            prober,
            parts.initialiser.ensure,
            parts.start_again,
            parts.probes.stop_all,
            waiter.wake,
        )
        sources = Sources(
            parts.journal,
            lambda: self._loader.loaded,
            lambda: self._pool.busy,
            lambda: self._hub.running,
            prober.last,
            lambda: self._maintenance.disks,
            lambda: self._maintenance.stopped,
            self._blocked,
        )
        self._report = RunnerReport(
            sources, parts.scheduler, settings.health_grace, time.time, time.monotonic
        )
        parts.reporter.listeners.append(self._report.ended)
        self._heartbeat = RunnerHeartbeat(state)
        dependencies = LoopDependencies(
            parts, self._loader, self._jobs, self._pool, self._report, self._heartbeat
        )
        self._loop = RunnerLoop(dependencies)

    def recover_leftovers(self) -> None:
        """Put right what a daemon that died has left, before anything else is done."""
        self._parts.recover_leftovers(self._loader.look().config)

    def live(
        self, stack: ExitStack, serve: Callable[[ControlApi], AbstractContextManager[None]]
    ) -> bool:
        """Run until it is time to end; False if something did not come to its end."""
        settings = self._parts.settings
        self._parts.delivery.start()
        stack.callback(self._heartbeat.end)
        # Before all that asks what the document says.
        wait = self._loop.look()
        api = ControlApi(self._jobs, self._pool, self._hub, self._report)
        stack.enter_context(serve(api))
        # Closed before that is: who follows a run is told that nothing more comes.
        stack.enter_context(self._hub)
        stack.enter_context(FileWatcher(settings.config, self._waiter.wake))
        self._pool.start()
        stack.enter_context(self._maintenance)
        try:
            self._loop_until_stopped(wait)
        finally:
            self._report.stopping()
            has_ended = self._stop()
        return has_ended

    def _loop_until_stopped(self, wait: float) -> None:
        gc.collect()
        gc.freeze()
        while self._waiter.wait(wait):
            wait = self._loop.look()

    def _stop(self) -> bool:
        """Let runs end, then end them; the hooks after them run in any case."""
        grace = self._parts.settings.scheduling.grace
        if self._pool.close(grace):
            return True
        log_event(_log, logging.WARNING, "daemon.ends-runs", after=grace)
        self._parts.stop()
        if self._pool.close(LAST_PATIENCE):
            return True
        log_event(_log, logging.ERROR, "daemon.leaves-runs", after=LAST_PATIENCE)
        return False

    def _miss(self, missed: Missed) -> None:
        self._loop.miss(missed)

    def _done(self, job: Job) -> None:
        self._hub.done(job)
        self._waiter.wake()

    def _blocked(self) -> dict[str, str]:
        # The commands of hooks may hold secrets, so their problems are told in the log only.
        return {
            plan.id: "one of its hooks cannot be used, the log says why"
            for plan in self._jobs.config.plans
            if self._jobs.problems and self._jobs.blocker(job_of(plan))
        }


def _known_guid(parts: RunnerDependencies, repo: str) -> str:
    try:
        return parts.journal.guid(repo)
    except SidecarError:
        return ""
