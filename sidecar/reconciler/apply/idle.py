"""Whether the runner is at work: what its API says, else what runs in its container."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
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
from sidecar.docker.client import Connection
from sidecar.lib.errors import InventoryError, SidecarError
from sidecar.reconciler.apply.container import Runner, find_busy, find_runner, processes_of
from sidecar.reconciler.resume.markers import read_markers
from sidecar.reconciler.store.store import Store
from sidecar.reconciler.zones import local_zone
from sidecar.schedule.fires import backrest_fires
from sidecar.schedule.parse import schedule_of

MARGIN = 120.0
"""Seconds before a backup is due in which nothing is begun that would hurt it."""
APART = 5.0
"""Seconds between the two looks that have to agree."""

_SHOWN = 5
# Whatever a run finds stopped it leaves so until it ends: nothing is started right before.
_PLAN_MARGIN = 30.0
_POLICIES = ("prunePolicy", "checkPolicy", "forgetPolicy")


class IdleState(StrEnum):
    """Whether the runner rests."""

    IDLE = "idle"
    BUSY = "busy"
    UNKNOWN = "unknown"
    """It cannot be told, so it counts as busy."""


@dataclass(frozen=True, slots=True)
class IdleCheck:
    """One look at the runner: `because` names programs, plans or the obstacle."""

    rest: IdleState
    because: str = ""


IDLE = IdleCheck(IdleState.IDLE)
Due = Callable[[Runner, float], bool]
"""Whether something of the document is due in that runner within MARGIN of a unix time."""


class StableTwice:
    """Lets one look not be enough: idle only when seen so twice, `APART` seconds apart.

    Between two parts of a run there may be moments in which nothing shows.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    def agrees(self, look: IdleCheck, now: float) -> bool:
        """Take a look made at monotonic `now`; True if the one before was idle as well."""
        if look.rest is not IdleState.IDLE:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= APART

    def forget(self) -> None:
        """Begin anew."""
        self._since = None


def look_by_api(api: BackrestApi, now: float) -> IdleCheck:
    """Look by the log of operations at unix time `now`; raises ApiError."""
    operations = api.operations()
    return (
        IdleCheck(IdleState.BUSY, _running(operations))
        if is_busy(operations, now, MARGIN)
        else IDLE
    )


def look_at_container(
    connection: Connection, runner: Runner, markers: Path, due: Due, now: float
) -> IdleCheck:
    """Look at a running container, the markers of its hooks, and what is due soon."""
    look = look_at_processes(connection, runner)
    if look.rest is not IdleState.IDLE:
        return look
    try:
        waiting = [marker.name for marker in read_markers(markers)]
        if waiting:
            return IdleCheck(IdleState.BUSY, f"stopped by a backup: {_some(waiting)}")
        return IdleCheck(IdleState.BUSY, "a plan is due") if due(runner, now) else IDLE
    except SidecarError as error:
        return IdleCheck(IdleState.UNKNOWN, error.message)


def look_at_processes(connection: Connection, runner: Runner) -> IdleCheck:
    """Look only at what runs in the container."""
    processes = processes_of(connection, runner)
    if processes is None:
        return IdleCheck(IdleState.UNKNOWN, f"the processes in {runner.name} cannot be listed")
    work = find_busy(processes, runner)
    return IdleCheck(IdleState.BUSY, _some(work)) if work else IDLE


def look_by_either(
    api: BackrestApi | None,
    connection: Connection,
    runner: Runner,
    markers: Path,
    due: Due,
    now: float,
) -> IdleCheck:
    """Look by the API if that answers, else at the container."""
    if api is not None:
        with suppress(ApiError):
            return look_by_api(api, now)
    return look_at_container(connection, runner, markers, due, now)


def running_plans(operations: Collection[Operation]) -> frozenset[str]:
    """The plans of this instance of which anything is in progress."""
    return frozenset(
        operation.plan_id
        for operation in operations
        if operation.status is Status.IN_PROGRESS and not operation.is_foreign
    )


class PlanActivity:
    """Tells whether certain plans run: by the API, else by what runs in the container at all.

    A container that is gone or stopped runs nothing. `is_known` tells whether there ever
    was one of that name: without, the runner may be somewhere else. Raises nothing.
    """

    def __init__(
        self,
        api: BackrestApi | None,
        connection: Connection,
        name: str,
        is_known: Callable[[], bool],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._connection = connection
        self._name = name
        self._is_known = is_known
        self._wall = wall

    def __call__(self, plans: frozenset[str]) -> IdleCheck:
        """Look whether one of these plans runs, or is about to."""
        if self._api is not None:
            with suppress(ApiError):
                return self._by_operations(self._api.operations(), plans)
        try:
            runner = find_runner(self._connection, self._name)
        except InventoryError as error:
            return IdleCheck(IdleState.UNKNOWN, error.message)
        if runner is None and not self._is_known():
            return IdleCheck(
                IdleState.UNKNOWN, f"there is no container {self._name}, and never was"
            )
        if runner is None or not runner.is_running:
            return IDLE
        return look_at_processes(self._connection, runner)

    def _by_operations(self, operations: Collection[Operation], plans: frozenset[str]) -> IdleCheck:
        theirs = [operation for operation in operations if operation.plan_id in plans]
        is_near = is_busy(theirs, self._wall(), _PLAN_MARGIN)
        return IdleCheck(IdleState.BUSY, _some(sorted(plans))) if is_near else IDLE


class DueSoon:
    """Reads the document at `config` for what is due; what cannot be read is not due.

    The time zone is the container's TZ; without one both UTC and this machine's count.
    """

    def __init__(self, config: Path) -> None:
        self._config = config

    def __call__(self, runner: Runner, now: float) -> bool:
        """Tell whether anything is due within MARGIN; raises SidecarError."""
        document = parse_document(Store(self._config).read().content)
        return is_due(document, [datetime.fromtimestamp(now, zone) for zone in zones_of(runner)])


def is_due(document: Document, moments: Sequence[datetime]) -> bool:
    """Tell whether a plan, or the upkeep of a repository, fires within MARGIN of a moment."""
    # A hundred plans often share a schedule.
    schedules = {repr(sorted(raw.items())): raw for raw in _schedules(document)}.values()
    known = [schedule for raw in schedules if (schedule := schedule_of(raw)) is not None]
    margin = timedelta(seconds=MARGIN)
    return any(
        backrest_fires(schedule, moment, moment + margin, 1)
        for schedule in known
        for moment in moments
    )


def zones_of(runner: Runner) -> list[tzinfo]:
    """The zones in which the runner may read its schedules."""
    name = runner.time_zone.removeprefix(":")
    if name:
        # Not found is a KeyError; a folder or a name like ../x one of the others.
        with suppress(OSError, ValueError, KeyError):
            return [ZoneInfo(name)]
    return [UTC, local_zone()[0]]


def _schedules(document: Document) -> Iterator[dict[str, Any]]:
    repos = document.root.get("repos")
    listed = [repo for repo in repos if isinstance(repo, dict)] if isinstance(repos, list) else []
    upkeep = [repo.get(name) for repo in listed for name in _POLICIES]
    for holder in (*document.plans.values(), *upkeep):
        schedule = holder.get("schedule") if isinstance(holder, dict) else None
        if isinstance(schedule, dict):
            yield schedule


def _running(operations: Collection[Operation]) -> str:
    running = running_plans(operations)
    return f"in progress: {_some(sorted(running))}" if running else "a backup is due or in progress"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
