"""Run a plan now, by hand, and report how that ended.

A change of its labels that Backrest has not loaded is applied first: else the run, and the
retention after it, would go by what the labels said before.
"""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches

from sidecar.backrest.api import ApiError, ApiTrouble, BackrestApi
from sidecar.backrest.document import Document, parse_document
from sidecar.backrest.operations import (
    Operation,
    OperationEnd,
    Status,
    failed_hooks,
    output_of_hook,
)
from sidecar.docker.client import DockerClient
from sidecar.docker.models import SERVICE
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.lib.text import hosts_only, quoted
from sidecar.planner.propose import DesiredState, Proposal, propose
from sidecar.planner.workload import Workload
from sidecar.reconciler.apply.by_api import ApiStrategy
from sidecar.reconciler.apply.context import (
    ApplyConnections,
    ApplyDependencies,
    ApplyReporter,
)
from sidecar.reconciler.reconcile import PassOutcome, preview_now
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory
from sidecar.reconciler.store.read import naming
from sidecar.reconciler.waits import changed_plans

_MOST_NAMES = 12
_MESSAGE_LIMIT = 4000
_MOST_HOOKS = 5
_HOOK_LIMIT = 2000

# Backrest answers the call when the run ends, and never if the run leaves the queue. So the
# call only starts the run; its progress is read from the log.
_CALL_SECONDS = 5.0
_POLL_SECONDS = 2.0
# With no time at all the call would not be made.
_LEAST_SECONDS = 0.1
# A call whose connection broke may not have arrived: then no run begins within this time.
_BEGIN_SECONDS = 10.0
# How long Backrest may be unreachable; a restart takes less.
_ABSENT_SECONDS = 180.0
# A run that is queued for later than this is one by schedule, not ours. The clocks of two
# machines may differ by less.
_SOON_SECONDS = 600.0
_DISCARDED = (
    "Backrest took the run out of its queue before it began: its configuration was saved "
    "meanwhile, or it was restarted. Try again."
)


