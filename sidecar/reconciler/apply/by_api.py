"""Apply through Backrest's API: while it answers, Backrest is the only writer of its document."""

import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar.backrest.api import ApiError, ApiTrouble, BackrestApi
from sidecar.backrest.compare import differs, has_field
from sidecar.backrest.document import Document, parse_document
from sidecar.backrest.operations import pending_plans
from sidecar.backrest.rules import is_active
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import StoreError
from sidecar.lib.log import log_event
from sidecar.planner.drift import Drift
from sidecar.planner.propose import DesiredState, Planner, Proposal
from sidecar.reconciler.apply.context import LOADED, ApplyDependencies, BusyTimer, StablePeriod
from sidecar.reconciler.apply.idle import APART, IdleState, StableTwice, check_by_api, running_plans
from sidecar.reconciler.store.read import naming
from sidecar.reconciler.store.replace import Store

NOTHING_TO_DO = 60.0
"""Seconds until the next step where nothing is left to do."""

# An answer of the API counts for so long: a pass and a step shortly after ask once.
_FRESH_SECONDS = 3.0
_BUSY_SECONDS = 15.0
_FOREIGN_SECONDS = 30.0
_STALE_TRIES = 5
_POLLS = 5
_POLL_SECONDS = 1.0
_SHOWN = 5
_KEPT = ("auth", "sync")
"""Fields of the document that must never get lost: who may log in, and the identity."""
_UNSCHEDULED = "it is sent again later; restart Backrest if that does not help"
_HINT = "nothing was sent, because that would drop it for good; restart Backrest to read its file"

_log = logging.getLogger(__name__)


