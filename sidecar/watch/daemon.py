"""The daemon: hints come in, passes go out; whatever fails is a state that heals.

The main thread looks, proposes and writes. Others only hint (events, the document's
directory), make the runner notice (apply), start again what was left stopped (guard), or
answer questions (pages).
"""

import gc
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sidecar.core.workload import Inventory
from sidecar.errors import DocumentError, InventoryError, SidecarError, StoreError
from sidecar.kit.backoff import Backoff
from sidecar.kit.log import log_event
from sidecar.settings import Settings
from sidecar.watch.apply import Applier, ApplyThread
from sidecar.watch.applying.idle import PlanActivity
from sidecar.watch.applying.site import Clocks, Links
from sidecar.watch.desire import Desire, Ledger
from sidecar.watch.events import EventStream
from sidecar.watch.facts import ApplyResult
from sidecar.watch.guard import Guard
from sidecar.watch.inventory import Engine
from sidecar.watch.markers import DIRECTORY
from sidecar.watch.observe import knowing_itself
from sidecar.watch.pulse import Pulse
from sidecar.watch.reconciler import Outcome, Reconciler, tell_outcome
from sidecar.watch.report import Report
from sidecar.watch.state import Memory
from sidecar.watch.tracker import Tracker
from sidecar.watch.trigger import Due, Trigger
from sidecar.watch.vigil import Vigil

_log = logging.getLogger(__name__)
_RESULTS = frozenset(ApplyResult)


@dataclass
class _Wish:
    """The last desire and since when (monotonic) it asks for what it asks for."""

    key: tuple[object, ...] = ()
    since: float = 0.0

    def since_when(self, desire: Desire, now: float) -> float:
        """Tell since when this has been wanted; it is `now`."""
        if desire.key != self.key:
            self.key, self.since = desire.key, now
        return self.since


class Loop:
    """One pass after the other, over whatever became due; the daemon without its threads.

    `applier` and `guard` are told what was found; `reopen` opens the event stream anew.
    """

    def __init__(
        self,
        settings: Settings,
        environment: dict[str, str],
        memory: Memory,
        report: Report,
        clocks: Clocks | None = None,
    ) -> None:
        self._settings = settings
        self._clocks = clocks = clocks or Clocks()
        self._report = report
        self._memory = memory
        ledger = Ledger(
            memory,
            is_applied=settings.applying.enabled,
            clock=clocks.steady,
            wall=clocks.wall,
        )
        self._reconciler = Reconciler(settings, environment, ledger)
        self._engine = Engine(settings.source.docker_sock)
        self._tracker = Tracker(self._engine, settings.policy.label_prefix)
        ledger.on_drift = lambda drift: report.drift(drift.plan, drift.key)
        self._wish = _Wish()
        self._told_of: object = None
        self.applier: Applier | None = None
        self.guard: Guard | None = None
        self.events: EventStream | None = None

    def close(self) -> None:
        """Give the connection to the engine back."""
        self._engine.close()

    def run(self, due: Due) -> bool:
        """Make a pass over what is due; whether it was a good one. Raises no SidecarError."""
        start = self._clocks.steady()
        try:
            outcome = self._pass(due)
        except SidecarError as error:
            self._failed(error, self._clocks.steady() - start, due)
            return False
        self._report.engine(True)
        self._report.document(True)
        self._told(outcome)
        self._report.pass_done(
            outcome, self._clocks.steady() - start, self._clocks.wall(), due.reasons
        )
        return True

    def restarted(self) -> None:
        """Note that the runner has read the document anew: old values are nobody's wish now."""
        ledger = self._reconciler.ledger
        ledger.watch = ledger.watch.forgiving()

    def _pass(self, due: Due) -> Outcome:
        inventory = self._look(due)
        if due.everything:
            self._settings = knowing_itself(self._settings, inventory)
            self._reconciler.confirm_engine(self._settings, self._engine.identity())
        now = datetime.fromtimestamp(self._clocks.wall(), UTC).astimezone()
        if self.applier is not None and self.applier.is_writer():
            outcome = self._reconciler.preview(self._settings, inventory, now)
        else:
            outcome = self._reconciler.run(self._settings, inventory, now)
        if self.applier is not None:
            self.applier.want(
                outcome.desire, self._wish.since_when(outcome.desire, self._clocks.steady())
            )
        return outcome

    def _look(self, due: Due) -> Inventory:
        if not due.everything:
            # Nobody named a container: something else changed than they.
            return self._tracker.refresh(due.ids)
        heard = self.events is not None and self.events.is_connected
        announced = due.ids if heard and "everything" not in due.reasons else None
        inventory = self._tracker.relist(announced)
        if self._tracker.missed and self.events is not None:
            log_event(_log, logging.WARNING, "events.deaf", hint="the stream is opened anew")
            self.events.reopen()
        return inventory

    def _failed(self, error: SidecarError, seconds: float, due: Due) -> None:
        if isinstance(error, InventoryError):
            self._report.engine(False, str(error))
        if isinstance(error, DocumentError | StoreError):
            self._report.document(False, str(error))
        self._report.pass_failed(error, self._clocks.wall(), seconds, due.reasons)

    def _told(self, outcome: Outcome) -> None:
        report, ledger = self._report, self._reconciler.ledger
        if outcome.proposal is not self._told_of:
            self._told_of = outcome.proposal
            level = logging.INFO if outcome.written else logging.DEBUG
            tell_outcome(outcome, "reconcile.complete", level)
        resting = ledger.watch.resting
        report.contested((drift.plan, drift.key) for drift in resting)
        report.orphans(outcome.ageing.orphans, bool(outcome.ageing.held))
        report.runner(not outcome.runner.is_awaited, None, self._settings.policy.runner_container)
        if self.guard is not None:
            self.guard.see(outcome.proposal.rendered.workloads)


