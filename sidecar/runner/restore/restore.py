"""Restoring a plan's data: checked first, restored aside, moved in when it is whole."""

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from sidecar.backrest.reading import RunPlan
from sidecar.docker.failures import DockerError
from sidecar.docker.models import Container
from sidecar.docker.usage import is_within
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
    DiskSpace,
    ExistingTarget,
    Step,
    check_links,
    check_mounts,
    check_step,
    check_writable,
    free_at,
    measure_space,
    plan_step,
    read_target,
)
from sidecar.runner.restore.staging import Staging, open_staging, settle
from sidecar.runner.restore.users import ContainerLister, users_at_work
from sidecar.runner.rights import GRANTABLE, Capability, Rights

_MOUNTS = Path("/proc/self/mountinfo")
_log = logging.getLogger(__name__)
_OPENS = "which opens what belongs to others: grant it (cap_add: [DAC_OVERRIDE])"
_EITHER = "what was there is there, or all that was restored"
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class RestoreControl(ContainerControl, ContainerLister, Protocol):
    """What a restore needs of Docker."""


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore would do: to each place, from which snapshot.

    Attributes:
        request: what was asked for.
        snapshot: which is restored.
        steps: what happens where.
        users: the containers that are stopped for it.
        witnesses: those that use what is replaced, and go on running.
        passed_over: tells of newer snapshots that are not restored, and why; empty: none are.
        space: what is needed of each disk.
        obstacles: what stands in the way; with one of them nothing is restored.
    """

    request: RestoreRequest
    snapshot: Snapshot
    steps: tuple[Step, ...]
    users: tuple[Container, ...] = ()
    witnesses: tuple[Container, ...] = ()
    passed_over: str = ""
    space: tuple[DiskSpace, ...] = ()
    obstacles: tuple[SidecarError, ...] = ()

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


@dataclass(frozen=True, slots=True)
class Users:
    """The running containers that use the places of a restore: those to stop, and the others."""

    stopped: tuple[Container, ...] = ()
    left: tuple[Container, ...] = ()


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

    def survey(self, request: RestoreRequest) -> RestorePlan:
        """Return what would be done, and what stands in the way of it; nothing is changed.

        Raises RestoreError, EngineError or UsageError where that cannot be told: there is no such
        snapshot, or nothing of that name in it.
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
        found = Obstacles()
        with found.noted():
            _refuse_without_rights(request, needs)
        with found.noted():
            _check_links(request, snapshot, items)
        with _as_restore_errors():
            steps = tuple(plan_step(one, read_target(one.place), request) for one in items)
            space = measure_space(steps, {one.receiver: free_at(one.receiver) for one in steps})
        self._check_steps(request, steps, found)
        with found.noted():
            refuse_short_space(space, force=request.force)
        users = Users()
        with found.noted():
            users = self._find_users(request, steps)
        with found.noted():
            self._refuse_users(request, users)
        return RestorePlan(
            request,
            snapshot,
            steps,
            users.stopped,
            users.left,
            choice.passed_over,
            space,
            tuple(found.errors),
        )

    def prepare(self, request: RestoreRequest) -> RestorePlan:
        """Finish what an earlier restore left halfway, and return what would be done.

        Raises what `survey` raises, and what that finds in the way.
        """
        request = check_request(request)
        plan = self.survey(request)
        if self._settle(plan):
            plan = self.survey(request)
        return refuse_obstacles(plan)

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
        (ended,) = run_together([(self, plan)], lambda _: report, trigger)
        return ended

    def settled(self, plan: RestorePlan) -> RestorePlan:
        """Finish what an earlier restore left halfway in the places; return what is to do then.

        Raises RestoreError.
        """
        with _as_restore_errors():
            if not self._settle(plan):
                return plan
            steps = (plan_step(s.item, read_target(s.item.place), plan.request) for s in plan.steps)
            plan = replace(plan, steps=tuple(steps))
            for step in plan.steps:
                check_step(step, plan.request)
        return plan

    @contextlib.contextmanager
    def recorded(
        self, subject: RunPlan, trigger: RunCause, state: str = _EITHER
    ) -> Iterator["RecordedRun"]:
        """Record a run for the block, and how that ends; `state` is told if it is interrupted."""
        job = Job(JobKind.RESTORE, subject.id, subject.repo)
        run = RecordedRun(self._begin(job, trigger))
        try:
            yield run
        except SidecarError as error:
            failure = getattr(error, "failure", FailureClass.UNKNOWN)
            run.ended = replace(run.ended, failure=failure, reason=str(error))
            raise
        except BaseException:
            reason, failure = f"interrupted: {state}", FailureClass.INTERRUPTED
            run.ended = Ended(RunOutcome.CANCELLED, 0.0, failure=failure, reason=reason)
            raise
        finally:
            run.ended = replace(run.ended, at=self._now())
            self._journal.runs.end(run.number, run.ended)

    def stage(self, plan: RestorePlan, stack: contextlib.ExitStack, report: Report) -> "StagedPlan":
        """Restore a plan aside, below the stack; nothing that is there is touched."""
        found, moves = Differences(Rights.read()), []
        for step in plan.steps:
            made = stack.enter_context(made_folders(step.receiver))
            staging = stack.enter_context(open_staging(step.receiver))
            done = self._fetch(plan.snapshot, step, staging, report)
            found.join(self._compare(plan.snapshot, step, staging, done, found.rights))
            moves.append(Move(step, staging, made))
        _refuse_without_rights(plan.request, found)
        return StagedPlan(plan, tuple(moves), found)

    def users_of(self, plan: RestorePlan) -> tuple[Container, ...]:
        """Return the containers to stop; raises if one is in use that must not or cannot stop."""
        users = self._find_users(plan.request, plan.steps)
        self._refuse_users(plan.request, users)
        return users.stopped

    def stopped(
        self, users: Sequence[Container], run: int
    ) -> contextlib.AbstractContextManager[None]:
        """Stop containers for the block, see `while_stopped`."""
        if self._containers is None or not users:
            return contextlib.nullcontext()
        journal, seconds = self._journal, self._stop_seconds
        return while_stopped(self._containers, users, journal, run=max(run, 0), seconds=seconds)

    def _settle(self, plan: RestorePlan) -> bool:
        """Finish what is left halfway in the places of a plan; return whether there was any."""
        with _as_restore_errors():
            return _settle_all(plan.steps)

    def _check_steps(
        self, request: RestoreRequest, steps: Iterable[Step], found: "Obstacles"
    ) -> None:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        for step in steps:
            with found.noted():
                check_step(step, request)
            with found.noted():
                check_mounts(step, mounts)
            with found.noted():
                check_writable(step.receiver)

    def _find_users(self, request: RestoreRequest, steps: Sequence[Step]) -> Users:
        """Return who uses the places of folders, who is stopped, and those of files, who is not.

        But who uses a file is stopped as well where that is asked for. Raises DockerError.
        """
        used = [one for one in steps if not _is_new_target(request, one)]
        folders = [one.item.place for one in used if one.item.is_folder or request.stop_for_files]
        files = [one.item.place for one in used if one.item.place not in folders]
        if self._containers is None or not used:
            return Users()
        try:
            stopped = users_at_work(self._containers, folders) if folders else ()
            left = users_at_work(self._containers, files) if files else ()
        except DockerError as error:
            if not folders or (request.force and not request.stop_for_files):
                return Users()
            more = "; if nobody else uses the data, write --docker-sock none"
            if not request.stop_for_files:
                more += "; --force restores without having asked it"
            raise DockerError(error.message, f"{error.hint}{more}") from error
        return Users(stopped, tuple(one for one in left if one not in stopped))

    def _refuse_users(self, request: RestoreRequest, users: Users) -> None:
        """Raise RestoreError if one is in use that must not or cannot stop."""
        if users.stopped and not request.stop:
            names = ", ".join(one.name for one in users.stopped)
            raise RestoreError(
                f"in use by {names}: nothing was touched",
                "write --yes (or --stop) to stop and start what runs, or stop it yourself",
            )
        if self._containers is None:
            return
        if reasons := reasons_not_to_stop(self._containers, users.stopped):
            raise RestoreError(f"{'; '.join(reasons)}: nothing was touched")

    def _begin(self, job: Job, trigger: RunCause) -> int:
        try:
            return self._journal.runs.begin(job, trigger, self._now(), "")
        except JournalError as error:
            log_event(_log, logging.ERROR, "run.not-recorded", work=job, reason=str(error))
            return self._journal.runs.hold(job, trigger, self._now())

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