class ApiStrategy:
    """Makes Backrest save the desired state: GetConfig, the same merge, SetConfig.

    Each step raises ApiError, or DocumentError where no acceptable document comes out.
    """

    def __init__(self, dependencies: ApplyDependencies, api: BackrestApi) -> None:
        self._dependencies = dependencies
        self._api = api
        self._planner = Planner()
        self._twice = StableTwice()
        self._busy_timer = BusyTimer(dependencies.reporter, dependencies.settings.applying.wait)
        self._stable_period = StablePeriod(dependencies.settings.applying.settle)
        self._had: set[str] = set()
        self._foreign_checks = 0
        self._verifying: _Verification | None = None
        self._desired: DesiredState | None = None
        self._is_pending = False
        self._is_resending = False
        self._written_at = 0.0
        self._newest_operation = 0
        self._is_verified = False

    @property
    def has_foreign_edit(self) -> bool:
        """Whether the file holds an edit that Backrest has not read, seen twice."""
        return self._foreign_checks > 1

    @property
    def is_settled(self) -> bool:
        """Whether Backrest had, and scheduled, what was desired when it was last asked."""
        return self._desired is not None and not self._is_pending and self._verifying is None

    def reset(self) -> None:
        """Start over with the next step: Backrest may be another process than before."""
        self._desired = None
        self._verifying = None
        self._is_verified = False
        self._is_resending = False
        self._foreign_checks = 0
        self._twice.forget()

    def step(self, desired: DesiredState, changed_at: float) -> float:
        """Do what can be done now; return the seconds until there may be more to do."""
        now = self._dependencies.clocks.monotonic()
        if self._verifying is not None:
            return self._verify(self._verifying)
        if (left := self._stable_period.left(changed_at, now, changed_at)) > 0:
            self._twice.forget()
            return left
        if desired is not self._desired:
            self._is_pending = self._is_resending or self._differs(desired)
            self._desired = desired
        if not self._is_pending:
            self._finish()
            return NOTHING_TO_DO
        check = check_by_api(self._api, self._dependencies.clocks.wall())
        if check.state is not IdleState.IDLE:
            self._busy_timer.busy(check.because, now)
        if not self._twice.agrees(check, now):
            return APART if check.state is IdleState.IDLE else _BUSY_SECONDS
        return self._send(desired)

    def _differs(self, desired: DesiredState) -> bool:
        """Return whether Backrest's document has to change; if not, see that it is scheduled."""
        proposal = self._propose(desired)
        if proposal.after is not proposal.before:
            return True
        self._report_drift(self._dependencies.recorder.confirm(proposal))
        if not self._is_verified:
            # A process may have died between a save and the check whether it had an effect.
            self._verifying = _Verification(self._scheduled(proposal.before), 0, is_second=False)
        return False

    def _scheduled(self, document: Document) -> frozenset[str]:
        return scheduled_plans(document, self._dependencies.settings.policy.plan_id_prefix)

    def _propose(self, desired: DesiredState) -> Proposal:
        # Read before the question: the answer says nothing about a later write of ours.
        self._written_at = self._dependencies.memory.state.written_at
        served = self._api.get_config()
        with naming(self._dependencies.settings.config):
            proposal = self._planner.propose(served, desired, served=True)
        self._remember(proposal.before)
        return proposal

    def _finish(self) -> None:
        """Note that Backrest has what is desired, also what we wrote into the file before."""
        self._is_pending = self._is_resending = False
        self._foreign_checks = 0
        self._busy_timer.over()
        self._stable_period.done()
        self._twice.forget()
        with self._dependencies.memory.turn() as state:
            if state.written_at == self._written_at:
                self._dependencies.memory.change(written_at=LOADED)

    def _send(self, desired: DesiredState) -> float:
        for _ in range(_STALE_TRIES):
            proposal = self._propose(desired)
            if proposal.after is proposal.before and not self._is_resending:
                self._finish()
                return NOTHING_TO_DO
            if self._is_foreign(proposal.before):
                return self._report_foreign_edit()
            self._check_kept(proposal)
            # Backrest fills its queue anew after it answered: what is older is of the old one.
            self._newest_operation = max(
                (operation.id for operation in self._api.operations()), default=0
            )
            try:
                saved, drift = self._set(proposal)
            except ApiError as error:
                if error.kind is not ApiTrouble.STALE:
                    raise
            else:
                for plan_id in sorted(proposal.placement.ended - desired.settled):
                    log_event(_log, logging.INFO, "plan.moved", plan=plan_id)
                return self._after_save(proposal, saved, len(drift))
        raise ApiError(
            ApiTrouble.STALE,
            f"Backrest's configuration was saved by someone else during each of {_STALE_TRIES} "
            "attempts",
            "it is tried again",
        )

    def _set(self, proposal: Proposal) -> tuple[Document, tuple[Drift, ...]]:
        """Send the document; return it as Backrest has it then, and what that put back."""
        with self._dependencies.recorder.writing(proposal, to_file=False) as write:
            answer = self._api.set_config(proposal.after.text.encode())
            drift = write.confirm()
        self._report_drift(drift)
        return parse_document(answer), drift

    def _report_drift(self, drift: tuple[Drift, ...]) -> None:
        for item in drift:
            self._dependencies.reporter.note("drift", plan=item.plan, key=item.key)

    def _after_save(self, proposal: Proposal, saved: Document, drift: int) -> float:
        is_second = self._is_resending
        self._verifying = _Verification(
            self._scheduled(saved), self._newest_operation, is_second=is_second
        )
        self._finish()
        changes = proposal.changes
        facts = {"added": len(changes.added), "updated": len(changes.edits)}
        if not is_second:
            self._dependencies.reporter.forget()
            self._dependencies.reporter.report(
                "applied", logging.INFO, way="api", **facts, drift=drift
            )
        return _POLL_SECONDS

    def _verify(self, verification: "_Verification") -> float:
        """Check that Backrest has scheduled the plans; send once more if not.

        Backrest may lose its queue where two saves come right after each other.
        """
        operations = self._api.operations()
        queued = pending_plans(found for found in operations if found.id > verification.newest)
        missing = verification.plans - queued - running_plans(operations)
        if not missing:
            self._verifying = None
            self._is_verified = True
            return 0.0
        polls = verification.polls + 1
        if polls < _POLLS:
            self._verifying = replace(verification, polls=polls)
            return _POLL_SECONDS
        self._verifying = None
        self._is_pending = self._is_resending = True
        if verification.is_second:
            names = ", ".join(sorted(missing)[:_SHOWN])
            raise ApiError(ApiTrouble.OTHER, f"Backrest does not schedule {names}", _UNSCHEDULED)
        return 0.0

    def _is_foreign(self, served: Document) -> bool:
        """Return whether the file was edited by hand, so that a save by Backrest undoes that."""
        file = _read_file(self._dependencies.settings.config)
        if file is None:
            return False
        self._remember(file)
        return differs(file, served, self._dependencies.settings.policy.plan_id_prefix)

    def _report_foreign_edit(self) -> float:
        """Report it if it is seen twice: Backrest may be in the middle of a save of its own."""
        self._twice.forget()
        self._foreign_checks += 1
        if not self.has_foreign_edit:
            return APART
        hint = (
            "restart Backrest, so that it reads its file; a save in its interface undoes the edit"
        )
        self._dependencies.reporter.report("foreign-edit", logging.WARNING, hint=hint)
        return _FOREIGN_SECONDS

    def _remember(self, document: Document) -> None:
        self._had.update(name for name in _KEPT if has_field(document, name))

    def _check_kept(self, proposal: Proposal) -> None:
        """Raise ApiError for a document that would lose its authentication or its identity."""
        # Decode the very text that is to be sent, whatever else is known of it.
        after = parse_document(proposal.after.text.encode())
        for name in _KEPT:
            was, is_now = has_field(proposal.before, name), has_field(after, name)
            if is_now != was or (name in self._had and not is_now):
                message = f"Backrest serves no `{name}` any more, although it had one"
                raise ApiError(ApiTrouble.OTHER, message, _HINT)


