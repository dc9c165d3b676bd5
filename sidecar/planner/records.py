"""A pass → the records of workloads.json: names, plans, data mounts, problems of each workload."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from sidecar.backrest.credentials import dump_title
from sidecar.backrest.document import DocumentView, joined_view
from sidecar.backrest.plan import Hook
from sidecar.backrest.workloads import (
    DumpRecord,
    MountRecord,
    PathRecord,
    ProblemRecord,
    WorkloadRecord,
    render_line,
)
from sidecar.docker.models import SERVICE
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.problem import Problem
from sidecar.planner.coverage import MountCoverage, MountSurvey
from sidecar.planner.dumps import DUMP_TEMPLATES
from sidecar.planner.host_path import Locator, MountLocation, normal_path
from sidecar.planner.plan import RenderedWorkload
from sidecar.planner.propose import DesiredState, Proposal
from sidecar.planner.workload import Workload

_OF_CONFIG, _OF_RUNNER = "config.json", "runner.json"


class WorkloadRecords:
    """Makes the records as lines of the file; not thread-safe.

    It remembers the lines of workloads that are as they were. Objects that the planner gives
    again are the same workload as before, so a pass costs what changed.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._context = _Context()

    def lines(
        self,
        proposal: Proposal,
        desired: DesiredState,
        gone: Mapping[str, WorkloadRecord | None] = MappingProxyType({}),
    ) -> tuple[str, ...]:
        """Return the lines of all workloads with a plan or with data, after a pass; sorted.

        `gone` are the plans of `gone_plans`, each with an earlier record of it: that stays, so that
        the data can be restored by its name.
        """
        this = _Pass(proposal, desired)
        if this.context != self._context:
            self._context = this.context
        known: dict[int, _Known] = {}
        for item in this.items():
            thing = item.rendered or item.workload
            known[id(thing)] = self._remembered(item, this, self._known.get(id(thing)))
        self._known = known
        lines = [one.line for one in known.values() if one.line is not None]
        lines += map(_line, this.of_gone(gone))
        return tuple([line.text for line in sorted(lines)])

    def _remembered(self, item: "_Item", this: "_Pass", before: "_Known | None") -> "_Known":
        """Return what is to be remembered of a workload, the same as before if nothing is new."""
        placed, context = this.placed(item), self._context
        # What is remembered stays in memory, so nothing else can have its identity.
        if before is None or before.item != item or before.placed != placed:
            covered = this.cover(item)
            return _Known(item, placed, context, covered, this.line_of(item, covered))
        if before.context is context:
            return before
        covered = this.cover(item)
        if covered == before.covered and context.fixed == before.context.fixed:
            return before._replace(context=context)
        return _Known(item, placed, context, covered, this.line_of(item, covered))


def gone_plans(proposal: Proposal, desired: DesiredState) -> list[str]:
    """Return the plans of ours that stand after a pass although no workload asks for them."""
    claimed = set(map(_own_plan, proposal.rendered.workloads))
    prefix = desired.policy.plan_id_prefix
    return [key for key in proposal.plans if key.startswith(prefix) and key not in claimed]


def _own_plan(item: RenderedWorkload) -> str:
    """Return the id of a workload's plan; empty for one that asks for another workload's."""
    if item.problems and any(problem.reason == "plan.id-taken" for problem in item.problems):
        return ""
    return item.plan_id


class _Line(NamedTuple):
    """A line of the file, and by what it is sorted."""

    name: str
    plan: str
    text: str


def _line(record: WorkloadRecord) -> _Line:
    return _Line(record.name, record.plan, render_line(record))


class _Item(NamedTuple):
    """A workload that is there, what was rendered of it (None: no label enables it), problems."""

    workload: Workload
    rendered: RenderedWorkload | None
    problems: tuple[Problem, ...]


class _Context(NamedTuple):
    """What a record depends on beside its workload.

    `fixed` is the same for all; the paths and excludes of plans, because plans may hold what other
    workloads mount.
    """

    fixed: tuple[object, ...] = ()
    paths: tuple[object, ...] = ()
    excludes: tuple[object, ...] = ()


