"""Notice plans whose paths have become empty, and restore them before a backup of nothing.

A disk that is not mounted, a volume that was removed or a new machine leave empty paths. After
each backup the devices of the paths are recorded, so that later a lost path is told from a
missing disk. That nothing is forgotten for a backup of nothing is another matter: see
`job/retention_guard.py`.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sidecar.backrest.reading import Repo, RunPlan
from sidecar.docker.failures import DockerError
from sidecar.engines.base import Engine, Engines, FailureClass, Snapshot
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import backup_job
from sidecar.runner.journal import Device, Ended, Journal, JournalError, RunCause, RunOutcome
from sidecar.runner.latest import FileLook, Latest, find_latest
from sidecar.runner.restore.choose import RestoreError, RestoreRequest
from sidecar.runner.restore.places import ExistingTarget, read_target
from sidecar.runner.restore.restore import RestoreControl, Restorer
from sidecar.runner.restore.users import users_at_work
from sidecar.runner.settings import EmptySourceOptions

_MOST_SHOWN = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PathState:
    """A path of a plan as it is now.

    `is_empty` is None if it exists, but cannot be read. `device` is the device number of the
    path, or of the nearest folder above it that exists.
    """

    path: str
    exists: bool
    is_empty: bool | None
    device: int


@dataclass(frozen=True, slots=True)
class EmptySourceFacts:
    """All that the decision about a plan depends on.

    Attributes:
        seen: its paths as they are now.
        recorded: the devices of the paths when they last held something, or when nothing was
            there after a backup that had saved files.
        is_saved: whether a snapshot holds a file.
        users: names of running containers that use a path.
        trouble: why the users cannot be known; empty if they are.
        may_stop: whether the users may be stopped for that.
    """

    seen: Sequence[PathState]
    recorded: Mapping[str, Device] = field(default_factory=dict)
    is_saved: bool = False
    users: Sequence[str] = ()
    trouble: str = ""
    may_stop: bool = False


class EmptySourceAction(StrEnum):
    """What to do about a plan."""

    NORMAL = "normal"
    """Go on as always."""
    RESTORE = "restore"
    """Restore the newest snapshot that holds something, instead of a backup of nothing."""
    ALARM = "alarm"
    """Report it; restore nothing, and back up nothing."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why, in words; the reason may be empty if all is normal."""

    action: EmptySourceAction
    reason: str = ""


_NORMAL = Decision(EmptySourceAction.NORMAL)


def is_empty_source(seen: Sequence[PathState]) -> bool:
    """Return whether there are paths, and all of them are missing or empty."""
    return bool(seen) and all(not one.exists or one.is_empty is True for one in seen)


def decide(facts: EmptySourceFacts) -> Decision:
    """Decide what to do about a plan. Pure."""
    if not is_empty_source(facts.seen):
        return _NORMAL
    if not facts.is_saved:
        return Decision(
            EmptySourceAction.NORMAL, "no snapshot holds anything that could be restored"
        )
    if all(
        one.path in facts.recorded and not facts.recorded[one.path].non_empty for one in facts.seen
    ):
        # They were as empty right after the last backup that saved files.
        return _NORMAL
    return _decide_loss(facts)


def _decide_loss(facts: EmptySourceFacts) -> Decision:
    """Decide whether what was there and is gone can be restored."""
    absent = [why for one in facts.seen if (why := _absence_reason(one, facts.recorded))]
    if absent:
        return Decision(EmptySourceAction.ALARM, f"{'; '.join(absent)}: is a disk not mounted?")
    lost = f"{_render_paths(facts.seen)} held data at an earlier backup"
    if facts.trouble:
        return Decision(
            EmptySourceAction.ALARM,
            f"{lost}, and it cannot be seen who uses that: {facts.trouble}; if nobody can, say "
            "--docker-sock none",
        )
    if facts.users and not facts.may_stop:
        return Decision(
            EmptySourceAction.ALARM, f"{lost}, and {', '.join(facts.users)} runs and uses that"
        )
    return Decision(EmptySourceAction.RESTORE, lost)


def _absence_reason(seen: PathState, recorded: Mapping[str, Device]) -> str:
    """Return why a path may be absent only for now; empty if it is there, and is empty."""
    known = recorded.get(seen.path)
    if seen.exists:
        is_elsewhere = known is not None and known.non_empty and known.device != seen.device
        return f"{seen.path} is empty, and not on the disk of the last backup" * is_elsewhere
    if known is None or known.device != seen.device:
        return f"{seen.path} does not exist, nor the disk on which it was"
    return ""


def _render_paths(seen: Sequence[PathState]) -> str:
    shown = ", ".join(one.path for one in seen[:_MOST_SHOWN])
    more = f" and {len(seen) - _MOST_SHOWN} more" if len(seen) > _MOST_SHOWN else ""
    verb = "is" if len(seen) == 1 else "are"
    return f"{shown}{more} {verb} empty, but"


def devices_to_record(
    seen: Sequence[PathState], recorded: Mapping[str, Device], *, may_be_empty: bool = False
) -> dict[str, Device]:
    """Return the devices to record after a backup, by path.

    A path that is empty now keeps its record of when it held something: a disk that is not
    mounted must not become the one that is expected. With `may_be_empty` that record is
    dropped, and it is recorded that nothing is there.
    """
    found: dict[str, Device] = {}
    for one in seen:
        known = recorded.get(one.path)
        if one.exists and one.is_empty is False:
            found[one.path] = Device(one.device, non_empty=True)
        elif may_be_empty and one.is_empty:
            found[one.path] = Device(one.device, non_empty=False)
        elif known is not None and not may_be_empty:
            found[one.path] = known
    return found


