"""Looking at the paths of plans, and bringing back what was lost."""

import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sidecar.backrest.reading import RunPlan
from sidecar.docker.engine import ContainersError
from sidecar.engines.base import Engine, FailureClass, Snapshot
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.runner.decide import (
    Decision,
    Seen,
    Situation,
    Verdict,
    decide,
    held_something,
    is_bare,
    remembered,
)
from sidecar.runner.journal import Ended, Journal, JournalError, Outcome, Trigger
from sidecar.runner.restore.choose import Wish
from sidecar.runner.restore.faults import RestoreError
from sidecar.runner.restore.places import Standing, look_at
from sidecar.runner.restore.restore import Asked, Restorer
from sidecar.runner.restore.users import users_at_work

_log = logging.getLogger(__name__)

# Of very many snapshots that hold nothing the older ones are not worth the wait.
_MOST_SNAPSHOTS = 100


@dataclass(frozen=True, slots=True)
class Choice:
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


class Engines(Protocol):
    """What gives the engine of a plan's repository, and the name of the instance."""

    def engine(self, plan: RunPlan) -> Engine:
        """Give the engine; raises EngineError or UsageError."""
        ...

    @property
    def instance(self) -> str:
        """The instance's name in the document."""
        ...


class Emptiness:
    """Looks after plans that have become empty. Safe for threads as far as its parts are.

    `containers` None: nobody can use the paths. `clock` gives unix seconds.
    """

    def __init__(
        self,
        journal: Journal,
        engines: Engines,
        containers: Asked | None,
        choice: Choice,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._engines = engines
        self._containers = containers
        self._choice = choice
        self._clock = clock

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
        if decision.verdict is Verdict.NORMAL:
            return ""
        log_event(_log, logging.WARNING, "plan.emptied", plan=plan.id, reason=decision.reason)
        hint = "if that is meant, name the plan by --empty-on-purpose"
        return f"{decision.reason}; {hint}"

    def refill(
        self, plan: RunPlan, trigger: Trigger = Trigger.SCHEDULE
    ) -> tuple[Decision, Ended | None]:
        """Restore a plan if it has become empty, and if that is wanted and safe.

        Gives what was decided, and how that ended if something was to be done: failed where it
        could not be, or must not be. Then a backup would be one of nothing.
        """
        if not self._choice.wants(plan.id):
            return Decision(Verdict.NORMAL), None
        try:
            decision, snapshot = self._decide(plan, is_wanted=True)
            if decision.verdict is Verdict.RESTORE and snapshot is not None:
                fields = {"plan": plan.id, "snapshot": snapshot.id, "reason": decision.reason}
                log_event(_log, logging.WARNING, "plan.refill", **fields)
                return decision, self._restore(plan, snapshot, trigger)
            failure = FailureClass.SOURCE_MISSING
        except SidecarError as error:
            failure = getattr(error, "failure", FailureClass.UNKNOWN)
            decision = Decision(Verdict.ALARM, str(error))
        if decision.verdict is not Verdict.ALARM:
            return decision, None
        log_event(_log, logging.ERROR, "plan.emptied", plan=plan.id, reason=decision.reason)
        at = self._clock()
        return decision, Ended(Outcome.FAILED, at, failure=failure, reason=decision.reason)

    def _decide(self, plan: RunPlan, *, is_wanted: bool) -> tuple[Decision, Snapshot | None]:
        seen = look_all(plan.paths)
        if not is_bare(seen) or plan.id in self._choice.on_purpose:
            return Decision(Verdict.NORMAL), None
        recorded = self._journal.devices(plan.id)
        files, snapshot = None, None
        if is_wanted or not held_something(recorded, seen):
            files, snapshot = self._newest_with_files(plan)
        users, trouble = self._users(plan) if is_wanted else ((), "")
        situation = Situation(
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

    def _restore(self, plan: RunPlan, snapshot: Snapshot, trigger: Trigger) -> Ended:
        held = {os.path.normpath(path) for path in snapshot.paths}
        paths = tuple(path for path in plan.paths if os.path.normpath(path) in held)
        if not paths:
            raise RestoreError(f"the snapshot {snapshot.id[:8]} is of other paths")
        wish = Wish(
            plan, self._engines.instance, snapshot.id, paths=paths, stop=self._choice.may_stop
        )
        engine = self._engines.engine(plan)
        restorer = Restorer(engine, self._journal, self._containers, clock=self._clock)
        return restorer.run(restorer.prepare(wish), trigger=trigger)


def look_all(paths: Iterable[str]) -> tuple[Seen, ...]:
    """Look at each path."""
    return tuple(look(path) for path in paths)


def look(path: str) -> Seen:
    """Look at a path; what cannot be looked at is not empty."""
    existing = Path(path)
    try:
        standing = look_at(path)
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        device = existing.stat().st_dev
        is_empty = standing is Standing.EMPTY or (
            standing is Standing.ENTRY and existing.stat().st_size == 0
        )
    except (OSError, ValueError):
        return Seen(path, exists=True, is_empty=None, device=0)
    exists = standing is not Standing.MISSING
    return Seen(path, exists, is_empty or not exists, device)


def _files_of(engine: Engine, snapshot: Snapshot, paths: Iterable[str]) -> int:
    """Count the files of a snapshot, or tell by 1 that there are some."""
    if snapshot.files_processed is not None:
        return snapshot.files_processed
    held = {os.path.normpath(path) for path in snapshot.paths}
    wanted = [path for path in paths if os.path.normpath(path) in held]
    return int(
        any(entry.kind != "dir" for path in wanted for entry in engine.entries(snapshot, path))
    )