class _Known(NamedTuple):
    """What is remembered of a workload: what its line was made of, and the line, None for none."""

    item: _Item
    placed: tuple[str, str, str]
    context: _Context
    covered: tuple[MountCoverage, ...]
    line: _Line | None


class _Pass:
    """The records of one pass."""

    def __init__(self, proposal: Proposal, desired: DesiredState) -> None:
        self._proposal = proposal
        self._desired = desired
        self._policy = desired.policy

    @cached_property
    def context(self) -> _Context:
        """What all records depend on."""
        desired, wanted = self._desired, self._proposal.rendered.plans
        return _Context(
            (desired.policy, desired.runner_mounts, desired.inventory.volumes),
            tuple([(plan.id, plan.paths) for plan in self._view.plans]),
            tuple([(plan.id, plan.excludes, plan.iexcludes) for plan in wanted]),
        )

    def items(self) -> Iterator[_Item]:
        """Yield the workloads that are there."""
        rendered = self._proposal.rendered
        ignored: dict[str, list[Problem]] = {}
        for problem in rendered.ignored:
            ignored.setdefault(problem.workload, []).append(problem)
        for item in rendered.workloads:
            yield _Item(item.workload, item, item.problems)
        for workload in rendered.unlabelled:
            yield _Item(workload, None, tuple(ignored.get(workload.key, ())))

    def cover(self, item: _Item) -> tuple[MountCoverage, ...]:
        """Return which plan holds each mount of a workload."""
        return tuple(self._survey.cover(item.workload, item.rendered))

    def placed(self, item: _Item) -> tuple[str, str, str]:
        """Return the plan of a workload, its document and its repository; empty for none."""
        plan = "" if item.rendered is None else _own_plan(item.rendered)
        return self._placed(plan) if plan in self._proposal.plans else ("", "", "")

    def _placed(self, plan: str) -> tuple[str, str, str]:
        document = _OF_RUNNER if plan in self._proposal.placement.of_runner else _OF_CONFIG
        return plan, document, str(self._proposal.plans[plan].get("repo") or "")

    def line_of(self, item: _Item, covered: Iterable[MountCoverage]) -> _Line | None:
        """Return the line of a workload, None if it has neither plan nor data."""
        workload, rendered = item.workload, item.rendered
        plan, document, repository = self.placed(item)
        mounts = tuple(self._mounts(item, covered))
        if not plan and not mounts:
            return None
        record = WorkloadRecord(
            name=workload.key,
            service=workload.short_base,
            project=workload.project,
            group=workload.labels.get("group", "").strip() if workload.project else "",
            aliases=_aliases(workload),
            containers=workload.names,
            plan=plan,
            document=document,
            repository=repository,
            mounts=mounts,
            paths=_paths(rendered) if plan and rendered is not None else (),
            problems=tuple(map(_problem, item.problems)),
            dump=_dump(rendered, self._policy) if plan and rendered is not None else None,
        )
        return _line(record)

    def of_gone(self, gone: Mapping[str, WorkloadRecord | None]) -> Iterator[WorkloadRecord]:
        """Yield the records of plans without a workload, as far as anything is known of them."""
        ageing = self._proposal.ageing
        owners = {} if ageing is None else {**ageing.history.owners, **ageing.owners}
        for plan_id, record in gone.items():
            if record is not None:
                yield replace(record, is_gone=True, problems=())
            elif owner := owners.get(plan_id):
                service = owner.key.removeprefix(f"{owner.project}/")
                _, document, repository = self._placed(plan_id)
                yield WorkloadRecord(
                    owner.key,
                    service,
                    owner.project if service != owner.key else "",
                    plan=plan_id,
                    document=document,
                    repository=repository,
                    is_gone=True,
                )

    @cached_property
    def _view(self) -> DocumentView:
        """The plans as they stand after the pass."""
        proposal = self._proposal
        if proposal.runner is None:
            return proposal.after.view
        return joined_view(proposal.after.view, proposal.runner.after.view)

    @cached_property
    def _locator(self) -> Locator:
        desired = self._desired
        return Locator(desired.policy, desired.inventory.volumes, desired.runner_mounts)

    @cached_property
    def _survey(self) -> MountSurvey:
        return MountSurvey(self._proposal.rendered, self._view, self._policy, self._locator)

    def _mounts(self, item: _Item, covered: Iterable[MountCoverage]) -> Iterator[MountRecord]:
        """Yield the mounts that hold data, sorted by path; those of replicas once."""
        is_runners = self._policy.runner_container in item.workload.names
        found: dict[MountRecord, list[str]] = {}
        for one in covered:
            location = self._locator.locate(one.mount)
            if one.plan or one.left_out or self._holds_data(location):
                record = MountRecord(
                    normal_path(one.mount.destination),
                    host=location.host,
                    seen=one.path,
                    kind=one.mount.type,
                    volume=one.mount.name,
                    plan=one.plan,
                    why=one.reason or self._why(one, item.rendered),
                    is_chosen=is_runners or _is_chosen(one, item),
                )
                found.setdefault(record, []).append(one.container)
        for record in sorted(found, key=lambda one: (one.path, one.host)):
            yield replace(record, containers=tuple(dict.fromkeys(found[record])))

    def _holds_data(self, location: MountLocation) -> bool:
        """Return whether a mount holds data, also where nobody but its driver can reach it."""
        mount = location.mount
        is_elsewhere = mount.type == "volume" or bool(mount.source)
        is_data = not self._locator.why_not_data(location)
        return is_data or (is_elsewhere and not location.host)

    def _why(self, one: MountCoverage, item: RenderedWorkload | None) -> str:
        """Return why a plan holds a whole mount."""
        if item is None or one.plan != item.plan_id:
            return f"the plan {one.plan} holds it"
        if item.spec.include is not None:
            return f"{self._policy.label_prefix}paths.include names it"
        return "it holds data"