@dataclass(slots=True)
class RecordedRun:
    """A run of the journal by its number, and how it has ended as far as is known."""

    number: int
    ended: Ended = field(
        default_factory=lambda: Ended(RunOutcome.FAILED, 0.0, failure=FailureClass.UNKNOWN)
    )


@dataclass(frozen=True, slots=True)
class StagedPlan:
    """A plan that was restored aside: what is to be moved in, and what of it is not as it was."""

    plan: RestorePlan
    moves: tuple[Move, ...]
    found: Differences

    def make_ready(self) -> None:
        """Do all that can fail without touching what is there. Raises RestoreError, OSError."""
        items = (step.item for step in self.plan.steps)
        _check_links(self.plan.request, self.plan.snapshot, items)
        for move in self.moves:
            move.make_ready()

    def make(self) -> None:
        """Move it in. Raises OSError."""
        for move in self.moves:
            move.make()


def run_together(
    parts: Sequence[tuple[Restorer, RestorePlan]],
    report_of: Callable[[RestorePlan], Report],
    trigger: RunCause = RunCause.MANUAL,
) -> tuple[Ended, ...]:
    """Restore several plans as one, at least one, and record each; see `Restorer.run`.

    All is restored aside before anything is touched. Then whoever uses any of it stands still
    once, what others depend on starts first. The restorers share their journal and their Docker.
    """
    restorer = parts[0][0]
    with contextlib.ExitStack() as records:
        runs = [
            records.enter_context(one.recorded(plan.request.plan, trigger)) for one, plan in parts
        ]
        with _as_restore_errors(), contextlib.ExitStack() as stack:
            settled = [(one, one.settled(plan)) for one, plan in parts]
            staged = [one.stage(plan, stack, report_of(plan)) for one, plan in settled]
            # Others may use the places by now. They stand still only while data is moved.
            users = {user.id: user for one, plan in settled for user in one.users_of(plan)}
            with restorer.stopped(tuple(users.values()), runs[0].number):
                for done in staged:
                    done.make_ready()
                for done in staged:
                    done.make()
        for run, done in zip(runs, staged, strict=True):
            run.ended = _ended(done.plan, done.found)
    return tuple(run.ended for run in runs)