@dataclass(frozen=True, slots=True)
class WaitTimer:
    """Knows the time; `pause` waits for some seconds."""

    clocks: Clocks = field(default_factory=Clocks)
    pause: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class BackupResult:
    """How a run ended; `ending` is None when we stopped waiting before it did.

    `seconds` it took by Backrest's clock. `message` is Backrest's; of addresses it shows
    the server only.
    """

    plan: str
    ending: OperationEnd | None
    message: str = ""
    seconds: float = 0.0

    @property
    def words(self) -> str:
        """One sentence, and Backrest's message."""
        if self.ending is None:
            return f"The run of {self.plan} goes on; its end was not waited for."
        lead = f"The run of {self.plan} ended after {self.seconds:.0f} s: {self.ending}."
        return f"{lead}\n{self.message}" if self.message else lead


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What is to be run by hand, and how long its end is waited for, in seconds; None: always.

    `name` is a plan id, the key of a workload or the name of a service. Without `waits` the
    plan is run as Backrest has it, though a change of its labels is not loaded. `tell` is
    called with sentences about that.
    """

    name: str
    timeout: float | None = None
    waits: bool = True
    tell: Callable[[str], None] = lambda _: None
    timer: WaitTimer = field(default_factory=WaitTimer)


def run_backup(
    settings: ReconcilerSettings, request: BackupRequest, environment: dict[str, str]
) -> BackupResult:
    """Run the plan that is asked for, and wait for its end.

    Where Backrest has not loaded the plan as its labels ask for it, that is applied first.
    Raises UsageError for a name that means none or several, ApiError when Backrest cannot
    be asked, never began, or did not take the change.
    """
    if not settings.access.url:
        raise UsageError(
            "backup asks Backrest to run a plan, and no --backrest-url was given",
            "name its address, for example http://backrest:9898",
        )
    name, timeout, timer = request.name, request.timeout, request.timer
    access = settings.access
    with BackrestApi(access.url, access.user, access.password) as api:
        served = parse_document(api.get_config())
        known, plan_id = served.plans.keys(), name
        is_ours = name.startswith(settings.policy.plan_id_prefix)
        if name in known and not is_ours:
            return BackupWatch(api, plan_id, timeout, timer).run()
        began = timer.clocks.monotonic()
        outcome = _preview(settings, environment, request, is_known=name in known)
        if outcome is not None:
            with naming(settings.config):
                change = _waiting_change(outcome.desired, served)
            wanted = {*known, *change} if request.waits else known
            plan_id = resolve_plan(name, wanted, outcome.proposal)
            if plan_id in change and request.waits:
                request.tell(
                    f"Backrest has not loaded the change of {plan_id} yet: it is applied first."
                )
                _apply(settings, api, outcome.desired, plan_id, request)
            elif plan_id in change:
                request.tell(_runs_old(plan_id, change[plan_id]))
        left = None if timeout is None else max(0.0, timeout - (timer.clocks.monotonic() - began))
        return BackupWatch(api, plan_id, left, timer).run()


def _preview(
    settings: ReconcilerSettings,
    environment: dict[str, str],
    request: BackupRequest,
    *,
    is_known: bool,
) -> PassOutcome | None:
    """Preview a pass; None, and why, where that cannot be done and Backrest has the plan."""
    now = datetime.now().astimezone()
    try:
        return preview_now(settings, now, environment, read_only=not request.waits)
    except SidecarError as error:
        if not is_known:
            raise
        request.tell(
            f"The plan is run as Backrest has it, because what its labels ask for is not "
            f"known: {error.message}."
        )
        return None


def _waiting_change(desired: DesiredState, served: Document) -> Mapping[str, tuple[str, ...]]:
    """Return the plans that Backrest has not loaded as they are wanted, with their keys.

    No keys: Backrest has no such plan.
    """
    changes = propose(served, desired, served=True).changes
    keys = {edit.id: (*edit.settings, *edit.removals) for edit in changes.edits}
    return {plan_id: keys.get(plan_id, ()) for plan_id in changed_plans(changes)}


def _runs_old(plan_id: str, keys: Collection[str]) -> str:
    return (
        f"{plan_id} is run as Backrest has it; a change of {', '.join(sorted(keys))} waits to "
        "be loaded."
    )


def _apply(
    settings: ReconcilerSettings,
    api: BackrestApi,
    desired: DesiredState,
    plan_id: str,
    request: BackupRequest,
) -> None:
    """Have Backrest load the desired state, when it is idle. Raises ApiError if it does not."""
    source, timer, timeout = settings.source, request.timer, request.timeout
    is_from_docker = source.inventory is None and not source.compose
    memory = Memory(settings.state_directory if is_from_docker else None)
    with_haste = replace(settings, applying=replace(settings.applying, enabled=True, settle=0.0))
    connection = DockerClient(source.docker_sock)
    reporter = ApplyReporter()
    dependencies = ApplyDependencies(
        with_haste,
        PassRecorder(memory),
        ApplyConnections(connection, api),
        reporter,
        timer.clocks,
    )
    strategy = ApiStrategy(dependencies, api)
    began = timer.clocks.monotonic()
    try:
        while True:
            wait = strategy.step(desired, began)
            for event in reporter.take():
                if event.result == "waiting":
                    because = event.facts["because"]
                    request.tell(f"The change waits until Backrest is idle: {because}.")
            if strategy.is_settled:
                return
            if strategy.has_foreign_edit:
                raise _not_applied(
                    plan_id, "the document was edited by hand, and a save would undo that edit"
                )
            left = None if timeout is None else began + timeout - timer.clocks.monotonic()
            if left is not None and left <= 0:
                raise _not_applied(plan_id, f"Backrest was not idle within {timeout:.0f} s")
            timer.pause(wait if left is None else min(wait, left))
    finally:
        connection.close()


def _not_applied(plan_id: str, why: str) -> ApiError:
    return ApiError(
        ApiTrouble.OTHER,
        f"the change of {plan_id} was not applied, so nothing was run: {why}",
        "restart Backrest, so that it reads its file, or run the plan as it is with --no-wait",
    )


def resolve_plan(name: str, known: Collection[str], proposal: Proposal) -> str:
    """Return the id of the plan that a plan id, a workload's key or a service's name means.

    `known` are the ids of the plans that Backrest has. Raises UsageError.
    """
    if name in known:
        return name
    if name in proposal.placement.of_runner:
        raise _not_backrests(name)
    items = proposal.rendered.workloads
    found = [item for item in items if item.workload.key == name]
    found = found or [item for item in items if name in _names(item.workload)]
    if not found:
        services = {item.workload.short_base for item in items}
        raise _unknown(name, {*known, *(item.workload.key for item in items)}, services)
    if len(found) > 1:
        shown = ", ".join(f"{item.workload.key} (plan {item.plan_id})" for item in found)
        raise UsageError(f"{quoted(name)} may mean {shown}", "write the id of the plan")
    if found[0].plan_id in proposal.placement.of_runner - {*known}:
        raise _not_backrests(found[0].plan_id)
    if found[0].plan_id not in known:
        raise UsageError(
            f"Backrest has no plan of {found[0].workload.key} yet",
            "`backrest-sidecar status` tells whether it is written and loaded",
        )
    return found[0].plan_id


def _not_backrests(plan_id: str) -> UsageError:
    return UsageError(
        f"the plan {plan_id} stands in the runner's document, which Backrest does not run",
        f"run it by `backrest-runner backup {plan_id}`",
    )


def _names(workload: Workload) -> set[str]:
    """Return other names of a workload: those of its services and of its containers."""
    services = {container.labels.get(SERVICE, "") for container in workload.containers} - {""}
    whole = {f"{workload.project}/{service}" for service in services if workload.project}
    return {workload.short_base, *services, *whole, *workload.keys, *workload.names}


def _unknown(name: str, names: Collection[str], services: Collection[str]) -> UsageError:
    close = get_close_matches(name, sorted({*names, *services}), n=3)
    if close:
        hint = f"did you mean {' or '.join(close)}?"
    else:
        shown = sorted(names)[:_MOST_NAMES]
        rest = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        hint = f"there are {', '.join(shown)}{rest}" if shown else "there is none at all"
    return UsageError(f"there is no plan or workload {quoted(name)}", hint)


class BackupWatch:
    """One run of one plan, from the call that starts it to its end in Backrest's log."""

    def __init__(
        self, api: BackrestApi, plan_id: str, timeout: float | None, timer: WaitTimer
    ) -> None:
        self._api = api
        self._plan_id = plan_id
        self._timeout = timeout
        self._timer = timer
        self._highest = 0
        self._run: Operation | None = None
        self._is_gone = False
        self._is_stuck = False

    def run(self) -> BackupResult:
        """Run the plan and wait. Raises ApiError when it was not started, or Backrest is gone."""
        began = answered = self._timer.clocks.monotonic()
        self._highest = max((operation.id for operation in self._api.operations()), default=0)
        failure = self._start()
        while True:
            try:
                self._poll()
                answered = self._timer.clocks.monotonic()
            except ApiError as error:
                gone_for = self._timer.clocks.monotonic() - answered
                if error.kind is not ApiTrouble.UNREACHABLE or gone_for >= _ABSENT_SECONDS:
                    raise
            now = self._timer.clocks.monotonic()
            if (result := self._result()) is not None:
                return result
            self._check_started(failure, now - began)
            left = _POLL_SECONDS if self._timeout is None else began + self._timeout - now
            if left <= 0:
                return BackupResult(self._plan_id, None)
            self._timer.pause(min(left, _POLL_SECONDS))

    def _start(self) -> ApiError | None:
        """Make the call; return its error, which may be the run's or only the connection's."""
        wait = _CALL_SECONDS if self._timeout is None else min(_CALL_SECONDS, self._timeout)
        try:
            self._api.backup(self._plan_id, max(wait, _LEAST_SECONDS))
        except ApiError as error:
            return error
        return None

    def _poll(self) -> None:
        """Find the run among what is new in the log, and then follow it."""
        soon = self._timer.clocks.wall() + _SOON_SECONDS
        mine = [
            operation
            for operation in self._api.operations(self._run.modno if self._run else 0)
            if operation.id > self._highest
            and operation.is_backup
            and operation.plan_id == self._plan_id
            and not (operation.is_waiting and operation.start > soon)
        ]
        if self._run is None:
            self._run = min(mine, key=lambda operation: operation.start, default=None)
            return
        found = next((operation for operation in mine if operation.id == self._run.id), None)
        self._is_gone = found is None
        self._is_stuck = found == self._run and _is_forgotten(self._run)
        self._run = found or self._run

    def _result(self) -> BackupResult | None:
        if self._run is None:
            return None
        if self._is_gone:
            return BackupResult(self._plan_id, OperationEnd.FAILED, _DISCARDED)
        ending = OperationEnd.FAILED if self._is_stuck else self._run.status.ending
        if ending is None:
            return None
        message = hosts_only(self._run.message.strip())[:_MESSAGE_LIMIT]
        # Also after a success: a hook whose failure is ignored may have left something stopped.
        message = "\n".join([message, *self._hook_words(self._run)]).strip()
        seconds = max(0.0, self._run.end - self._run.start)
        return BackupResult(self._plan_id, ending, message, seconds)

    def _hook_words(self, run: Operation) -> list[str]:
        """Return what the hooks of a run that failed said last, as far as Backrest has it."""
        words: list[str] = []
        with suppress(ApiError):
            for hook in failed_hooks(self._api.operations(), run)[:_MOST_HOOKS]:
                said = ""
                with suppress(ApiError):
                    said = output_of_hook(self._api.log(hook.log) if hook.log else "").strip()
                lead = "A hook failed and said:" if said else "A hook failed and said nothing:"
                last = hosts_only((said or hook.message).strip())[-_HOOK_LIMIT:]
                words.append(f"{lead}\n{last}")
        return words

    def _check_started(self, failure: ApiError | None, seconds: float) -> None:
        """Raise when no run of ours is there, and none will come."""
        if self._run is not None:
            return
        is_certain = failure is not None and failure.kind is not ApiTrouble.UNREACHABLE
        if is_certain or seconds >= _BEGIN_SECONDS:
            raise failure or ApiError(
                ApiTrouble.OTHER,
                f"Backrest has no run of {self._plan_id} in its log",
                "its own log tells more",
            )


def _is_forgotten(operation: Operation) -> bool:
    """Return whether the run failed and waits for a retry that Backrest never makes."""
    return operation.status is Status.PENDING and not operation.is_waiting
