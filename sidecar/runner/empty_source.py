"""Plans whose paths have become empty: told, not thinned out, and restored where that is wanted.

What it means that a plan's paths are empty, and what is to be done about it. Pure.

Looking at the paths of plans, and bringing back what was lost.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sidecar.backrest.reading import RunPlan
from sidecar.docker.lifecycle import ContainersError
from sidecar.engines.base import Engine, FailureClass, Snapshot
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.runner.journal import Device, Ended, Journal, JournalError, RunCause, RunOutcome
from sidecar.runner.restore.choose import RestoreError, RestoreRequest
from sidecar.runner.restore.places import ExistingTarget, read_target
from sidecar.runner.restore.restore import RestoreControl, Restorer
from sidecar.runner.restore.users import users_at_work


@dataclass(frozen=True, slots=True)
class PathState:
    """A path of a plan as it is now.

    `is_empty` None: it exists, but cannot be looked into. `device` is that of the path, or of
    the nearest folder above it that exists.
    """

    path: str
    exists: bool
    is_empty: bool | None
    device: int


@dataclass(frozen=True, slots=True)
class EmptySourceFacts:
    """All that counts.

    `recorded` is what was known of the paths when they last held something. `latest_files`:
    how many files the newest snapshot holds that holds any; 0: none does; None: nobody asked.
    `users` are the names of containers at work that use a path, `trouble` is why these cannot
    be known. `is_wanted`: an empty plan shall be restored; `may_stop`: what runs may be
    stopped for that; `is_on_purpose`: this plan may be empty.
    """

    seen: Sequence[PathState]
    recorded: Mapping[str, Device] = field(default_factory=dict)
    latest_files: int | None = None
    users: Sequence[str] = ()
    trouble: str = ""
    is_wanted: bool = False
    may_stop: bool = False
    is_on_purpose: bool = False


class EmptySourceAction(StrEnum):
    """What is to be done."""

    NORMAL = "normal"
    """Go on as always."""
    RESTORE = "restore"
    """Restore the newest snapshot that holds something, instead of a backup of nothing."""
    ALARM = "alarm"
    """Tell people; restore nothing, forget nothing."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, and why, in words; a normal state may need none."""

    verdict: EmptySourceAction
    reason: str = ""


_NORMAL = Decision(EmptySourceAction.NORMAL)


def is_bare(seen: Sequence[PathState]) -> bool:
    """Tell whether there are paths, and none of them holds anything as far as can be seen."""
    return bool(seen) and all(not one.exists or one.is_empty is True for one in seen)


def held_something(recorded: Mapping[str, Device], seen: Sequence[PathState]) -> bool:
    """Tell whether it is recorded of one of the paths that it held something."""
    return any(one.path in recorded and recorded[one.path].non_empty for one in seen)


def decide(now: EmptySourceFacts) -> Decision:
    """Decide what is to be done about a plan."""
    if now.is_on_purpose or not is_bare(now.seen):
        return _NORMAL
    if now.latest_files == 0:
        return Decision(
            EmptySourceAction.NORMAL, "no snapshot holds anything that could be restored"
        )
    if not (now.latest_files or held_something(now.recorded, now.seen)):
        return _NORMAL
    return _judge_loss(now)


def _judge_loss(now: EmptySourceFacts) -> Decision:
    """Something was there and is gone: decide whether it can be brought back."""
    away = [said for one in now.seen if (said := _tell_absence(one, now.recorded))]
    if away:
        return Decision(EmptySourceAction.ALARM, f"{'; '.join(away)}: is a disk not mounted?")
    lost = f"{_render_paths(now.seen)} held data at an earlier backup"
    if not now.is_wanted:
        return Decision(EmptySourceAction.ALARM, lost)
    if now.trouble:
        return Decision(
            EmptySourceAction.ALARM, f"{lost}, and it cannot be seen who uses that: {now.trouble}"
        )
    if now.users and not now.may_stop:
        return Decision(
            EmptySourceAction.ALARM, f"{lost}, and {', '.join(now.users)} runs and uses that"
        )
    if now.latest_files is None:
        return Decision(EmptySourceAction.ALARM, f"{lost}, and the snapshots cannot be listed")
    return Decision(EmptySourceAction.RESTORE, lost)


