"""Several plans restored as one: what names mean, in which order, and what stands in the way."""

import posixpath
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from sidecar.backrest.names import NamedPlan, Names
from sidecar.backrest.reading import Config, RunPlan
from sidecar.backrest.workloads import WorkloadRecord
from sidecar.docker.failures import DockerError
from sidecar.docker.usage import in_start_order, is_within
from sidecar.engines.base import Engine, Report
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.runner.journal import Ended
from sidecar.runner.plan_turns import PlanTurns
from sidecar.runner.restore.choose import (
    LATEST,
    LinkedPlaceError,
    ReadOnlyPlaceError,
    RestoreError,
    RestoreRequest,
)
from sidecar.runner.restore.container_paths import find_saved_path, paths_inside
from sidecar.runner.restore.places import ExistingTarget, free_at, measure_space
from sidecar.runner.restore.restore import (
    Obstacles,
    RestoreControl,
    RestorePlan,
    Restorer,
    check_apart,
    refuse_obstacles,
    refuse_short_space,
    run_together,
)
from sidecar.runner.restore.turn import Turn, running


@dataclass(frozen=True, slots=True)
class RestoreSelection:
    """What somebody wants restored, by names.

    Attributes:
        names: of services, containers, groups or plans; `PROJECT/` means all services of it.
        paths: as the container sees them; of one service only.
        usual: all that is said of each of them; its plan is not looked at.
        folder: below it each service gets a folder of its own; empty: `usual` says where to.
        repo: the repository of a plan that the document has no more, or has elsewhere.
    """

    names: tuple[str, ...]
    paths: tuple[str, ...] = ()
    usual: RestoreRequest = field(default_factory=lambda: RestoreRequest(RunPlan("", ""), ""))
    folder: str = ""
    repo: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """A plan that is restored, the name that people know it by, and its workload if known."""

    plan: RunPlan
    name: str
    workload: WorkloadRecord | None = None

    def around(self, path: str) -> str:
        """Return the mount around a path of the plan, as far as it is known."""
        return path if self.workload is None else self.workload.around(path)

    @property
    def folder(self) -> str:
        """The name of the folder that it gets below one that is for several."""
        plain = self.name.replace("/", "_")
        # `.` and `..` are no names of folders: they would lead elsewhere.
        return plain if plain.strip(".") else f"_{plain}"


def find_subjects(selection: RestoreSelection, config: Config, names: Names) -> tuple[Subject, ...]:
    """Return the plans that a selection names, each once. Raises UsageError."""
    if selection.repo:
        found = [NamedPlan(name) for name in selection.names]
    else:
        found = [one for name in selection.names for one in _find(name, selection, names)]
    subjects = {}
    for one in found:
        plan = config.plan(one.plan)
        if selection.repo:
            plan = replace(plan, repo=selection.repo) if plan else RunPlan(one.plan, selection.repo)
        if plan is not None:
            shown = names.shown.get(plan.id, plan.id)
            subjects[plan.id] = Subject(plan, shown, one.workload)
    several = tuple(subjects.values())
    if len(several) > 1:
        _refuse_for_several(selection)
    return several


def _find(name: str, selection: RestoreSelection, names: Names) -> list[NamedPlan]:
    """Return the plans that a name means. Raises UsageError, also for a path without its slash."""
    try:
        return names.find_all(name)
    except UsageError as error:
        if name == selection.names[0]:
            raise
        hint = f"{error.hint}; a path in the container is written from the root: /{name}"
        raise UsageError(error.message, hint) from error


def _refuse_for_several(selection: RestoreSelection) -> None:
    """Raise UsageError for what can only be said of one service."""
    usual = selection.usual
    for what, is_given in (
        ("a path", bool(selection.paths or usual.paths)),
        ("the id of a snapshot", usual.snapshot != LATEST),
        ("--target", bool(usual.target)),
        ("--path-map", bool(usual.path_map)),
    ):
        if is_given:
            raise UsageError(f"{what} is that of one service", "restore one after the other")


def request_of(subject: Subject, selection: RestoreSelection, instance: str) -> RestoreRequest:
    """Return what is requested of one plan. Raises UsageError for a path that it does not hold."""
    found = tuple(find_saved_path(one, subject.plan, subject.workload) for one in selection.paths)
    inside, folder = paths_inside(subject.plan, subject.workload), selection.folder
    return replace(
        selection.usual,
        plan=subject.plan,
        instance=instance,
        paths=(*selection.usual.paths, *found),
        # The flag --target has a rule of its own.
        inside=() if selection.usual.target else inside,
        target=f"{folder}/{subject.folder}" if folder else selection.usual.target,
    )


def in_dependency_order(
    subjects: Sequence[Subject], docker: RestoreControl | None
) -> tuple[Subject, ...]:
    """Sort by Compose's `depends_on`: what others need comes first.

    Without Docker, or without containers that are known, they stay in their order.
    """
    try:
        listed = () if docker is None or len(subjects) < 2 else docker.all()
    except DockerError:
        listed = ()
    known = {name for one in subjects if one.workload for name in one.workload.containers}
    ordered = in_start_order([one for one in listed if one.name in known])
    place = {one.name: number for number, one in enumerate(ordered)}

    def rank(subject: Subject) -> int:
        names = subject.workload.containers if subject.workload else ()
        return min((place[name] for name in names if name in place), default=len(place))

    return tuple(sorted(subjects, key=rank))


