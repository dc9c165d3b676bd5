"""Backrest's log of operations: its JSON as typed values, and what follows from it.

Pure, and the only place that knows how Backrest spells an operation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Required

from pydantic import Field, TypeAdapter

# pydantic wants this one below Python 3.12.
from typing_extensions import TypedDict

# Backrest starts what waits in its queue when it is due, or tries it again within the hour.
# What is overdue for a day while nothing else runs is in no queue any more.
_FORGOTTEN_AFTER = 86400.0
# Before each line that a hook wrote; others begin with `[script] ` and `[tasklog] `.
_WROTE = "[output] "


class OperationEnd(StrEnum):
    """How an operation ended, in words."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Status(StrEnum):
    """Where an operation stands, as Backrest spells it."""

    UNKNOWN = "STATUS_UNKNOWN"
    PENDING = "STATUS_PENDING"
    IN_PROGRESS = "STATUS_INPROGRESS"
    SUCCESS = "STATUS_SUCCESS"
    WARNING = "STATUS_WARNING"
    ERROR = "STATUS_ERROR"
    SYSTEM_CANCELLED = "STATUS_SYSTEM_CANCELLED"
    USER_CANCELLED = "STATUS_USER_CANCELLED"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self in _ENDINGS

    @property
    def ending(self) -> OperationEnd | None:
        """How it ended; None if it has not."""
        return _ENDINGS.get(self)


