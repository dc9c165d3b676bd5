"""The daemon: run what is due until a signal ends it; what fails is a state that heals.

The main thread polls the document and the clock. Workers run jobs; other threads serve the
control socket and pages, check disks and repositories (maintenance) and send notifications.
"""

import gc
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from sidecar.lib.log import log_event
from sidecar.lib.threads import failing_threads
from sidecar.runner.control import ControlApi
from sidecar.runner.due import LONGEST_SLEEP
from sidecar.runner.identity import switch_user
from sidecar.runner.job.progress import ProgressHub
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.loader import Loader
from sidecar.runner.loop import LoopDependencies, RunnerLoop
from sidecar.runner.maintenance import DiskUsage, Maintenance, RepositoryProbes
from sidecar.runner.parts import RunnerParts, assemble, lock_scheduler
from sidecar.runner.pool import Pool
from sidecar.runner.report import RunnerReport, StatusSources
from sidecar.runner.settings import RunnerSettings
from sidecar.service.file_watcher import FileState, FileWatcher
from sidecar.service.heartbeat import Heartbeat
from sidecar.service.signals import SignalWaiter

LAST_PATIENCE = 600.0
"""Seconds that hooks have to start containers again when the daemon ends."""
_log = logging.getLogger(__name__)


@dataclass
class RunnerDaemon:
    """The whole process: loop, workers, threads, signals. `run` ends by SIGTERM or SIGINT.

    `serve` serves the ControlApi to others as long as its context is open.
    """

    settings: RunnerSettings
    environ: Mapping[str, str]
    serve: Callable[[ControlApi], AbstractContextManager[object]]

    def run(self) -> bool:
        """Run until a signal; wait for a document that does not exist yet.

        Return False if a thread ended that must not, or if a run could not be ended. Raises
        SidecarError if it cannot begin.
        """
        settings = self.settings
        environ = switch_user(settings, self.environ)
        with ExitStack() as stack:
            stack.enter_context(lock_scheduler(settings, environ, "daemon"))
            log_event(_log, logging.INFO, "daemon.started", config=str(settings.config))
            waiter = stack.enter_context(SignalWaiter())
            stack.enter_context(waiter.install_signals())
            failures = stack.enter_context(failing_threads(_log, waiter.stop))
            parts = stack.enter_context(assemble(settings, environ, for_daemon=True))
            threads = DaemonThreads(settings, environ, parts, waiter)
            threads.recover_leftovers()
            has_ended = threads.run(stack, self.serve)
        log_event(_log, logging.INFO, "daemon.stopped")
        return has_ended and not failures


class DaemonThreads:
    """The threads of a daemon, and what they share."""

    def __init__(
        self,
        settings: RunnerSettings,
        environ: Mapping[str, str],
        parts: RunnerParts,
        waiter: SignalWaiter,
    ) -> None:
        execution, state = parts.execution, settings.state_directory
        self._settings = settings
        self._parts = parts
        self._waiter = waiter
        self._hub = ProgressHub()
        self._loader = Loader(settings.files, environ)
        jobs = JobRunner(execution, parts.stages, self._hub)
        self._pool = Pool(jobs, settings.scheduling.seats, parts.rules, waiter)
        self._maintenance = Maintenance(parts.leftovers, waiter)
        self._disks = DiskUsage(state, execution.document, waiter)
        self._probes = RepositoryProbes(parts.probing, execution.document, waiter)
        sources = StatusSources(
            execution,
            self._loader,
            self._pool,
            self._hub,
            parts.probing.prober,
            self._maintenance,
            self._disks,
            parts.delivery,
        )
        self._status = RunnerReport(sources, settings.health_grace, time.time, time.monotonic)
        self._heartbeat = Heartbeat(state, LONGEST_SLEEP)
        self._loop = RunnerLoop(
            LoopDependencies(
                settings, execution, self._loader, self._pool, self._status, self._heartbeat
            )
        )

    def recover_leftovers(self) -> None:
        """Recover what a daemon that died has left, before anything else is done."""
        if (documents := self._loader.refresh().documents) is not None:
            self._parts.execution.document.take(documents)
        self._parts.leftovers.recover()

    def run(
        self, stack: ExitStack, serve: Callable[[ControlApi], AbstractContextManager[object]]
    ) -> bool:
        """Run until a signal; return False if a run could not be ended."""
        execution = self._parts.execution
        self._parts.delivery.start()
        stack.callback(self._heartbeat.end)
        # First of all: what follows needs the document.
        wait = self._loop.poll()
        api = ControlApi(
            execution.document,
            execution.journal.findings,
            self._pool,
            self._hub,
            self._status,
            self._parts.probing.engines,
        )
        stack.enter_context(serve(api))
        # Closed before `serve` is, so that followers of a run get its last event.
        stack.enter_context(self._hub)
        files = self._settings.files
        for file in (files.config, files.runner):
            stack.enter_context(FileWatcher(file, self))
        self._pool.start()
        stack.enter_context(self._maintenance)
        stack.enter_context(self._disks)
        stack.enter_context(self._probes)
        try:
            self._loop_until_stopped(wait)
        finally:
            self._status.stopping()
            has_ended = self._stop()
        return has_ended

    def _loop_until_stopped(self, wait: float) -> None:
        gc.collect()
        gc.freeze()
        while self._waiter.wait(wait):
            wait = self._loop.poll()

    def _stop(self) -> bool:
        """Wait for runs to end, then end them; the hooks after them run in any case."""
        grace = self._settings.scheduling.grace
        if self._pool.close(grace):
            return True
        log_event(_log, logging.WARNING, "daemon.ends-runs", after=grace)
        self._parts.stages.stop()
        if self._pool.close(LAST_PATIENCE):
            return True
        log_event(_log, logging.ERROR, "daemon.leaves-runs", after=LAST_PATIENCE)
        return False

    def file_changed(self, _: FileState) -> None:
        """Have the document looked at."""
        self._waiter.wake()