@dataclass(frozen=True, slots=True)
class RestorePart:
    """One plan of several that are restored, what restores it, and what would be done."""

    subject: Subject
    engine: Engine
    restorer: Restorer
    plan: RestorePlan

    @property
    def is_in_place(self) -> bool:
        """Whether data is restored to where it lives."""
        return not self.plan.request.target

    @property
    def meets_link(self) -> bool:
        """Whether a symbolic link is on the way to a place, or where a folder is to be."""
        return any(isinstance(error, LinkedPlaceError) for error in self.plan.obstacles) or any(
            step.item.is_folder and step.existing is ExistingTarget.LINK for step in self.plan.steps
        )


@dataclass(frozen=True, slots=True)
class RestoreGroup:
    """Plans that are restored as one; `locks` keep runs of them away, `turn` knows what is due.

    `is_of_backrest` tells whether Backrest executes a plan. `plans` are all that stand.
    """

    parts: tuple[RestorePart, ...]
    turn: Turn
    locks: PlanTurns
    is_of_backrest: Callable[[RunPlan], bool]
    plans: tuple[RunPlan, ...] = ()

    def surveyed(self) -> "RestoreGroup":
        """Return it with what stands in the way of all together, too."""
        found = Obstacles()
        plans = [one.plan for one in self.parts]
        with found.noted():
            check_apart(plans)
        if len(plans) > 1:
            steps = [step for plan in plans for step in plan.steps]
            with found.noted():
                free = {step.receiver: free_at(step.receiver) for step in steps}
                force = plans[0].request.force
                refuse_short_space(measure_space(steps, free), force=force)
        for part in self.parts:
            with found.noted():
                self._refuse_data_of_others(part)
        first, *rest = (self._awaited(one) for one in self.parts)
        plan = replace(first.plan, obstacles=(*first.plan.obstacles, *found.errors))
        return replace(self, parts=(replace(first, plan=plan), *rest))

    @property
    def unwritable(self) -> tuple[str, ...]:
        """The places in which something is to be written, and which can only be read.

        Of mounts those as a whole: whoever starts a container that may write there follows
        links, and what a container has put in the place of a folder would be written to. For the
        same reason there are none where a link was seen.
        """
        if any(part.meets_link for part in self.parts):
            return ()
        return tuple(
            part.subject.around(root)
            for part in self.parts
            for root in map(posixpath.normpath, part.subject.plan.paths)
            if part.is_in_place
            and any(isinstance(error, ReadOnlyPlaceError) for error in part.plan.obstacles)
            and any(is_within(step.item.place, root) for step in part.plan.steps)
        )

    def in_another(self) -> "RestoreGroup":
        """Return it without what is no obstacle to a container that may write there."""
        parts = []
        for part in self.parts:
            left = (e for e in part.plan.obstacles if not isinstance(e, ReadOnlyPlaceError))
            parts.append(replace(part, plan=replace(part.plan, obstacles=tuple(left))))
        return replace(self, parts=tuple(parts))

    def run(self, report_of: Callable[[RestorePlan], Report]) -> tuple[Ended, ...]:
        """Restore all; raises the first of what stands in the way, with nothing touched."""
        for part in self.parts:
            refuse_obstacles(part.plan)
        with ExitStack() as stack:
            for part in self.parts:
                if not part.is_in_place:
                    continue
                if not stack.enter_context(self.locks.hold(part.subject.plan.id)):
                    raise running(part.subject.plan)
                # A run may have become due since it was looked at, as while somebody was asked.
                for error in self._waiting(part):
                    raise error
            return run_together([(one.restorer, one.plan) for one in self.parts], report_of)

    def _refuse_data_of_others(self, part: RestorePart) -> None:
        """Raise RestoreError if data of another plan would be replaced, as by a snapshot of it.

        Nothing would keep runs of that plan away, and the name of this one is told instead.
        """
        own = part.subject.plan
        if not part.is_in_place or part.plan.request.force:
            return
        for place in (step.item.place for step in part.plan.steps):
            others = [one for one in self.plans if one.id != own.id and _holds(one, place)]
            if others and not _holds(own, place):
                raise RestoreError(
                    f"{place} is not data of {own.id} but of {others[0].id}: nothing was touched",
                    f"restore {others[0].id} instead, or this to a folder: --to DIR",
                )

    def _awaited(self, part: RestorePart) -> RestorePart:
        """Return a part with the runs that it has to wait for among what stands in its way."""
        errors = list(self._waiting(part))
        if part.is_in_place and self.locks.is_held(part.subject.plan.id):
            errors.insert(0, running(part.subject.plan))
        plan = replace(part.plan, obstacles=(*part.plan.obstacles, *errors))
        return replace(part, plan=plan)

    def _waiting(self, part: RestorePart) -> Iterable[SidecarError]:
        plan, request = part.subject.plan, part.plan.request
        if not part.is_in_place or request.force:
            return ()
        found = Obstacles()
        with found.noted():
            if self.is_of_backrest(plan):
                self.turn.check_backrest(plan, part.engine, request.instance)
            else:
                self.turn.check(plan)
        return found.errors


def _holds(plan: RunPlan, place: str) -> bool:
    return any(is_within(place, posixpath.normpath(one)) for one in plan.paths)
