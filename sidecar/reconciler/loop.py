"""One pass after the other over what became due: observe, propose, write, report."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import Inventory
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import DocumentError, InventoryError, SidecarError, StoreError
from sidecar.lib.log import log_event
from sidecar.planner.propose import DesiredState
from sidecar.reconciler.apply.context import GoodPass
from sidecar.reconciler.observe import with_own_container
from sidecar.reconciler.reconcile import PassOutcome, Reconciler, log_outcome
from sidecar.reconciler.report import ReconcilerReport
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.tracker import Tracker
from sidecar.reconciler.trigger import DuePass

if TYPE_CHECKING:
    from sidecar.backrest.document import Document, PlanEdit
    from sidecar.backrest.plan import Plan
    from sidecar.docker.events import EventStream
    from sidecar.reconciler.apply.apply import Applier

_log = logging.getLogger(__name__)


@dataclass
class _Desired:
    """The key of the last desired state, and since when (monotonic) it is the same."""

    key: tuple[object, ...] = ()
    since: float = 0.0

    def since_when(self, desired: DesiredState, now: float) -> float:
        """Return since when this state has been desired; `now` is monotonic."""
        if desired.key != self.key:
            self.key, self.since = desired.key, now
        return self.since


@dataclass(frozen=True, slots=True)
class LoopPass:
    """What came of a pass.

    `good` is what it wants, None if it was void. `has_changed`: something came of it, a write or
    another document than before; or it was void.
    """

    good: GoodPass | None = None
    has_changed: bool = True


class ReconcileLoop:
    """Makes one pass after the other, over whatever became due; the daemon without its threads.

    While `applier` says that Backrest is the writer nothing is written into the file. `events` is
    asked to reconnect when changes were found that it should have announced.
    """

    def __init__(
        self,
        settings: ReconcilerSettings,
        reconciler: Reconciler,
        report: ReconcilerReport,
        *,
        applier: "Applier | None" = None,
        events: "EventStream | None" = None,
        clocks: Clocks | None = None,
    ) -> None:
        self._settings = settings
        self._reconciler = reconciler
        self._report = report
        self._applier = applier
        self._events = events
        self._clocks = clocks or Clocks()
        self._docker = DockerInventory(settings.source.docker_sock)
        self._tracker = Tracker(
            self._docker, settings.policy.label_prefix, settings.policy.runner_container
        )
        self._desired = _Desired()
        self._logged: object = None
        self._waiting: tuple[Plan | PlanEdit, ...] = ()
        self._is_docker_confirmed = False
        self._wanted: tuple[Document | None, ...] = ()

    def close(self) -> None:
        """Close the connection to Docker."""
        self._docker.close()

    def run(self, due: DuePass) -> LoopPass:
        """Make a pass over what is due. Raises no SidecarError."""
        start = self._clocks.monotonic()
        if "restarted" in due.reasons:
            # Nobody insists on old values now.
            self._reconciler.recorder.forgive()
        try:
            outcome = self._pass(due)
        except SidecarError as error:
            self._report_failure(error, self._clocks.monotonic() - start, due)
            return LoopPass()
        self._report.docker(True)
        self._report.document(True)
        self._report_outcome(outcome)
        self._report.pass_done(
            outcome, self._clocks.monotonic() - start, self._clocks.wall(), due.reasons
        )
        proposal, desired = outcome.proposal, outcome.desired
        wanted = (proposal.after, None if proposal.runner is None else proposal.runner.after)
        has_changed, self._wanted = bool(outcome.written) or wanted != self._wanted, wanted
        since = self._desired.since_when(desired, self._clocks.monotonic())
        good = GoodPass(desired, since, proposal.rendered.workloads)
        return LoopPass(good, has_changed)

    def _pass(self, due: DuePass) -> PassOutcome:
        everything = due.everything or not self._is_docker_confirmed
        # Which Docker these containers are of has to be known before anything is concluded.
        self._is_docker_confirmed = self._is_docker_confirmed and not everything
        inventory = self._observe(due, everything=everything)
        if everything:
            self._settings = with_own_container(self._settings, inventory)
            self._reconciler.confirm_docker(self._settings, self._docker.identity())
            self._is_docker_confirmed = True
        now = datetime.fromtimestamp(self._clocks.wall(), UTC).astimezone()
        if self._applier is not None and self._applier.is_backrest_writer():
            return self._reconciler.run_beside_writer(self._settings, inventory, now)
        return self._reconciler.run(self._settings, inventory, now)

    def _observe(self, due: DuePass, *, everything: bool) -> Inventory:
        if not everything:
            # Without ids no container changed, but the document did, for example.
            return self._tracker.refresh(due.ids)
        is_listening = self._events is not None and self._events.is_connected
        announced = due.ids if is_listening and "everything" not in due.reasons else None
        inventory = self._tracker.relist(announced)
        if self._tracker.missed and self._events is not None:
            log_event(_log, logging.WARNING, "events.deaf", hint="the stream is opened anew")
            self._events.reopen()
        return inventory

    def _report_failure(self, error: SidecarError, seconds: float, due: DuePass) -> None:
        if isinstance(error, InventoryError):
            self._report.docker(False, str(error))
        if isinstance(error, DocumentError | StoreError):
            self._report.document(False, str(error))
        self._report.pass_failed(error, self._clocks.wall(), seconds, due.reasons)

    def _report_outcome(self, outcome: PassOutcome) -> None:
        report, recorder = self._report, self._reconciler.recorder
        if outcome.proposal is not self._logged:
            self._logged = outcome.proposal
            level = logging.INFO if outcome.written else logging.DEBUG
            log_outcome(outcome, "reconcile.complete", level, self._waiting)
            changes = outcome.proposal.all_changes
            # What Backrest has to write itself is the same change at each pass until it has.
            self._waiting = () if outcome.written else (*changes.added, *changes.edits)
        for drift in outcome.drift:
            report.drift(drift.plan, drift.key)
        resting = recorder.watch.resting
        report.contested((drift.plan, drift.key) for drift in resting)
        report.orphans(outcome.ageing.orphans, bool(outcome.ageing.held))
        report.backrest(
            not outcome.backrest.is_awaited, None, self._settings.policy.runner_container
        )
