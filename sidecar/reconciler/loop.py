"""One pass after the other over what became due: look, propose, write, tell."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import Inventory
from sidecar.lib.errors import DocumentError, InventoryError, SidecarError, StoreError
from sidecar.lib.log import log_event
from sidecar.reconciler.apply.context import Clocks
from sidecar.reconciler.desired_state import DesiredState, PassRecorder
from sidecar.reconciler.observe import with_own_container
from sidecar.reconciler.reconcile import PassOutcome, Reconciler, log_outcome
from sidecar.reconciler.report import ReconcilerReport
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory
from sidecar.reconciler.tracker import Tracker
from sidecar.reconciler.trigger import DuePass

if TYPE_CHECKING:
    from sidecar.docker.events import EventStream
    from sidecar.reconciler.apply.apply import Applier
    from sidecar.reconciler.resume.resume import ResumeGuard


_log = logging.getLogger(__name__)


@dataclass
class _Desired:
    """The last desire and since when (monotonic) it asks for what it asks for."""

    key: tuple[object, ...] = ()
    since: float = 0.0

    def since_when(self, desire: DesiredState, now: float) -> float:
        """Tell since when this has been wanted; it is `now`."""
        if desire.key != self.key:
            self.key, self.since = desire.key, now
        return self.since


class ReconcileLoop:
    """One pass after the other, over whatever became due; the daemon without its threads.

    `applier` and `guard` are told what was found; `reopen` opens the event stream anew.
    """

    def __init__(
        self,
        settings: ReconcilerSettings,
        environment: dict[str, str],
        memory: Memory,
        report: ReconcilerReport,
        clocks: Clocks | None = None,
    ) -> None:
        self._settings = settings
        self._clocks = clocks = clocks or Clocks()
        self._report = report
        self._memory = memory
        ledger = PassRecorder(
            memory,
            is_applied=settings.applying.enabled,
            monotonic=clocks.steady,
            wall=clocks.wall,
        )
        self._reconciler = Reconciler(settings, environment, ledger)
        self._engine = DockerInventory(settings.source.docker_sock)
        self._tracker = Tracker(self._engine, settings.policy.label_prefix)
        ledger.on_drift = lambda drift: report.drift(drift.plan, drift.key)
        self._desired = _Desired()
        self._told_of: object = None
        self._is_sure = False
        self.applier: Applier | None = None
        self.guard: ResumeGuard | None = None
        self.events: EventStream | None = None

    def close(self) -> None:
        """Give the connection to the engine back."""
        self._engine.close()

    def run(self, due: DuePass) -> bool:
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

    def _pass(self, due: DuePass) -> PassOutcome:
        everything = due.everything or not self._is_sure
        # Whose containers these are has to be known before anything follows from them.
        self._is_sure = self._is_sure and not everything
        inventory = self._look(due, everything=everything)
        if everything:
            self._settings = with_own_container(self._settings, inventory)
            self._reconciler.confirm_engine(self._settings, self._engine.identity())
            self._is_sure = True
        now = datetime.fromtimestamp(self._clocks.wall(), UTC).astimezone()
        if self.applier is not None and self.applier.is_writer():
            outcome = self._reconciler.preview(self._settings, inventory, now)
        else:
            outcome = self._reconciler.run(self._settings, inventory, now)
        if self.applier is not None:
            self.applier.want(
                outcome.desire, self._desired.since_when(outcome.desire, self._clocks.steady())
            )
        return outcome

    def _look(self, due: DuePass, *, everything: bool) -> Inventory:
        if not everything:
            # Nobody named a container: something else changed than they.
            return self._tracker.refresh(due.ids)
        heard = self.events is not None and self.events.is_connected
        announced = due.ids if heard and "everything" not in due.reasons else None
        inventory = self._tracker.relist(announced)
        if self._tracker.missed and self.events is not None:
            log_event(_log, logging.WARNING, "events.deaf", hint="the stream is opened anew")
            self.events.reopen()
        return inventory

    def _failed(self, error: SidecarError, seconds: float, due: DuePass) -> None:
        if isinstance(error, InventoryError):
            self._report.engine(False, str(error))
        if isinstance(error, DocumentError | StoreError):
            self._report.document(False, str(error))
        self._report.pass_failed(error, self._clocks.wall(), seconds, due.reasons)

    def _told(self, outcome: PassOutcome) -> None:
        report, ledger = self._report, self._reconciler.ledger
        if outcome.proposal is not self._told_of:
            self._told_of = outcome.proposal
            level = logging.INFO if outcome.written else logging.DEBUG
            log_outcome(outcome, "reconcile.complete", level)
        resting = ledger.watch.resting
        report.contested((drift.plan, drift.key) for drift in resting)
        report.orphans(outcome.ageing.orphans, bool(outcome.ageing.held))
        report.runner(not outcome.runner.is_awaited, None, self._settings.policy.runner_container)
        if self.guard is not None:
            self.guard.see(outcome.proposal.rendered.workloads)
