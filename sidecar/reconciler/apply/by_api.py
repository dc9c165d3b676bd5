"""Applying through Backrest's API: Backrest itself writes the document.

Whether Backrest's API answers us: then Backrest is the only writer of its document.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sidecar.backrest.api import ApiError, ApiTrouble, BackrestApi
from sidecar.backrest.compare import differs, has_field
from sidecar.backrest.document import Document, parse_document
from sidecar.backrest.operations import pending_plans
from sidecar.backrest.rules import is_active
from sidecar.lib.errors import StoreError
from sidecar.lib.log import log_event
from sidecar.planner.propose import Proposal
from sidecar.reconciler.apply.context import LOADED, ApplyDependencies, BusyTimer, StablePeriod
from sidecar.reconciler.apply.idle import APART, IdleState, StableTwice, look_by_api, running_plans
from sidecar.reconciler.desired_state import DesiredState, Planner
from sidecar.reconciler.state import State
from sidecar.reconciler.store.store import Store

_log = logging.getLogger(__name__)

NOTHING_TO_DO = 60.0
_BUSY_SECONDS = 15.0
_FOREIGN_SECONDS = 30.0
_STALE_TRIES = 5
_POLLS = 5
_POLL_SECONDS = 1.0
_SHOWN = 5
_KEPT = ("auth", "sync")
_UNSCHEDULED = "it is sent again later; restart Backrest if that does not help"
_HINT = "nothing was sent, because that would drop it for good; restart Backrest to read its file"


class ApiStrategy:
    """Brings a wish to Backrest by GetConfig, the same merge, and SetConfig.

    Every step raises ApiError, or DocumentError where no acceptable document comes out.
    """

    def __init__(self, dependencies: ApplyDependencies, api: BackrestApi) -> None:
        self._dependencies = dependencies
        self._api = api
        self._proposer = Planner()
        self._twice = StableTwice()
        self._patience = BusyTimer(dependencies.reporter, dependencies.settings.applying.wait)
        self._settling = StablePeriod(dependencies.settings.applying.settle)
        self._had: set[str] = set()
        self._foreign_looks = 0
        self._verifying: _Verification | None = None
        self._desired: DesiredState | None = None
        self._is_pending = False
        self._is_resending = False
        self._written_at = 0.0
        self._newest = 0
        self._is_verified = False

    @property
    def has_foreign_edit(self) -> bool:
        """Whether the file holds an edit that Backrest has not read, seen twice."""
        return self._foreign_looks > 1

    @property
    def is_settled(self) -> bool:
        """Whether Backrest has, and runs, what was wanted when it was last asked."""
        return self._desired is not None and not self._is_pending and self._verifying is None

    def reset(self) -> None:
        """Begin anew with the next step: Backrest may be another than before."""
        self._desired = None
        self._verifying = None
        self._is_verified = False
        self._is_resending = False
        self._foreign_looks = 0
        self._twice.forget()

    def step(self, desired: DesiredState, changed_at: float) -> float:
        """Do what can be done now; seconds until there may be more to do."""
        now = self._dependencies.clocks.steady()
        if self._verifying is not None:
            return self._verify(self._verifying)
        if (left := self._settling.left(changed_at, now, changed_at)) > 0:
            self._twice.forget()
            return left
        if desired is not self._desired:
            self._is_pending = self._is_resending or self._is_wanting(desired)
            self._desired = desired
        if not self._is_pending:
            self._finish()
            return NOTHING_TO_DO
        look = look_by_api(self._api, self._dependencies.clocks.wall())
        if look.rest is not IdleState.IDLE:
            self._patience.busy(look.because, now)
        if not self._twice.agrees(look, now):
            return APART if look.rest is IdleState.IDLE else _BUSY_SECONDS
        return self._send(desired)

    def _is_wanting(self, desired: DesiredState) -> bool:
        proposal = self._propose(desired)
        if proposal.after is not proposal.before:
            return True
        desired.ledger.after_pass(proposal)
        if not self._is_verified:
            # Somebody may have died between a save and the look whether it had an effect.
            self._verifying = _Verification(self._scheduled(proposal.before), 0, is_second=False)
        return False

    def _scheduled(self, document: Document) -> frozenset[str]:
        return scheduled_plans(document, self._dependencies.settings.policy.plan_id_prefix)

    def _propose(self, desired: DesiredState) -> Proposal:
        # Before the question: a write of ours that comes after it is not answered by it.
        self._written_at = self._dependencies.memory.state.written_at
        served = self._api.get_config()
        proposal = desired.propose(served, served=True, proposer=self._proposer)
        self._remember(proposal.before)
        return proposal

    def _finish(self) -> None:
        """Nothing is left to do: the runner has what we want, also what we wrote before."""
        self._is_pending = self._is_resending = False
        self._foreign_looks = 0
        self._patience.over()
        self._settling.done()
        self._twice.forget()
        if self._dependencies.memory.state.written_at != LOADED:
            self._dependencies.memory.update(self._loaded)

    def _loaded(self, state: State) -> State:
        is_known = state.written_at == self._written_at
        return replace(state, written_at=LOADED) if is_known else state

    def _send(self, desired: DesiredState) -> float:
        for _ in range(_STALE_TRIES):
            proposal = self._propose(desired)
            if proposal.after is proposal.before and not self._is_resending:
                self._finish()
                return NOTHING_TO_DO
            if self._is_foreign(proposal.before):
                return self._wait_for_reading()
            self._check_kept(proposal)
            # The queue is made anew after the answer: what is pending until then is the old one.
            self._newest = max((operation.id for operation in self._api.operations()), default=0)
            try:
                saved = self._set(desired, proposal)
            except ApiError as error:
                if error.kind is not ApiTrouble.STALE:
                    raise
            else:
                return self._sent(desired, proposal, saved)
        raise ApiError(
            ApiTrouble.STALE,
            f"Backrest's configuration was saved by someone else during each of {_STALE_TRIES} "
            "attempts",
            "it is tried again",
        )

    def _set(self, desired: DesiredState, proposal: Proposal) -> Document:
        """Send the document; give it as Backrest has it then."""
        with desired.ledger.writing(proposal):
            answer = self._api.set_config(proposal.after.text.encode())
        return parse_document(answer)

    def _sent(self, desired: DesiredState, proposal: Proposal, saved: Document) -> float:
        drift = desired.ledger.after_pass(proposal)
        is_second = self._is_resending
        self._verifying = _Verification(self._scheduled(saved), self._newest, is_second=is_second)
        self._finish()
        changes = proposal.changes
        facts = {"added": len(changes.added), "updated": len(changes.edits)}
        if not is_second:
            self._dependencies.reporter.forget()
            self._dependencies.reporter.tell(
                "applied", logging.INFO, way="api", **facts, drift=len(drift)
            )
        return _POLL_SECONDS

    def _verify(self, check: "_Verification") -> float:
        """See whether Backrest has scheduled the plans; two saves in a row may undo that."""
        operations = self._api.operations()
        queued = pending_plans(found for found in operations if found.id > check.newest)
        missing = check.plans - queued - running_plans(operations)
        check.polls += 1
        if not missing:
            self._verifying = None
            self._is_verified = True
            return 0.0
        if check.polls < _POLLS:
            return _POLL_SECONDS
        self._verifying = None
        if check.is_second:
            plans = sorted(missing)
            self._is_pending = self._is_resending = True
            names = ", ".join(plans[:_SHOWN])
            raise ApiError(ApiTrouble.OTHER, f"Backrest does not schedule {names}", _UNSCHEDULED)
        self._is_pending = self._is_resending = True
        return 0.0

    def _is_foreign(self, served: Document) -> bool:
        """Whether the file was edited by hand, so that a save by Backrest would undo that."""
        file = read_file(self._dependencies.settings.config)
        if file is None:
            return False
        self._remember(file)
        return differs(file, served, self._dependencies.settings.policy.plan_id_prefix)

    def _wait_for_reading(self) -> float:
        """Look again: Backrest may be in the middle of a save of its own."""
        self._twice.forget()
        self._foreign_looks += 1
        if not self.has_foreign_edit:
            return APART
        hint = (
            "restart Backrest, so that it reads its file; a save in its interface undoes the edit"
        )
        self._dependencies.reporter.tell("foreign-edit", logging.WARNING, hint=hint)
        return _FOREIGN_SECONDS

    def _remember(self, document: Document) -> None:
        self._had.update(name for name in _KEPT if has_field(document, name))

    def _check_kept(self, proposal: Proposal) -> None:
        """Never send a document without authentication or identity that had them."""
        # Of the very text that is to be sent, whatever else is known of it.
        after = parse_document(proposal.after.text.encode())
        for name in _KEPT:
            was, is_now = has_field(proposal.before, name), has_field(after, name)
            if is_now != was or (name in self._had and not is_now):
                message = f"Backrest serves no `{name}` any more, although it had one"
                raise ApiError(ApiTrouble.OTHER, message, _HINT)


class _Verification:
    """The plans that Backrest should have scheduled, and how often we looked.

    `newest` is the highest id of an operation before the save.
    """

    def __init__(self, plans: frozenset[str], newest: int, *, is_second: bool) -> None:
        self.plans = plans
        self.newest = newest
        self.is_second = is_second
        self.polls = 0


def read_file(config: Path) -> Document | None:
    """Read the document's file; None without one. Raises SidecarError."""
    try:
        return parse_document(Store(config).read().content)
    except StoreError:
        if config.parent.is_dir() and not config.is_symlink() and not config.exists():
            return None
        raise


