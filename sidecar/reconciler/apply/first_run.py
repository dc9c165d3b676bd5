"""Run a plan for the first time where Backrest would put that off again and again.

Backrest counts a pause (`every 2d`) from the last run, and from its own start where there was
none: on a host that starts it anew each day such a plan would never run. So once its pause has
passed since the plan was first seen, Backrest is asked to run it. Once, whatever comes of it:
that it is asked is remembered before the call, so that nothing runs twice if we die meanwhile.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sidecar.backrest.api import ApiError, ApiTrouble, BackrestApi
from sidecar.backrest.document import Document, parse_document
from sidecar.backrest.operations import Operation, OperationEnd, Status, is_busy, pending_plans
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.planner.propose import DesiredState, Planner
from sidecar.reconciler.apply.context import LastPass, StepResult
from sidecar.reconciler.apply.idle import MARGIN
from sidecar.reconciler.state import FirstRun, Memory
from sidecar.schedule.parse import period_of

_LOOK_SECONDS = 60.0
_BUSY_SECONDS = 15.0
# Backrest answers the call when the run ends: it only starts the run.
_CALL_SECONDS = 5.0
# What was asked for and has not begun after this time was lost, with Backrest or with us.
_BEGIN_SECONDS = 600.0
_HOUR, _DAY = 3600.0, 86400.0

_log = logging.getLogger(__name__)


class FirstRuns:
    """Has Backrest run, once, each plan of ours whose pause is over and that has never run.

    `api` is None where there is none: then nothing is done. `last_pass` tells what is wanted:
    a plan whose change waits is not run as it was.
    """

    def __init__(
        self,
        memory: Memory,
        api: BackrestApi | None,
        prefix: str,
        last_pass: LastPass,
        clocks: Clocks | None = None,
    ) -> None:
        self._memory = memory
        self._api = api
        self._prefix = prefix
        self._last_pass = last_pass
        self._clocks = clocks or Clocks()
        self._planner = Planner()
        self._next = 0.0
        self._served: Document | None = None

    def step(self) -> StepResult:
        """Do what can be done now.

        Raises nothing: an API that does not answer is reported by the applier.
        """
        now = self._clocks.monotonic()
        if now < self._next:
            return StepResult(self._next - now)
        good = self._last_pass.good
        if self._api is None or good is None:
            return StepResult(_LOOK_SECONDS)
        try:
            wait = self._step(self._api, good.desired)
        except SidecarError:
            wait = _LOOK_SECONDS
        self._next = self._clocks.monotonic() + wait
        return StepResult(wait)

    def _step(self, api: BackrestApi, desired: DesiredState) -> float:
        now = self._clocks.wall()
        served = self._read(api.get_config())
        periods = pauses_of(served.plans, self._prefix)
        with self._memory.turn() as state:
            known = _seen(state.first_runs, served, periods, now)
            self._memory.change(first_runs=known)
        looked_at = {
            plan_id: known[plan_id]
            for plan_id, period in periods.items()
            if not known[plan_id].is_over
            and (known[plan_id].asked_at or now - known[plan_id].seen_at >= period)
        }
        if not looked_at:
            return _LOOK_SECONDS
        operations = api.operations()
        begun = begun_plans(operations)
        over = looked_at.keys() & begun
        queued = pending_plans(found for found in operations if found.start <= now + MARGIN)
        lost = {
            plan_id
            for plan_id, first in looked_at.items()
            if first.asked_at and plan_id not in begun and plan_id not in queued
            if now - first.asked_at >= _BEGIN_SECONDS
        }
        self._end(over | lost)
        for plan_id in sorted(lost):
            _report_failure(plan_id, "it has not begun since Backrest was asked for it")
        waiting = [
            plan_id
            for plan_id, first in sorted(looked_at.items(), key=lambda item: item[1].seen_at)
            if not first.asked_at and plan_id not in begun
        ]
        if not waiting:
            return _LOOK_SECONDS
        if is_busy(operations, now, MARGIN):
            return _BUSY_SECONDS
        current = self._current(served, desired)
        plan_id = next((plan_id for plan_id in waiting if plan_id in current), "")
        return self._ask(api, plan_id, now) if plan_id else _LOOK_SECONDS

    def _read(self, content: bytes) -> Document:
        """Decode what Backrest serves, unless it is the same as the last time."""
        if self._served is None or self._served.content != content:
            self._served = parse_document(content)
        return self._served

    def _current(self, served: Document, desired: DesiredState) -> frozenset[str]:
        """Return the plans that are wanted, and that Backrest has as they are wanted."""
        proposal = self._planner.propose(served.content, desired, served=True)
        changes = proposal.changes
        changing = {*changes.updated, *changes.removed, *(plan.id for plan in changes.added)}
        return proposal.rendered.claimed - changing

    def _ask(self, api: BackrestApi, plan_id: str, now: float) -> float:
        self._change(plan_id, asked_at=now)
        if not self._memory.is_saved:
            # After our next start nobody would know of it, and it might run twice.
            self._change(plan_id, asked_at=0.0)
            return _LOOK_SECONDS
        log_event(_log, logging.INFO, "plan.first-run", plan=plan_id)
        try:
            api.backup(plan_id, _CALL_SECONDS)
        except ApiError as error:
            # Unreachable is the answer too while the run goes on: its log tells what came of it.
            if error.kind is not ApiTrouble.UNREACHABLE:
                self._end({plan_id})
                _report_failure(plan_id, error.message)
        return _BUSY_SECONDS

    def _end(self, plans: Iterable[str]) -> None:
        for plan_id in sorted(plans):
            self._change(plan_id, is_over=True)

    def _change(self, plan_id: str, **fields: Any) -> None:
        with self._memory.turn() as state:
            known = state.first_runs.get(plan_id, FirstRun(self._clocks.wall()))
            first = replace(known, **fields)
            self._memory.change(first_runs={**state.first_runs, plan_id: first})


def pauses_of(plans: Mapping[str, Mapping[str, Any]], prefix: str) -> dict[str, float]:
    """Return the plans of ours with a pause, and its seconds."""
    periods = {
        plan_id: period_of(plan.get("schedule"))
        for plan_id, plan in plans.items()
        if plan_id.startswith(prefix)
    }
    return {plan_id: period for plan_id, period in periods.items() if period}


def begun_plans(operations: Iterable[Operation]) -> frozenset[str]:
    """Return the plans of which a run has begun, however it ended.

    One that was cancelled may have been so in the queue, where Backrest cancels what waits.
    """
    return frozenset(found.plan_id for found in operations if found.is_backup and _has_begun(found))


def _has_begun(operation: Operation) -> bool:
    if operation.status is Status.PENDING:
        return not operation.is_waiting
    return operation.status.ending is not OperationEnd.CANCELLED


def _seen(
    known: Mapping[str, FirstRun], served: Document, periods: Iterable[str], now: float
) -> dict[str, FirstRun]:
    """Return since when there are these plans, without those that are gone.

    No plan was seen in the future: the clock may have been set back.
    """
    kept = {
        plan_id: replace(first, seen_at=min(first.seen_at, now))
        for plan_id, first in known.items()
        if plan_id in served.plans
    }
    return {plan_id: FirstRun(now) for plan_id in periods} | kept


def _report_failure(plan_id: str, reason: str) -> None:
    log_event(
        _log,
        logging.WARNING,
        "plan.first-run-failed",
        plan=plan_id,
        reason=reason,
        hint=f"run it by hand: `backrest-sidecar backup {plan_id}`",
    )
