"""Restoring a plan's data: checked first, restored aside, moved in when it is whole."""

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from sidecar.docker.failures import DockerError
from sidecar.docker.models import Container
from sidecar.engines.base import (
    CommandResult,
    Engine,
    EngineError,
    FailureClass,
    Progress,
    Report,
    ResultKind,
    Snapshot,
    Stats,
)
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.runner.due import Job, JobKind, backup_job
from sidecar.runner.fidelity import (
    Aspect,
    Deviation,
    Differences,
    compare_attributes,
    compare_entries,
    lost_attributes,
    probe_attributes,
)
from sidecar.runner.journal import Ended, Journal, JournalError, RunCause, RunOutcome
from sidecar.runner.latest import FileLook
from sidecar.runner.quiesce import ContainerControl, reasons_not_to_stop, while_stopped
from sidecar.runner.restore.choose import (
    RestoreError,
    RestoreItem,
    RestoreRequest,
    check_request,
    choose_snapshot,
    choose_sources,
    measure,
    place_items,
)
from sidecar.runner.restore.move import Move, made_folders
from sidecar.runner.restore.places import (
    ExistingTarget,
    Step,
    check_links,
    check_mounts,
    check_space,
    free_at,
    plan_step,
    read_target,
)
from sidecar.runner.restore.staging import Staging, open_staging, settle
from sidecar.runner.restore.users import ContainerLister, users_at_work
from sidecar.runner.rights import GRANTABLE, Capability, Rights