def _tell_absence(seen: PathState, recorded: Mapping[str, Device]) -> str:
    """Tell why a path may just not be there now; nothing if it is there, and is empty."""
    known = recorded.get(seen.path)
    if seen.exists:
        is_elsewhere = known is not None and known.non_empty and known.device != seen.device
        return f"{seen.path} is empty, and not on the disk of the last backup" * is_elsewhere
    if known is None or known.device != seen.device:
        return f"{seen.path} does not exist, nor the disk on which it was"
    return ""


def _render_paths(seen: Sequence[PathState]) -> str:
    shown = ", ".join(one.path for one in seen[:3])
    more = f" and {len(seen) - 3} more" if len(seen) > 3 else ""
    verb = "is" if len(seen) == 1 else "are"
    return f"{shown}{more} {verb} empty, but"


def remembered(
    seen: Sequence[PathState], recorded: Mapping[str, Device], *, is_on_purpose: bool = False
) -> dict[str, Device]:
    """Return what is to be recorded after a backup.

    Of a path that is empty now all stays as it was when it held something: a disk that is not
    mounted must not become the one that is expected. `is_on_purpose`: that is forgotten.
    """
    found: dict[str, Device] = {}
    for one in seen:
        known = None if is_on_purpose else recorded.get(one.path)
        if one.exists and one.is_empty is False:
            found[one.path] = Device(one.device, non_empty=True)
        elif known is not None:
            found[one.path] = known
        elif one.exists and one.is_empty:
            found[one.path] = Device(one.device, non_empty=False)
    return found


_log = logging.getLogger(__name__)

# Of very many snapshots that hold nothing the older ones are not worth the wait.
_MOST_SNAPSHOTS = 100


@dataclass(frozen=True, slots=True)
class EmptySourceOptions:
    """What the operator wants: which plans are restored when empty, and which may be empty.

    `everything`: all plans are restored; `on_purpose` names those whose emptiness means nothing.
    """

    everything: bool = False
    plans: frozenset[str] = field(default_factory=frozenset)
    on_purpose: frozenset[str] = field(default_factory=frozenset)
    may_stop: bool = False

    def wants(self, plan: str) -> bool:
        """Tell whether a plan is restored when it is empty."""
        return (self.everything or plan in self.plans) and plan not in self.on_purpose

    @property
    def is_active(self) -> bool:
        """Whether any plan is."""
        return self.everything or bool(self.plans)


class EngineSource(Protocol):
    """What gives the engine of a plan's repository, and the name of the instance."""

    def engine(self, plan: RunPlan) -> Engine:
        """Return the engine; raises EngineError or UsageError."""
        ...

    @property
    def instance(self) -> str:
        """The instance's name in the document."""
        ...