def _is_chosen(one: MountCoverage, item: _Item) -> bool:
    """Return whether a label says that a mount be left out: by its path, or all of them."""
    if one.plan or item.rendered is None:
        return not one.plan and "enable" in item.workload.labels
    is_named = item.rendered.spec.include is not None and any(
        skipped.mount == one.mount for skipped in item.rendered.paths.skipped
    )
    return bool(one.left_out) or is_named


def _aliases(workload: Workload) -> tuple[str, ...]:
    """Return other names of a workload: its services, of a stack without that, what was joined."""
    names = {*workload.keys}
    for container in workload.containers:
        if workload.project and (service := container.labels.get(SERVICE, "")):
            names |= {service, f"{workload.project}/{service}"}
    short = workload.swarm_service.removeprefix(f"{workload.scope}_")
    if workload.scope and short != workload.swarm_service:
        names |= {short, f"{workload.scope}/{short}"}
    return tuple(sorted(names - {workload.key, workload.short_base, ""}))


def _dump(item: RenderedWorkload, policy: Policy) -> DumpRecord | None:
    """Return what a template dumps for the plan of a workload; None if none does."""
    spec, hooks = item.spec, () if item.plan is None else item.plan.hooks
    template, container = spec.template or "", item.workload.carrier("hooks.template")
    title = dump_title(template, container)
    if template not in DUMP_TEMPLATES or not any(
        _command(hook).startswith(title) for hook in hooks
    ):
        return None
    return DumpRecord(
        template,
        spec.dump_path or "",
        container,
        spec.dump_database or "",
        spec.dump_user or "",
        (spec.exec_user or "") if policy.hook_policy is HookPolicy.ALL else "",
    )


def _command(hook: Hook) -> str:
    return str(hook.settings.get("command", ""))


def _paths(item: RenderedWorkload) -> tuple[PathRecord, ...]:
    return tuple(PathRecord(one.container, one.host, one.runner) for one in item.paths.entries)


def _problem(problem: Problem) -> ProblemRecord:
    return ProblemRecord(
        problem.reason, problem.severity.value, problem.message, problem.hint, problem.label
    )