def check_apart(plans: Sequence[RestorePlan]) -> None:
    """Raise RestoreError if two plans would be restored into each other."""
    places = [(plan.request.plan.id, step.item.place) for plan in plans for step in plan.steps]
    for number, (name, place) in enumerate(places):
        for other, inner in places[:number] + places[number + 1 :]:
            if other != name and is_within(inner, place):
                raise RestoreError(
                    f"{other} and {name} would both be restored to {place}: nothing was touched",
                    "restore one after the other",
                )


class Obstacles:
    """What stands in the way of a restore, as errors."""

    def __init__(self) -> None:
        self.errors: list[SidecarError] = []

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note what the block raises, and go on."""
        try:
            with _as_restore_errors():
                yield
        except SidecarError as error:
            self.errors.append(error)


def refuse_obstacles(plan: RestorePlan) -> RestorePlan:
    """Return a plan; raises the first of what stands in its way."""
    if plan.obstacles:
        raise plan.obstacles[0]
    return plan


def refuse_short_space(space: Iterable[DiskSpace], *, force: bool) -> None:
    """Raise RestoreError where a disk has too little space, unless it is tried by force."""
    lacking = next(filter(None, (one.lacking for one in space)), "")
    if lacking and not force:
        hint = "free it, name a folder on another disk (--to), or write --force to try"
        raise RestoreError(f"{lacking}: nothing was touched", hint, FailureClass.DISK_FULL)


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


def _settle_all(steps: Iterable[Step]) -> bool:
    found = False
    for receiver in {one.receiver for one in steps}:
        if receiver.is_dir() and not receiver.is_symlink():
            for done in settle(receiver):
                found = True
                log_event(_log, logging.WARNING, "restore.settled", what=done)
    return found


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
