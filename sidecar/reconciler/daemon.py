"""The daemon: hints come in, passes go out; what fails is tried again.

The main thread observes, proposes and writes. Other threads only hint (events, the
document's directory), make Backrest load the document and start again what was left
stopped (apply), or answer requests (pages).
"""

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

from sidecar.docker.events import EventStream
from sidecar.docker.models import Inventory
from sidecar.lib.backoff import Backoff
from sidecar.lib.log import log_event
from sidecar.lib.threads import failing_threads
from sidecar.reconciler.apply.apply import Applier
from sidecar.reconciler.apply.context import ApplyConnections, LastPass
from sidecar.reconciler.apply.first_run import FirstRuns
from sidecar.reconciler.apply.idle import PlanActivity
from sidecar.reconciler.apply.thread import ApplyThread
from sidecar.reconciler.loop import ReconcileLoop
from sidecar.reconciler.observe import with_own_container
from sidecar.reconciler.reconcile import Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.report import ReconcilerReport
from sidecar.reconciler.resume.resume import ResumeGuard
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory
from sidecar.reconciler.trigger import PassTrigger
from sidecar.service.file_watcher import FileState, FileWatcher
from sidecar.service.heartbeat import Heartbeat

_log = logging.getLogger(__name__)


@dataclass
class ReconcilerDaemon:
    """The whole process: loop, threads, signals. `run` ends by SIGTERM or SIGINT.

    `serve` serves the report, as on status pages, while its context is open; None: nobody
    is served. `backoff` says how long to wait after failed passes.
    """

    settings: ReconcilerSettings
    environment: dict[str, str]
    serve: Callable[[ReconcilerReport], AbstractContextManager[object]] | None = None
    backoff: Backoff = field(default_factory=Backoff)

    def run(self) -> bool:
        """Run until a signal; wait for what is missing, such as Docker or the document.

        Return False when a thread failed: then the process is better restarted.
        """
        gc.enable()
        settings, watching = with_own_container(self.settings, Inventory()), self.settings.watching
        report = ReconcilerReport(time.time, time.monotonic, watching.interval)
        memory = Memory(settings.state_directory)
        with ExitStack() as stack:
            trigger = stack.enter_context(
                PassTrigger(watching.settle, watching.cap, watching.interval)
            )
            recorder = PassRecorder(memory, is_applied=settings.applying.enabled)
            reconciler = Reconciler(settings, self.environment, recorder)
            connections, last_pass = ApplyConnections.open(settings), LastPass()
            applier = Applier(settings, recorder, connections, last_pass)
            source, prefix = settings.source, settings.policy.label_prefix
            events = EventStream(source.docker_sock, prefix, trigger) if watching.events else None
            loop = ReconcileLoop(settings, reconciler, report, applier=applier, events=events)
            stack.callback(loop.close)
            heartbeat = Heartbeat(settings.state_directory, watching.interval)
            stack.callback(heartbeat.end)
            failures = stack.enter_context(failing_threads(_log, trigger.stop))
            if self.serve is not None:
                stack.enter_context(self.serve(report))
            steppers = (
                applier,
                ResumeGuard(
                    settings,
                    connections.connection,
                    PlanActivity(settings, memory, connections.connection, connections.api),
                    last_pass,
                ),
                FirstRuns(memory, connections.api, settings.policy.plan_id_prefix, last_pass),
            )
            thread = ApplyThread(steppers, last_pass, report, trigger)
            stack.enter_context(_applying(thread, connections))
            watched = _Document(reconciler, trigger)
            stack.enter_context(FileWatcher(settings.config, watched))
            stack.enter_context(FileWatcher(settings.runner_document, watched))
            if events is not None:
                stack.enter_context(events)
            stack.enter_context(trigger.install_signals())
            log_event(_log, logging.INFO, "daemon.started", config=str(settings.config))
            self._loop(loop, last_pass, trigger, report, heartbeat)
            report.stopping()
        log_event(_log, logging.INFO, "daemon.stopped")
        return not failures

    def _loop(
        self,
        loop: ReconcileLoop,
        last_pass: LastPass,
        trigger: PassTrigger,
        report: ReconcilerReport,
        heartbeat: Heartbeat,
    ) -> None:
        good_since: float | None = None
        facts = report.beat()
        heartbeat.beat(facts.now, facts.health)
        while (due := trigger.wait()) is not None:
            began = time.monotonic()
            done = loop.run(due)
            trigger.passed(time.monotonic() - began, changed=done.has_changed)
            if done.good is not None:
                last_pass.set(done.good)
                good_since = good_since or time.monotonic()
            else:
                well_for = 0.0 if good_since is None else time.monotonic() - good_since
                good_since = None
                trigger.resync_within(self.backoff.next_wait(well_for), "retry")
            next_resync = time.time() + self.settings.watching.interval
            facts = report.beat(next_resync=next_resync)
            heartbeat.beat(facts.now, facts.health)


@dataclass(frozen=True, slots=True)
class _Document:
    """Has the document looked at when it has changed, but for our own writes."""

    reconciler: Reconciler
    trigger: PassTrigger

    def file_changed(self, state: FileState) -> None:
        """Request a pass."""
        if not self.reconciler.is_own_write(state):
            self.trigger.nudge("document")


@contextmanager
def _applying(thread: ApplyThread, connections: ApplyConnections) -> Iterator[None]:
    """Run the thread; its connections are closed at the end unless a step still uses them."""
    thread.start()
    try:
        yield
    finally:
        if thread.stop():
            connections.close()