_MOUNTS = Path("/proc/self/mountinfo")
_log = logging.getLogger(__name__)
_OPENS = "which opens what belongs to others: grant it (cap_add: [DAC_OVERRIDE])"
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class RestoreControl(ContainerControl, ContainerLister, Protocol):
    """What a restore needs of Docker."""


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore would do: to each place, from which snapshot; `users` are stopped for it.

    `passed_over` tells of newer snapshots that are not restored, and why; empty: there are none.
    """

    request: RestoreRequest
    snapshot: Snapshot
    steps: tuple[Step, ...]
    users: tuple[Container, ...] = ()
    passed_over: str = ""

    @property
    def files(self) -> int:
        """How many files are restored."""
        return sum(step.item.files for step in self.steps)

    @property
    def bytes(self) -> int:
        """How large they are together."""
        return sum(step.item.bytes for step in self.steps)


def _ignore_progress(_: Progress) -> None:
    """Show progress to nobody."""


class Restorer:
    """Restores from one repository.

    `containers` None: no container can use the places.

    `now` gives unix seconds, `stop_seconds` is how long a container has to stop.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        containers: RestoreControl | None,
        *,
        now: Callable[[], float] = time.time,
        stop_seconds: int = 10,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._containers = containers
        self._now = now
        self._stop_seconds = stop_seconds

    def prepare(self, request: RestoreRequest, *, is_dry: bool = False) -> RestorePlan:
        """Check everything, and return what would be done; nothing is changed.

        But what an earlier restore left halfway is finished first, unless `is_dry`.
        Raises RestoreError, EngineError, DockerError or UsageError.
        """
        request = check_request(request)
        look = FileLook(self._engine, self._journal.runs, backup_job(request.plan))
        choice = choose_snapshot(request, self._engine, look, self._now())
        snapshot = choice.snapshot
        needs = Differences(Rights.read())
        items = place_items(
            [
                measure(source, needs.watch(self._engine.entries(snapshot, source)))
                for source in choose_sources(request, snapshot)
            ],
            request,
        )
        _refuse_without_rights(request, needs)
        with _as_restore_errors():
            _check_links(request, snapshot, items)
            if not is_dry:
                _settle_all(items)
            steps = tuple(plan_step(one, read_target(one.place), request) for one in items)
            self._check(request, steps)
        users = self._users(request, steps)
        return RestorePlan(request, snapshot, steps, users, choice.passed_over)

    def run(
        self,
        plan: RestorePlan,
        report: Report = _ignore_progress,
        trigger: RunCause = RunCause.MANUAL,
    ) -> Ended:
        """Restore, and record it. Raises what `prepare` raises, with nothing touched.

        A kill at any moment leaves what was there before, or what was restored, or a folder
        beside it with which the next restore ends the work.
        """
        subject = plan.request.plan
        number = self._begin(Job(JobKind.RESTORE, subject.id, subject.repo), trigger)
        ended = Ended(RunOutcome.FAILED, 0.0, failure=FailureClass.UNKNOWN)
        try:
            with _as_restore_errors():
                found = self._restore(plan, number, report)
            ended = _ended(plan, found)
        except SidecarError as error:
            failure = getattr(error, "failure", FailureClass.UNKNOWN)
            ended = replace(ended, failure=failure, reason=str(error))
            raise
        except BaseException:
            reason = "interrupted: what was there is there, or all that was restored"
            ended = Ended(
                RunOutcome.CANCELLED, 0.0, failure=FailureClass.INTERRUPTED, reason=reason
            )
            raise
        finally:
            ended = replace(ended, at=self._now())
            self._journal.runs.end(number, ended)
        return ended

    def _check(self, request: RestoreRequest, steps: tuple[Step, ...]) -> None:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        for step in steps:
            check_mounts(step, mounts)
        lacking = check_space(steps, {step.receiver: free_at(step.receiver) for step in steps})
        if lacking and not request.force:
            hint = "free it, name a --target on another disk, or write --force to try"
            raise RestoreError(f"{lacking}: nothing was touched", hint, FailureClass.DISK_FULL)

    def _users(self, request: RestoreRequest, steps: Sequence[Step]) -> tuple[Container, ...]:
        """Return the containers to stop; raises if one is in use that must not or cannot stop."""
        places = [one.item.place for one in steps if not _is_new_target(request, one)]
        if self._containers is None or not places:
            return ()
        try:
            users = users_at_work(self._containers, places)
        except DockerError as error:
            if request.force and not request.stop:
                return ()
            more = "; if nobody else uses the data, write --docker-sock none"
            if not request.stop:
                more += "; --force restores without having asked it"
            raise DockerError(error.message, f"{error.hint}{more}") from error
        if users and not request.stop:
            names = ", ".join(one.name for one in users)
            raise RestoreError(
                f"in use by {names}: nothing was touched",
                "write --stop to stop and start what runs, or stop it yourself",
            )
        if reasons := reasons_not_to_stop(self._containers, users):
            raise RestoreError(f"{'; '.join(reasons)}: nothing was touched")
        return users

    def _begin(self, job: Job, trigger: RunCause) -> int:
        try:
            return self._journal.runs.begin(job, trigger, self._now(), "")
        except JournalError as error:
            log_event(_log, logging.ERROR, "run.not-recorded", work=job, reason=str(error))
            return self._journal.runs.hold(job, trigger, self._now())

    def _stopped(
        self, users: Sequence[Container], run: int
    ) -> contextlib.AbstractContextManager[None]:
        if self._containers is None or not users:
            return contextlib.nullcontext()
        journal, seconds = self._journal, self._stop_seconds
        return while_stopped(self._containers, users, journal, run=max(run, 0), seconds=seconds)

    def _restore(self, plan: RestorePlan, number: int, report: Report) -> Differences:
        found = Differences(Rights.read())
        with contextlib.ExitStack() as stack:
            moves = []
            for step in plan.steps:
                made = stack.enter_context(made_folders(step.receiver))
                staging = stack.enter_context(open_staging(step.receiver))
                done = self._fetch(plan.snapshot, step, staging, report)
                found.join(self._compare(plan.snapshot, step, staging, done, found.rights))
                moves.append(Move(step, staging, made))
            _refuse_without_rights(plan.request, found)
            # Others may use the places by now. They stand still only while data is moved.
            users = self._users(plan.request, plan.steps)
            with self._stopped(users, number):
                _check_links(plan.request, plan.snapshot, (one.item for one in plan.steps))
                for move in moves:
                    move.make_ready()
                for move in moves:
                    move.make()
        return found

    def _fetch(
        self, snapshot: Snapshot, step: Step, staging: Staging, report: Report
    ) -> CommandResult:
        done = self._engine.restore(snapshot, [step.item.source], staging.tree, report)
        if done.kind not in {ResultKind.SUCCESS, ResultKind.WARNING}:
            raise RestoreError(
                f"{step.item.source} was not restored, nothing was touched: {done.reason}",
                "restore again when that is put right",
                done.failure or FailureClass.UNKNOWN,
            )
        if not staging.holds(step.item.source):
            raise RestoreError(f"{step.item.source} was not restored, nothing was touched")
        return done

    def _compare(
        self,
        snapshot: Snapshot,
        step: Step,
        staging: Staging,
        done: CommandResult,
        rights: Rights,
    ) -> Differences:
        """Compare what waits to be moved in with the snapshot; raises if contents are missing."""
        source, found = step.item.source, Differences(rights)
        found.add(compare_entries(self._engine.entries(snapshot, source), staging.tree))
        if found.broken:
            raise RestoreError(
                f"{source} was not restored whole, nothing was touched: {'; '.join(found.broken)}"
            )
        support = probe_attributes(staging.path)
        if support.may_lose(rights, is_told=done.tells_attributes):
            try:
                attributes = self._engine.attributes(snapshot, source)
                found.add(compare_attributes(attributes, staging.tree))
            except EngineError as error:
                unknown = f"extended attributes could not be compared: {error.message}"
                found.join(Differences(rights, unknown=unknown))
        else:
            found.add(lost_attributes(done.unrestored))
        if done.kind is ResultKind.WARNING and not found.found:
            found.add([Deviation(Aspect.OTHER, done.reason)])
        return found