@dataclass
class Daemon:
    """The whole process: loop, threads, signals. `run` ends by SIGTERM or SIGINT."""

    settings: Settings
    environment: dict[str, str]
    backoff: Backoff = field(default_factory=Backoff)

    def run(self) -> None:
        """Run until a signal; what cannot be had yet is waited for."""
        gc.enable()
        settings, watching = knowing_itself(self.settings, Inventory()), self.settings.watching
        report = Report(time.time, time.monotonic, watching.interval)
        memory = Memory(settings.state_directory)
        with ExitStack() as stack:
            trigger = stack.enter_context(Trigger(watching.settle, watching.cap, watching.interval))
            loop = Loop(settings, self.environment, memory, report)
            stack.callback(loop.close)
            pulse = Pulse(settings.state_directory)
            stack.callback(pulse.end)
            if watching.listen is not None:
                # Only who wants pages pays for what makes them.
                from sidecar.watch.serve import Pages  # noqa: PLC0415

                stack.enter_context(Pages(watching.listen, report))
            stack.enter_context(self._upkeep(settings, loop, trigger, memory, report))
            stack.enter_context(Vigil(settings.config, lambda: trigger.nudge("document")))
            if watching.events:
                loop.events = stack.enter_context(self._events(trigger))
            stack.enter_context(trigger.install_signals())
            log_event(_log, logging.INFO, "daemon.started", config=str(settings.config))
            self._loop(loop, trigger, report, pulse)
            report.stopping()
        log_event(_log, logging.INFO, "daemon.stopped")

    def _loop(self, loop: Loop, trigger: Trigger, report: Report, pulse: Pulse) -> None:
        good_since: float | None = None
        pulse.beat(report.beat())
        while (due := trigger.wait()) is not None:
            if loop.run(due):
                good_since = good_since or time.monotonic()
            else:
                well_for = 0.0 if good_since is None else time.monotonic() - good_since
                good_since = None
                trigger.look_after(self.backoff.next_wait(well_for), "retry")
            pulse.beat(report.beat(time.time() + self.settings.watching.interval))

    def _events(self, trigger: Trigger) -> EventStream:
        def told(connected: bool, reason: str) -> None:
            if connected:
                log_event(_log, logging.INFO, "events.connected")
            else:
                log_event(_log, logging.WARNING, "events.lost", reason=reason)
                trigger.hint(None)

        source, policy = self.settings.source, self.settings.policy
        return EventStream(source.docker_sock, policy.label_prefix, trigger.hint, told)

    @contextmanager
    def _upkeep(
        self, settings: Settings, loop: Loop, trigger: Trigger, memory: Memory, report: Report
    ) -> Iterator[None]:
        """Run what concerns the runner in a thread of its own: apply, and guard."""
        links = Links.open(settings)

        def applied(result: str, **_: object) -> None:
            if result == ApplyResult.FOREIGN_EDIT:
                trigger.nudge("foreign edit")
            if result in _RESULTS:
                report.applied(result, time.time())

        def guarded(result: str, **_: object) -> None:
            if result == "resumed":
                report.guarded(1)

        def restarted() -> None:
            loop.restarted()
            trigger.nudge("restarted")

        def is_known() -> bool:
            seen, name = memory.state.runner, settings.policy.runner_container
            return settings.runner_named or (seen is not None and seen.name == name)

        activity = PlanActivity(
            links.api,
            links.connection,
            settings.policy.runner_container,
            is_known,
        )
        markers = settings.config.parent / DIRECTORY
        loop.guard = Guard(
            links.connection,
            markers,
            settings.applying.guard_after,
            activity,
            guarded,
            label_prefix=settings.policy.label_prefix,
        )
        loop.applier = Applier(settings, memory, links, applied, restarted)
        thread = ApplyThread((loop.applier.step, loop.guard.step))
        loop.applier.wake = thread.wake
        thread.start()
        try:
            yield
        finally:
            if thread.stop():
                links.close()