class EmptySourceGuard:
    """Restores plans that have become empty, where that is wanted and safe.

    Safe for threads as far as its parts are. `document` is the one that is executed. Without
    `containers` no container can use the
    paths. `now` gives unix seconds.
    """

    def __init__(
        self,
        journal: Journal,
        engines: Engines,
        document: ExecutedDocument,
        containers: RestoreControl | None,
        options: EmptySourceOptions,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._engines = engines
        self._document = document
        self._containers = containers
        self._options = options
        self._now = now

    def remember(self, plan: RunPlan, *, has_saved: bool) -> None:
        """Record the devices of a plan's paths, after each backup that made a snapshot.

        `has_saved`: files were saved. If the paths are all empty by then, as after a dump that
        END hooks remove, they are so between backups.
        """
        try:
            recorded = self._journal.findings.devices(plan.id)
        except JournalError as error:
            log_event(_log, logging.ERROR, "devices.unknown", plan=plan.id, reason=str(error))
            return
        seen = observe_all(plan.paths)
        is_normal = plan.id in self._options.on_purpose or (has_saved and is_empty_source(seen))
        found = devices_to_record(seen, recorded, may_be_empty=is_normal)
        if found != recorded:
            self._journal.findings.set_devices(plan.id, found)

    def refill(
        self, plan: RunPlan, trigger: RunCause = RunCause.SCHEDULE
    ) -> tuple[Decision, Ended | None]:
        """Restore a plan if it has become empty, and if that is wanted and safe.

        Returns the decision, and how the restore ended; None if there was nothing to restore.
        If it could not or must not be restored the end is a failure: a backup would save
        nothing.
        """
        if not self._options.wants(plan.id):
            return Decision(EmptySourceAction.NORMAL), None
        try:
            decision, snapshot = self._decide(plan)
            if decision.action is EmptySourceAction.RESTORE and snapshot is not None:
                fields = {"plan": plan.id, "snapshot": snapshot.id, "reason": decision.reason}
                log_event(_log, logging.WARNING, "plan.refill", **fields)
                return decision, self._restore(plan, snapshot, trigger)
            failure = FailureClass.SOURCE_MISSING
        except SidecarError as error:
            failure = getattr(error, "failure", FailureClass.UNKNOWN)
            decision = Decision(EmptySourceAction.ALARM, str(error))
        if decision.action is not EmptySourceAction.ALARM:
            return decision, None
        log_event(_log, logging.ERROR, "plan.emptied", plan=plan.id, reason=decision.reason)
        at = self._now()
        return decision, Ended(RunOutcome.FAILED, at, failure=failure, reason=decision.reason)

    def _decide(self, plan: RunPlan) -> tuple[Decision, Snapshot | None]:
        seen = observe_all(plan.paths)
        if not is_empty_source(seen) or self._journal.findings.is_empty_accepted(plan.id):
            return _NORMAL, None
        recorded, latest = self._journal.findings.devices(plan.id), self._find_latest(plan)
        users, trouble = self._users(plan)
        is_saved, may_stop = latest.snapshot is not None, self._options.may_stop
        facts = EmptySourceFacts(seen, recorded, is_saved, users, trouble, may_stop)
        return decide(facts), latest.snapshot

    def _find_latest(self, plan: RunPlan) -> Latest:
        engine = self._engine(plan)
        look = FileLook(engine, self._journal.runs, backup_job(plan))
        found = engine.snapshots(plan, self._document.config.instance)
        latest = find_latest(found, look, self._now())
        if latest.snapshot is None and latest.ahead:
            raise RestoreError(f"no other snapshot holds a file: {latest.passed_over}")
        return latest

    def _engine(self, plan: RunPlan) -> Engine:
        return self._engines.make(self._document.config.repo(plan.repo) or Repo(plan.repo))

    def _users(self, plan: RunPlan) -> tuple[tuple[str, ...], str]:
        if self._containers is None:
            return (), ""
        try:
            return tuple(one.name for one in users_at_work(self._containers, plan.paths)), ""
        except DockerError as error:
            return (), error.message

    def _restore(self, plan: RunPlan, snapshot: Snapshot, trigger: RunCause) -> Ended:
        held = {os.path.normpath(path) for path in snapshot.paths}
        paths = tuple(path for path in plan.paths if os.path.normpath(path) in held)
        if not paths:
            raise RestoreError(f"the snapshot {snapshot.short} is of other paths")
        instance, may_stop = self._document.config.instance, self._options.may_stop
        request = RestoreRequest(plan, instance, snapshot.id, paths=paths, stop=may_stop)
        engine = self._engine(plan)
        restorer = Restorer(engine, self._journal, self._containers, now=self._now)
        return restorer.run(restorer.prepare(request), trigger=trigger)


def observe_all(paths: Iterable[str]) -> tuple[PathState, ...]:
    """Return the state of each path."""
    return tuple(observe(path) for path in paths)


def observe(path: str) -> PathState:
    """Return the state of a path; one that cannot be read counts as not empty."""
    existing = Path(path)
    try:
        standing = read_target(path)
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        device = existing.stat().st_dev
        is_empty = standing is ExistingTarget.EMPTY or (
            standing is ExistingTarget.ENTRY and existing.stat().st_size == 0
        )
    except (OSError, ValueError):
        return PathState(path, exists=True, is_empty=None, device=0)
    exists = standing is not ExistingTarget.MISSING
    return PathState(path, exists, is_empty or not exists, device)
