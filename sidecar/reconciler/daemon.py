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
from sidecar.docker.markers import DIRECTORY
from sidecar.docker.models import Inventory
from sidecar.lib.backoff import Backoff
from sidecar.lib.log import log_event
from sidecar.lib.threads import failing_threads
from sidecar.reconciler.apply.apply import Applier, ApplyThread
from sidecar.reconciler.apply.context import ApplyConnections
from sidecar.reconciler.apply.first_run import FirstRuns
from sidecar.reconciler.apply.idle import PlanActivity
from sidecar.reconciler.loop import ReconcileLoop
from sidecar.reconciler.observe import with_own_container
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.report import ApplyResult, ReconcilerReport
from sidecar.reconciler.resume.resume import ResumeGuard
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory, State
from sidecar.reconciler.trigger import PassTrigger
from sidecar.service.file_watcher import FileWatcher
from sidecar.service.heartbeat import Heartbeat

_log = logging.getLogger(__name__)
_RESULTS = frozenset(ApplyResult)
_LOGINS = {"refused-login": True, "accepted-login": False}


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
            loop = ReconcileLoop(settings, self.environment, recorder, report)
            stack.callback(loop.close)
            heartbeat = Heartbeat(settings.state_directory, watching.interval)
            stack.callback(heartbeat.end)
            failures = stack.enter_context(failing_threads(_log, trigger.stop))
            if self.serve is not None:
                stack.enter_context(self.serve(report))
            stack.enter_context(self._apply_thread(settings, loop, trigger, recorder, report))
            stack.enter_context(
                FileWatcher(
                    settings.config, lambda: trigger.nudge("document"), ignores=loop.is_own_write
                )
            )
            if watching.events:
                loop.events = stack.enter_context(self._events(trigger))
            stack.enter_context(trigger.install_signals())
            log_event(_log, logging.INFO, "daemon.started", config=str(settings.config))
            self._loop(loop, trigger, report, heartbeat)
            report.stopping()
        log_event(_log, logging.INFO, "daemon.stopped")
        return not failures

    def _loop(
        self,
        loop: ReconcileLoop,
        trigger: PassTrigger,
        report: ReconcilerReport,
        heartbeat: Heartbeat,
    ) -> None:
        good_since: float | None = None
        facts = report.beat()
        heartbeat.beat(facts.now, facts.health)
        while (due := trigger.wait()) is not None:
            began = time.monotonic()
            is_good = loop.run(due)
            trigger.passed(time.monotonic() - began, changed=loop.has_changed)
            if is_good:
                good_since = good_since or time.monotonic()
            else:
                well_for = 0.0 if good_since is None else time.monotonic() - good_since
                good_since = None
                trigger.resync_within(self.backoff.next_wait(well_for), "retry")
            next_resync = time.time() + self.settings.watching.interval
            facts = report.beat(next_resync=next_resync)
            heartbeat.beat(facts.now, facts.health)

    def _events(self, trigger: PassTrigger) -> EventStream:
        def on_connection(connected: bool, reason: str) -> None:
            if connected:
                log_event(_log, logging.INFO, "events.connected")
            else:
                log_event(_log, logging.WARNING, "events.lost", reason=reason)
                trigger.hint(None)

        source, policy = self.settings.source, self.settings.policy
        return EventStream(
            source.docker_sock,
            policy.label_prefix,
            trigger.hint,
            on_connection,
            on_restart=trigger.hint_restart,
        )

    @contextmanager
    def _apply_thread(
        self,
        settings: ReconcilerSettings,
        loop: ReconcileLoop,
        trigger: PassTrigger,
        recorder: PassRecorder,
        report: ReconcilerReport,
    ) -> Iterator[None]:
        """Run the applier, the resume guard and first runs in a thread of their own."""
        connections, memory = ApplyConnections.open(settings), recorder.memory

        def applied(result: str, **facts: object) -> None:
            if result == "drift":
                report.drift(str(facts["plan"]), str(facts["key"]))
            if result == ApplyResult.FOREIGN_EDIT:
                trigger.nudge("foreign edit")
            if result in _LOGINS:
                report.login_refused(_LOGINS[result])
            if result in _RESULTS:
                report.applied(result, time.time())

        def guarded(result: str, **_: object) -> None:
            if result == "resumed":
                report.guarded(1)

        def restarted() -> None:
            loop.restarted()
            trigger.nudge("restarted")

        activity = PlanActivity(
            connections.api,
            connections.connection,
            settings.policy.runner_container,
            lambda: _is_known(memory.state, settings),
        )
        markers = settings.config.parent / DIRECTORY
        loop.guard = ResumeGuard(
            connections.connection,
            markers,
            settings.applying.guard_after,
            activity,
            guarded,
            label_prefix=settings.policy.label_prefix,
        )
        loop.applier = Applier(settings, recorder, connections, applied, restarted)
        applier = loop.applier
        first_runs = FirstRuns(
            memory,
            connections.api,
            settings.policy.plan_id_prefix,
            lambda: applier.desired,
        )
        thread = ApplyThread((applier.step, loop.guard.step, first_runs.step))
        applier.wake = thread.wake
        thread.start()
        try:
            yield
        finally:
            if thread.stop():
                connections.close()


def _is_known(state: State, settings: ReconcilerSettings) -> bool:
    """Return whether the backrest container was named, or was ever seen."""
    seen, name = state.runner, settings.policy.runner_container
    return settings.runner_named or (seen is not None and seen.name == name)