@dataclass(frozen=True, slots=True)
class _Verification:
    """The plans that Backrest should have scheduled, and how often we polled.

    `newest` is the highest id of an operation before the save. `is_second`: the document
    was sent again because the first save did not schedule them.
    """

    plans: frozenset[str]
    newest: int
    is_second: bool
    polls: int = 0


def _read_file(config: Path) -> Document | None:
    """Read the document's file; None without one. Raises SidecarError."""
    try:
        return parse_document(Store(config).read().content)
    except StoreError:
        if config.parent.is_dir() and not config.is_symlink() and not config.exists():
            return None
        raise


def scheduled_plans(document: Document, prefix: str) -> frozenset[str]:
    """Return the plans of ours that Backrest should have in its queue."""
    return frozenset(
        plan_id
        for plan_id, plan in document.plans.items()
        if plan_id.startswith(prefix) and _is_scheduled(plan.get("schedule"))
    )


def _is_scheduled(schedule: object) -> bool:
    return isinstance(schedule, dict) and is_active(schedule)


class ApiProbe:
    """Asks whether the API answers, and remembers that for a few seconds; thread-safe.

    `api` is used by nobody else and has a short timeout; None: there is none, ever.
    """

    def __init__(self, api: BackrestApi | None, clocks: Clocks) -> None:
        self._api = api
        self._clocks = clocks
        self._lock = threading.Lock()
        self._is_answering = False
        self._asked: float | None = None
        self._logged: str | None = None

    @property
    def is_login_refused(self) -> bool:
        """Whether the last answer was that our login is not accepted."""
        return self._logged == ApiTrouble.REFUSED_LOGIN

    def answers(self) -> bool:
        """Return whether the API answers with our login; may take as long as its timeout."""
        if self._api is None:
            return False
        with self._lock:
            now = self._clocks.monotonic()
            if self._asked is None or now - self._asked >= _FRESH_SECONDS:
                self._is_answering = self._ask(self._api)
                # The time after the call: an answer that took long is fresh all the same.
                self._asked = self._clocks.monotonic()
            return self._is_answering

    def note_failure(self) -> None:
        """Note that a call just failed, so that `answers` is false for a few seconds."""
        with self._lock:
            self._is_answering, self._asked = False, self._clocks.monotonic()

    def _ask(self, api: BackrestApi) -> bool:
        try:
            api.get_config()
        except ApiError as error:
            self._log_change(error.kind, error.message, error.hint)
            return False
        self._log_change("", "")
        return True

    def _log_change(self, kind: str, reason: str, hint: str = "") -> None:
        """Log the kind of trouble, empty for none, if it is another than before."""
        if kind == self._logged:
            return
        if kind == ApiTrouble.REFUSED_LOGIN:
            log_event(_log, logging.WARNING, "apply.refused-login", reason=reason, hint=hint)
        elif kind:
            log_event(_log, logging.WARNING, "apply.api-closed", kind=kind, reason=reason)
        elif self._logged is not None:
            log_event(_log, logging.INFO, "apply.api-open")
        self._logged = kind