def scheduled_plans(document: Document, prefix: str) -> frozenset[str]:
    """Name the plans of ours that Backrest should have in its queue."""
    return frozenset(
        plan_id
        for plan_id, plan in document.plans.items()
        if plan_id.startswith(prefix) and _is_scheduled(plan.get("schedule"))
    )


def _is_scheduled(schedule: object) -> bool:
    return isinstance(schedule, dict) and is_active(schedule)


_FRESH_SECONDS = 3.0


class ApiProbe:
    """Knocks at the API, and remembers the answer for a few seconds; thread-safe.

    `api` is used by this alone and has a short timeout; None: there is none, ever.
    """

    def __init__(self, api: BackrestApi | None, monotonic: Callable[[], float]) -> None:
        self._api = api
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._is_open = False
        self._asked: float | None = None
        self._told: str | None = None

    def is_open(self) -> bool:
        """Tell whether the API answers with our credentials; may take its timeout."""
        if self._api is None:
            return False
        with self._lock:
            now = self._monotonic()
            if self._asked is None or now - self._asked >= _FRESH_SECONDS:
                self._is_open = self._knock(self._api)
                # An answer that took long is fresh all the same.
                self._asked = self._monotonic()
            return self._is_open

    def shut(self) -> None:
        """Take note that a call just failed."""
        with self._lock:
            self._is_open, self._asked = False, self._monotonic()

    def _knock(self, api: BackrestApi) -> bool:
        try:
            api.get_config()
        except ApiError as error:
            self._tell(error.kind, error.message)
            return False
        self._tell("", "")
        return True

    def _tell(self, kind: str, reason: str) -> None:
        if kind == self._told:
            return
        if kind:
            log_event(_log, logging.WARNING, "apply.api-closed", kind=kind, reason=reason)
        elif self._told is not None:
            log_event(_log, logging.INFO, "apply.api-open")
        self._told = kind