_ENDINGS = {
    Status.SUCCESS: OperationEnd.SUCCESS,
    Status.WARNING: OperationEnd.WARNING,
    Status.ERROR: OperationEnd.FAILED,
    Status.SYSTEM_CANCELLED: OperationEnd.CANCELLED,
    Status.USER_CANCELLED: OperationEnd.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the log; times are unix seconds by Backrest's clock, 0 for none.

    `id` rises with each new entry, `modno` with each change of any entry. `kind` is
    "backup", "prune", "runHook" and so on, "" for one that we do not know. `start` of
    a pending one is when it is due. `is_foreign`: another instance's, copied here.
    `message` may hold credentials. `parent` is the run that a hook belongs to, 0 for none;
    `log` names the text that it wrote, by which Backrest gives it out. `files` and `size`, in
    bytes, are what a backup has read, None where nothing tells.
    """

    id: int
    modno: int
    plan_id: str
    repo_id: str
    status: Status
    kind: str
    start: float
    end: float = 0.0
    is_foreign: bool = False
    is_dry_run: bool = False
    snapshot_id: str = ""
    message: str = ""
    parent: int = 0
    log: str = ""
    files: int | None = None
    size: int | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it stands in Backrest's queue.

        One that is pending and has an end does not: its run failed and was to be tried
        again, but the queue was emptied meanwhile because the configuration was saved.
        """
        return self.status is Status.PENDING and not self.end

    @property
    def is_backup(self) -> bool:
        """Whether it is a run of a plan of this instance that saves something."""
        return self.kind == "backup" and not self.is_foreign and not self.is_dry_run


_Int64 = Annotated[str, Field(pattern=r"^-?[0-9]{1,19}$")]


class _RunHook(TypedDict, total=False):
    parentOp: str
    name: str
    outputLogref: str


class _Summary(TypedDict, total=False):
    # Left out where they are 0.
    totalFilesProcessed: _Int64
    totalBytesProcessed: _Int64


class _Progress(TypedDict, total=False):
    summary: _Summary


class _Backup(TypedDict, total=False):
    dryRun: bool
    lastStatus: _Progress


class _Operation(TypedDict, total=False):
    id: Required[_Int64]
    modno: _Int64
    planId: str
    repoId: str
    originalInstanceKeyid: str
    snapshotId: str
    # A newer Backrest may know more of them; a bare number is one unknown to itself.
    status: str | int
    unixTimeStartMs: _Int64
    unixTimeEndMs: _Int64
    displayMessage: str
    logref: str
    operationBackup: _Backup
    operationIndexSnapshot: dict[str, Any]
    operationForget: dict[str, Any]
    operationPrune: dict[str, Any]
    operationRestore: dict[str, Any]
    operationStats: dict[str, Any]
    operationRunHook: _RunHook
    operationCheck: dict[str, Any]
    operationRunCommand: dict[str, Any]


class _Answer(TypedDict, total=False):
    operations: list[_Operation]


_ANSWER = TypeAdapter(_Answer)
_KNOWN = frozenset(Status)


def parse_operations(data: bytes) -> list[Operation]:
    """Parse the answer of GetOperations, in the order of their ids.

    Raises ValueError for anything else; its text holds values and is not to be shown.
    """
    answer = _ANSWER.validate_json(data, strict=True)
    return [_operation(entry) for entry in answer.get("operations", ())]


def is_busy(operations: Iterable[Operation], now: float, margin: float = 120.0) -> bool:
    """Return whether something of this instance runs, or is due within `margin` seconds.

    Every kind counts: what is killed while it prunes or checks leaves a locked repository,
    and a hook or an index belongs to a run that goes on. What waits for another try counts too.
    Between two parts of one run nothing may be in progress: ask twice.
    """
    return any(_is_active(operation, now, margin) for operation in operations)


def failed_hooks(operations: Iterable[Operation], run: Operation) -> list[Operation]:
    """Return the hooks of a run that failed, in order.

    Where Backrest does not tell to which run a hook belongs, it is one of the same plan
    that began while the run went on.
    """

    def belongs(hook: Operation) -> bool:
        if hook.parent:
            return hook.parent == run.id
        return hook.id > run.id and hook.plan_id == run.plan_id and hook.start <= run.end

    hooks = (found for found in operations if found.kind == "runHook" and not found.is_foreign)
    return [hook for hook in hooks if hook.status is Status.ERROR and belongs(hook)]


def output_of_hook(log: str) -> str:
    """Return what a hook wrote, out of the log of its operation.

    Backrest puts the hook's script in front of it, which may hold secrets, and adds notes of
    its own.
    """
    lines = log.split("\n")
    return "\n".join(line.removeprefix(_WROTE) for line in lines if line.startswith(_WROTE))


def pending_plans(operations: Iterable[Operation]) -> frozenset[str]:
    """Return the ids of the plans that have a backup in Backrest's queue."""
    return frozenset(
        operation.plan_id
        for operation in operations
        if operation.is_backup and operation.is_waiting
    )


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run of a plan that ended; times in unix seconds by Backrest's clock.

    `files` and `size`, in bytes, are what it has read; None: nothing tells.
    """

    start: float
    end: float
    ending: OperationEnd
    files: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class PlanRuns:
    """The runs of one plan by Backrest's log: the last, the last good one, and the next.

    All times are unix seconds.
    """

    last: PastRun | None = None
    good: PastRun | None = None
    running_since: float | None = None
    queued: float | None = None


def runs_by_plan(operations: Iterable[Operation]) -> dict[str, PlanRuns]:
    """Return the runs of each plan of this instance that the log knows, by the plan's id."""
    by_plan: dict[str, list[Operation]] = {}
    for operation in operations:
        if operation.is_backup:
            by_plan.setdefault(operation.plan_id, []).append(operation)
    return {plan_id: _runs_of(listed) for plan_id, listed in by_plan.items()}


def _runs_of(backups: Sequence[Operation]) -> PlanRuns:
    ended = [
        PastRun(operation.start, operation.end, ending, operation.files, operation.size)
        for operation in sorted(backups, key=lambda operation: operation.id)
        if (ending := operation.status.ending) is not None
    ]
    good = [run for run in ended if run.ending in {OperationEnd.SUCCESS, OperationEnd.WARNING}]
    running = [o.start for o in backups if o.status is Status.IN_PROGRESS]
    queued = [operation.start for operation in backups if operation.is_waiting]
    return PlanRuns(
        last=ended[-1] if ended else None,
        good=good[-1] if good else None,
        running_since=min(running, default=None),
        queued=min(queued, default=None),
    )


def _is_active(operation: Operation, now: float, margin: float) -> bool:
    if operation.is_foreign or operation.status.has_ended:
        return False
    if operation.is_waiting:
        return now - _FORGOTTEN_AFTER <= operation.start <= now + margin
    return operation.status is Status.IN_PROGRESS or not operation.end


def _operation(entry: _Operation) -> Operation:
    status, hook = entry.get("status"), entry.get("operationRunHook", {})
    parent = hook.get("parentOp", "0")
    backup = entry.get("operationBackup", {})
    summary = backup.get("lastStatus", {}).get("summary")
    return Operation(
        id=int(entry["id"]),
        modno=int(entry.get("modno", "0")),
        plan_id=entry.get("planId", ""),
        repo_id=entry.get("repoId", ""),
        status=Status(status) if status in _KNOWN else Status.UNKNOWN,
        kind=_kind(entry),
        start=int(entry.get("unixTimeStartMs", "0")) / 1000,
        end=int(entry.get("unixTimeEndMs", "0")) / 1000,
        is_foreign=bool(entry.get("originalInstanceKeyid")),
        is_dry_run=backup.get("dryRun") is True,
        snapshot_id=entry.get("snapshotId", ""),
        message=entry.get("displayMessage", ""),
        parent=int(parent) if parent.isdecimal() else 0,
        log=hook.get("outputLogref", "") or entry.get("logref", ""),
        files=None if summary is None else int(summary.get("totalFilesProcessed", "0")),
        size=None if summary is None else int(summary.get("totalBytesProcessed", "0")),
    )


def _kind(entry: _Operation) -> str:
    """Return what an operation does, by the name of its field: operationRunHook → runHook."""
    found = next((key for key in entry if key.startswith("operation")), "")
    name = found.removeprefix("operation")
    return name[:1].lower() + name[1:]
