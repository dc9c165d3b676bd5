"""Whether Backrest is idle: by its API, else by the processes in its container."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sidecar.backrest.api import ApiError, BackrestApi
from sidecar.backrest.document import Document, parse_document
from sidecar.backrest.operations import Operation, Status, is_busy
from sidecar.docker.client import DockerClient
from sidecar.docker.markers import read_markers
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import InventoryError, SidecarError
from sidecar.lib.zones import local_zone
from sidecar.reconciler.apply.container import (
    BackrestContainer,
    find_backrest,
    find_busy,
    processes_of,
)
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory
from sidecar.reconciler.store.replace import Store
from sidecar.schedule.fires import backrest_fires
from sidecar.schedule.parse import schedule_of

MARGIN = 120.0
"""Seconds before a backup is due in which Backrest is not restarted."""
APART = 5.0
"""Seconds between the two checks that have to agree."""

_SHOWN = 5
# A run leaves stopped what it finds stopped: so nothing is started right before one.
_PLAN_MARGIN = 30.0
_POLICIES = ("prunePolicy", "checkPolicy", "forgetPolicy")


class IdleState(StrEnum):
    """Whether Backrest is idle."""

    IDLE = "idle"
    BUSY = "busy"
    UNKNOWN = "unknown"
    """Nobody can tell, so it counts as busy."""


@dataclass(frozen=True, slots=True)
class IdleCheck:
    """What one check found; `because` names the programs or plans, or why nobody can tell."""

    state: IdleState
    because: str = ""


IDLE = IdleCheck(IdleState.IDLE)


class StableTwice:
    """Requires two checks: idle only if both say so, APART seconds apart or more.

    Between two parts of a run there may be moments in which no process runs.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    def agrees(self, check: IdleCheck, now: float) -> bool:
        """Take a check made at monotonic `now`; return whether it and an earlier one are idle."""
        if check.state is not IdleState.IDLE:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= APART

    def forget(self) -> None:
        """Require two checks again."""
        self._since = None


def check_by_api(api: BackrestApi, now: float) -> IdleCheck:
    """Check the log of operations at unix time `now`; raises ApiError."""
    operations = api.operations()
    return (
        IdleCheck(IdleState.BUSY, _running(operations))
        if is_busy(operations, now, MARGIN)
        else IDLE
    )


def check_container(
    connection: DockerClient, backrest: BackrestContainer, markers: Path, due: "DueSoon", now: float
) -> IdleCheck:
    """Check a running container, the markers of its hooks, and what is due soon."""
    check = check_processes(connection, backrest)
    if check.state is not IdleState.IDLE:
        return check
    try:
        waiting = [marker.name for marker in read_markers(markers)]
        if waiting:
            return IdleCheck(IdleState.BUSY, f"stopped by a backup: {_some(waiting)}")
        return IdleCheck(IdleState.BUSY, "a plan is due") if due(backrest, now) else IDLE
    except SidecarError as error:
        return IdleCheck(IdleState.UNKNOWN, error.message)


def check_processes(connection: DockerClient, backrest: BackrestContainer) -> IdleCheck:
    """Check only what runs in the container."""
    processes = processes_of(connection, backrest)
    if processes is None:
        return IdleCheck(IdleState.UNKNOWN, f"the processes in {backrest.name} cannot be listed")
    work = find_busy(processes, backrest)
    return IdleCheck(IdleState.BUSY, _some(work)) if work else IDLE


def check_backrest(
    api: BackrestApi | None,
    connection: DockerClient,
    backrest: BackrestContainer,
    markers: Path,
    due: "DueSoon",
    now: float,
) -> IdleCheck:
    """Check by the API if that answers, else by the container."""
    if api is not None:
        with suppress(ApiError):
            return check_by_api(api, now)
    return check_container(connection, backrest, markers, due, now)


def running_plans(operations: Collection[Operation]) -> frozenset[str]:
    """Return the plans of this instance of which anything is in progress."""
    return frozenset(
        operation.plan_id
        for operation in operations
        if operation.status is Status.IN_PROGRESS and not operation.is_foreign
    )