class Emptiness:
    """Looks after plans that have become empty. Safe for threads as far as its parts are.

    `containers` None: nobody can use the paths. `now` gives unix seconds.
    """

    def __init__(
        self,
        journal: Journal,
        engines: EngineSource,
        containers: RestoreControl | None,
        choice: EmptySourceOptions,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._engines = engines
        self._containers = containers
        self._choice = choice
        self._now = now

    def remember(self, plan: RunPlan) -> None:
        """Record where a plan's paths lie; for the end of each backup that made a snapshot."""
        try:
            recorded = self._journal.devices(plan.id)
        except JournalError as error:
            log_event(_log, logging.ERROR, "devices.unknown", plan=plan.id, reason=str(error))
            return
        on_purpose = plan.id in self._choice.on_purpose
        found = remembered(look_all(plan.paths), recorded, is_on_purpose=on_purpose)
        if found != recorded:
            self._journal.set_devices(plan.id, found)

    def reason_not_to_forget(self, plan: RunPlan) -> str:
        """Tell why no snapshot of a plan may be forgotten now; empty: nothing is against it."""
        try:
            decision, _ = self._decide(plan, is_wanted=False)
        except SidecarError as error:
            return f"all paths are empty, and what they held cannot be seen: {error}"
        if decision.verdict is EmptySourceAction.NORMAL:
            return ""
        log_event(_log, logging.WARNING, "plan.emptied", plan=plan.id, reason=decision.reason)
        hint = "if that is meant, name the plan by --empty-on-purpose"
        return f"{decision.reason}; {hint}"

    def refill(
        self, plan: RunPlan, trigger: RunCause = RunCause.SCHEDULE
    ) -> tuple[Decision, Ended | None]:
        """Restore a plan if it has become empty, and if that is wanted and safe.

        Gives what was decided, and how that ended if something was to be done: failed where it
        could not be, or must not be. Then a backup would be one of nothing.
        """
        if not self._choice.wants(plan.id):
            return Decision(EmptySourceAction.NORMAL), None
        try:
            decision, snapshot = self._decide(plan, is_wanted=True)
            if decision.verdict is EmptySourceAction.RESTORE and snapshot is not None:
                fields = {"plan": plan.id, "snapshot": snapshot.id, "reason": decision.reason}
                log_event(_log, logging.WARNING, "plan.refill", **fields)
                return decision, self._restore(plan, snapshot, trigger)
            failure = FailureClass.SOURCE_MISSING
        except SidecarError as error:
            failure = getattr(error, "failure", FailureClass.UNKNOWN)
            decision = Decision(EmptySourceAction.ALARM, str(error))
        if decision.verdict is not EmptySourceAction.ALARM:
            return decision, None
        log_event(_log, logging.ERROR, "plan.emptied", plan=plan.id, reason=decision.reason)
        at = self._now()
        return decision, Ended(RunOutcome.FAILED, at, failure=failure, reason=decision.reason)

    def _decide(self, plan: RunPlan, *, is_wanted: bool) -> tuple[Decision, Snapshot | None]:
        seen = look_all(plan.paths)
        if not is_bare(seen) or plan.id in self._choice.on_purpose:
            return Decision(EmptySourceAction.NORMAL), None
        recorded = self._journal.devices(plan.id)
        files, snapshot = None, None
        if is_wanted or not held_something(recorded, seen):
            files, snapshot = self._newest_with_files(plan)
        users, trouble = self._users(plan) if is_wanted else ((), "")
        situation = EmptySourceFacts(
            seen, recorded, files, users, trouble, is_wanted, self._choice.may_stop
        )
        return decide(situation), snapshot

    def _newest_with_files(self, plan: RunPlan) -> tuple[int, Snapshot | None]:
        engine = self._engines.engine(plan)
        found = engine.snapshots(plan, self._engines.instance)
        for snapshot in found[: -_MOST_SNAPSHOTS - 1 : -1]:
            if files := _files_of(engine, snapshot, plan.paths):
                return files, snapshot
        return 0, None

    def _users(self, plan: RunPlan) -> tuple[tuple[str, ...], str]:
        if self._containers is None:
            return (), ""
        try:
            return tuple(one.name for one in users_at_work(self._containers, plan.paths)), ""
        except ContainersError as error:
            return (), error.message

    def _restore(self, plan: RunPlan, snapshot: Snapshot, trigger: RunCause) -> Ended:
        held = {os.path.normpath(path) for path in snapshot.paths}
        paths = tuple(path for path in plan.paths if os.path.normpath(path) in held)
        if not paths:
            raise RestoreError(f"the snapshot {snapshot.id[:8]} is of other paths")
        wish = RestoreRequest(
            plan, self._engines.instance, snapshot.id, paths=paths, stop=self._choice.may_stop
        )
        engine = self._engines.engine(plan)
        restorer = Restorer(engine, self._journal, self._containers, now=self._now)
        return restorer.run(restorer.prepare(wish), trigger=trigger)


def look_all(paths: Iterable[str]) -> tuple[PathState, ...]:
    """Look at each path."""
    return tuple(look(path) for path in paths)


def look(path: str) -> PathState:
    """Look at a path; what cannot be looked at is not empty."""
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


def _files_of(engine: Engine, snapshot: Snapshot, paths: Iterable[str]) -> int:
    """Count the files of a snapshot, or tell by 1 that there are some."""
    if snapshot.files_processed is not None:
        return snapshot.files_processed
    held = {os.path.normpath(path) for path in snapshot.paths}
    wanted = [path for path in paths if os.path.normpath(path) in held]
    return int(
        any(entry.kind != "dir" for path in wanted for entry in engine.entries(snapshot, path))
    )


__all__ = [
    "Decision",
    "Emptiness",
    "EmptySourceAction",
    "EmptySourceFacts",
    "EmptySourceOptions",
    "EngineSource",
    "PathState",
    "decide",
    "look",
    "remembered",
]
