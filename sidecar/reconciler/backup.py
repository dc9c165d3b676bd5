"""Run a plan now, by hand, and report how that ended."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches

from sidecar.backrest.api import ApiError, ApiTrouble, BackrestApi
from sidecar.backrest.document import parse_document
from sidecar.backrest.operations import Operation, OperationEnd, Status
from sidecar.docker.models import SERVICE
from sidecar.lib.errors import UsageError
from sidecar.lib.text import quoted, without_credentials
from sidecar.planner.propose import Proposal
from sidecar.planner.workload import Workload
from sidecar.reconciler.reconcile import preview_now
from sidecar.reconciler.settings import ReconcilerSettings

_MOST_NAMES = 12
_MESSAGE_LIMIT = 4000

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
    """`monotonic` gives seconds that nobody sets, `wall` unix seconds; `pause` waits."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class BackupResult:
    """How a run ended; `ending` is None when we stopped waiting before it did.

    `seconds` it took by Backrest's clock. `message` is Backrest's, without credentials.
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


def run_backup(
    settings: ReconcilerSettings,
    name: str,
    timeout: float | None,
    environment: dict[str, str],
    timer: WaitTimer | None = None,
) -> BackupResult:
    """Run the plan that `name` means, and wait for its end, at most `timeout` seconds.

    Raises UsageError for a name that means none or several, ApiError when Backrest
    cannot be asked or never began.
    """
    if not settings.access.url:
        raise UsageError(
            "backup asks Backrest to run a plan, and no --backrest-url was given",
            "name its address, for example http://backrest:9898",
        )
    timer = timer or WaitTimer()
    access = settings.access
    with BackrestApi(access.url, access.user, access.password) as api:
        known = parse_document(api.get_config()).plans.keys()
        plan_id = name
        if name not in known:
            now = datetime.now().astimezone()
            outcome, _ = preview_now(settings, now, environment)
            plan_id = resolve_plan(name, known, outcome.proposal)
        return BackupWatch(api, plan_id, timeout, timer).run()


def resolve_plan(name: str, known: Collection[str], proposal: Proposal) -> str:
    """Return the id of the plan that a plan id, a workload's key or a service's name means.

    `known` are the ids of the plans that Backrest has. Raises UsageError.
    """
    if name in known:
        return name
    items = proposal.rendered.workloads
    found = [item for item in items if item.workload.key == name]
    found = found or [item for item in items if name in _names(item.workload)]
    if not found:
        services = {item.workload.short_base for item in items}
        raise _unknown(name, {*known, *(item.workload.key for item in items)}, services)
    if len(found) > 1:
        shown = ", ".join(f"{item.workload.key} (plan {item.plan_id})" for item in found)
        raise UsageError(f"{quoted(name)} may mean {shown}", "write the id of the plan")
    if found[0].plan_id not in known:
        raise UsageError(
            f"Backrest has no plan of {found[0].workload.key} yet",
            "`backrest-sidecar status` tells whether it is written and loaded",
        )
    return found[0].plan_id


def _names(workload: Workload) -> set[str]:
    """Return other names of a workload: those of its service and of its containers."""
    services = {container.labels.get(SERVICE, "") for container in workload.containers}
    return {workload.short_base, *services, *workload.names}


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
        began = answered = self._timer.monotonic()
        self._highest = max((operation.id for operation in self._api.operations()), default=0)
        failure = self._start()
        while True:
            try:
                self._poll()
                answered = self._timer.monotonic()
            except ApiError as error:
                gone_for = self._timer.monotonic() - answered
                if error.kind is not ApiTrouble.UNREACHABLE or gone_for >= _ABSENT_SECONDS:
                    raise
            now = self._timer.monotonic()
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
        soon = self._timer.wall() + _SOON_SECONDS
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
        message = without_credentials(self._run.message.strip())[:_MESSAGE_LIMIT]
        seconds = max(0.0, self._run.end - self._run.start)
        return BackupResult(self._plan_id, ending, message, seconds)

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