class PlanActivity:
    """Checks whether certain plans run: by the API, else by whether anything runs at all.

    A container that is gone or stopped runs nothing. Where it was not named by the operator,
    and is not remembered either, Backrest may be somewhere else. Raises nothing.
    """

    def __init__(
        self,
        settings: ReconcilerSettings,
        memory: Memory,
        connection: DockerClient,
        api: BackrestApi | None,
        clocks: Clocks | None = None,
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._connection = connection
        self._api = api
        self._clocks = clocks or Clocks()

    def check(self, plans: frozenset[str]) -> IdleCheck:
        """Check whether one of these plans runs, or is about to."""
        if self._api is not None:
            with suppress(ApiError):
                return self._by_operations(self._api.operations(), plans)
        name = self._settings.policy.runner_container
        try:
            backrest = find_backrest(self._connection, name)
        except InventoryError as error:
            return IdleCheck(IdleState.UNKNOWN, error.message)
        if backrest is None and not self._is_known(name):
            return IdleCheck(IdleState.UNKNOWN, f"there is no container {name}, and never was")
        if backrest is None or not backrest.is_running:
            return IDLE
        return check_processes(self._connection, backrest)

    def _is_known(self, name: str) -> bool:
        seen = self._memory.state.runner
        return self._settings.runner_named or (seen is not None and seen.name == name)

    def _by_operations(self, operations: Collection[Operation], plans: frozenset[str]) -> IdleCheck:
        theirs = [operation for operation in operations if operation.plan_id in plans]
        is_near = is_busy(theirs, self._clocks.wall(), _PLAN_MARGIN)
        return IdleCheck(IdleState.BUSY, _some(sorted(plans))) if is_near else IDLE


class DueSoon:
    """Reads the document at `config` for what is due; what is no schedule is not due.

    The time zone is the container's TZ; without one both UTC and this machine's count.
    """

    def __init__(self, config: Path) -> None:
        self._config = config

    def __call__(self, backrest: BackrestContainer, now: float) -> bool:
        """Return whether anything is due within MARGIN of unix time `now`; raises SidecarError."""
        document = parse_document(Store(self._config).read().content)
        return is_due(document, [datetime.fromtimestamp(now, zone) for zone in zones_of(backrest)])


def is_due(document: Document, moments: Sequence[datetime]) -> bool:
    """Return whether a plan, or a repository's prune, check or forget, fires soon.

    Soon is within MARGIN of one of the moments.
    """
    # A hundred plans often share a schedule.
    schedules = {repr(sorted(raw.items())): raw for raw in _schedules(document)}.values()
    known = [schedule for raw in schedules if (schedule := schedule_of(raw)) is not None]
    margin = timedelta(seconds=MARGIN)
    return any(
        backrest_fires(schedule, moment, moment + margin, 1)
        for schedule in known
        for moment in moments
    )


def zones_of(backrest: BackrestContainer) -> list[tzinfo]:
    """Return the zones in which Backrest may read its schedules."""
    name = backrest.time_zone.removeprefix(":")
    if name:
        # Not found is a KeyError; a folder or a name like ../x one of the others.
        with suppress(OSError, ValueError, KeyError):
            return [ZoneInfo(name)]
    return [UTC, local_zone()[0]]


def _schedules(document: Document) -> Iterator[dict[str, Any]]:
    repos = document.root.get("repos")
    listed = [repo for repo in repos if isinstance(repo, dict)] if isinstance(repos, list) else []
    policies = [repo.get(name) for repo in listed for name in _POLICIES]
    for holder in (*document.plans.values(), *policies):
        schedule = holder.get("schedule") if isinstance(holder, dict) else None
        if isinstance(schedule, dict):
            yield schedule


def _running(operations: Collection[Operation]) -> str:
    running = running_plans(operations)
    return f"in progress: {_some(sorted(running))}" if running else "a backup is due or in progress"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