def _refuse_without_rights(request: RestoreRequest, found: Differences) -> None:
    """Raise RestoreError where data that lives here would come back without what can be granted.

    Its next backup would save the wrong owners, and retention forget the right ones.
    """
    lacking = [one for one in found.lacking if one in GRANTABLE]
    if not lacking or request.target or request.force:
        return
    grant = f"grant it (cap_add: [{', '.join(lacking)}])" if found.rights.is_root else "run as root"
    raise RestoreError(
        f"{found.cause}, which these need: {found.lost}: nothing was touched",
        f"{grant}, restore to a --target, or write --force to restore without",
        FailureClass.PERMISSION,
    )


def _ended(plan: RestorePlan, found: Differences) -> Ended:
    """Return how a restore ended that has restored all contents; what differs is logged."""
    stats = Stats(files_processed=plan.files, bytes_processed=plan.bytes)
    differs = str(found)
    if differs:
        subject, snapshot = plan.request.plan.id, plan.snapshot.id
        log_event(
            _log,
            logging.WARNING,
            "restore.differs",
            plan=subject,
            snapshot=snapshot,
            reason=differs,
        )
    return Ended(
        RunOutcome.WARNING if differs else RunOutcome.SUCCESS,
        0.0,
        plan.snapshot.id,
        stats,
        FailureClass.PERMISSION if differs else None,
        "; ".join(filter(None, (differs, plan.passed_over))),
    )


def _check_links(request: RestoreRequest, snapshot: Snapshot, items: Iterable[RestoreItem]) -> None:
    for item in items:
        check_links(item, request, snapshot.paths)


def _is_new_target(request: RestoreRequest, step: Step) -> bool:
    """Return whether it is a target that does not exist yet, so that nobody can use it."""
    return bool(request.target) and step.existing is ExistingTarget.MISSING


def _settle_all(items: Sequence[RestoreItem]) -> None:
    for receiver in {Path(one.place) if one.is_folder else Path(one.place).parent for one in items}:
        if receiver.is_dir() and not receiver.is_symlink():
            for done in settle(receiver):
                log_event(_log, logging.WARNING, "restore.settled", what=done)


@contextlib.contextmanager
def _as_restore_errors() -> Iterator[None]:
    """Raise RestoreError for an OSError in the block."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        is_forbidden = error.errno in _FORBIDDEN
        hint = "the places have to be mounted writable where this runs" if is_forbidden else ""
        if error.errno == errno.EACCES and Rights.read().is_kept_out:
            hint = f"this process lacks {Capability.DAC_OVERRIDE}, {_OPENS}"
        raise RestoreError(
            f"{where}{error.strerror or error}",
            hint,
            FailureClass.PERMISSION if is_forbidden else FailureClass.UNKNOWN,
        ) from error
