"""Workload + policy → Plan | Problems; all workloads of an inventory → Rendered."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import NamedTuple

from sidecar.core.dumps import DUMP_TEMPLATES
from sidecar.core.flags import allowed_flags
from sidecar.core.hooks import resolve_hooks
from sidecar.core.ids import Claim, renamed_problems, resolve_ids
from sidecar.core.locate import Locator, without_nested
from sidecar.core.paths import PathResult, covers, resolve_paths
from sidecar.core.policy import HookPolicy, Policy
from sidecar.core.repos import RepoChooser, choose_repos
from sidecar.core.retention import parse_retention
from sidecar.core.schedule import parse_schedule
from sidecar.core.spec import LabelSpec, parse_labels
from sidecar.core.spec_error import SpecInvalid
from sidecar.core.workload import Inventory, Mount, Workload, group_workloads
from sidecar.model.plan import Plan, Retention, Schedule
from sidecar.model.problem import Problem, Severity, problem_of
from sidecar.model.view import DocumentView, PlanView

# Found less than was asked for: what an existing plan has, it keeps.
_KEEPING = frozenset({"path.unmapped", "path.escape", "path.invisible", "mount.unsupported"})


class RenderedWorkload(NamedTuple):
    """One labelled workload: its plan, or None with problems that say why not."""

    workload: Workload
    spec: LabelSpec
    plan_id: str
    plan: Plan | None
    paths: PathResult
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Rendered:
    """All labelled workloads of an inventory, sorted by natural key.

    `ignored` are problems of workloads that turned out not to be labelled;
    `unlabelled` those workloads.
    """

    workloads: tuple[RenderedWorkload, ...]
    ignored: tuple[Problem, ...] = ()
    unlabelled: tuple[Workload, ...] = ()

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """The plans to be written, in the order of their workloads."""
        return tuple(item.plan for item in self.workloads if item.plan is not None)

    @cached_property
    def claimed(self) -> frozenset[str]:
        """Ids that belong to a workload, also where that has no plan to write now."""
        return frozenset(item.plan_id for item in self.workloads if item.plan_id)

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, sorted by workload."""
        found = [problem for item in self.workloads for problem in item.problems]
        return tuple(sorted((*found, *self.ignored), key=lambda problem: problem.workload))


class _Draft(NamedTuple):
    """A labelled workload whose labels and paths are resolved."""

    workload: Workload
    spec: LabelSpec
    paths: PathResult
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Pass:
    """What all workloads of one pass have in common."""

    policy: Policy
    view: DocumentView
    locator: Locator
    repos: RepoChooser
    now: datetime


def render(
    inventory: Inventory,
    view: DocumentView,
    policy: Policy,
    now: datetime,
    runner_mounts: tuple[Mount, ...] | None = None,
) -> Rendered:
    """Render the plans of every labelled workload.

    `now` (aware) only decides whether a schedule ever fires. `runner_mounts` are
    the mounts of the runner's container, None when they are not known.
    """
    locator = Locator(policy, inventory.volumes, runner_mounts)
    this = _Pass(policy, view, locator, choose_repos(view, policy), now)
    drafts: list[_Draft] = []
    unlabelled: list[Workload] = []
    for workload in group_workloads(inventory, policy):
        draft = _draft(workload, this) if _may_be_enabled(workload) else None
        if draft is None:
            unlabelled.append(workload)
        else:
            drafts.append(draft)
    claims = [_claim(draft) for draft in drafts]
    ids = resolve_ids(claims, view, policy)
    rendered = [_render_plan(d, *found, this) for d, found in zip(drafts, ids, strict=True)]
    new = [
        (claim, item.plan_id, item.plan.paths)
        for claim, item in zip(claims, rendered, strict=True)
        if item.plan is not None and item.plan_id not in view.plan_by_id
    ]
    taken = {item.plan_id for item in rendered}
    rendered = _with_problems(rendered, renamed_problems(new, taken, view, policy))
    rendered = _with_problems(rendered, _shared_paths(rendered, view, policy))
    # That an image opted in, not a person, is told also where nothing comes of it.
    ignored = tuple(
        problem
        for workload in unlabelled
        for problem in workload.problems
        if problem.reason == "label.from-image"
    )
    return Rendered(tuple(rendered), ignored, tuple(unlabelled))


def _may_be_enabled(workload: Workload) -> bool:
    said = "enable" in workload.labels
    return said or any(problem.reason == "group.conflict" for problem in workload.problems)


def _draft(workload: Workload, this: _Pass) -> _Draft | None:
    """Parse a workload's labels; None when they do not opt it in."""
    prefix = this.policy.label_prefix
    spec, problems = parse_labels(workload.labels, prefix)
    if not spec.enable and not _is_doubtful(workload, problems, prefix):
        return None
    if spec.group and not workload.project:
        problems.append(_no_project(f"{prefix}group"))
    paths = resolve_paths(workload, spec, this.locator, prefix)
    return _Draft(workload, spec, paths, (*problems, *paths.problems))


def _no_project(label: str) -> Problem:
    return problem_of(
        "label.invalid",
        f"{label} joins containers of one Compose project, and this container has none",
        "remove it, or run the container with Compose",
        label=label,
    )


def _is_doubtful(workload: Workload, problems: Iterable[Problem], prefix: str) -> bool:
    """Whether `enable` itself cannot be read: then a plan that is there must stay."""
    return any(
        problem.reason in ("label.invalid", "group.conflict") and problem.label == f"{prefix}enable"
        for problem in (*workload.problems, *problems)
    )


def _claim(draft: _Draft) -> Claim:
    paths = frozenset([entry.runner for entry in draft.paths.entries])
    return Claim(draft.workload, draft.spec, paths)


def _render_plan(
    draft: _Draft, plan_id: str, about_id: tuple[Problem, ...], this: _Pass
) -> RenderedWorkload:
    """Render one draft; problems of its own never touch another."""
    workload, spec = draft.workload, draft.spec
    problems: list[Problem] = [*draft.problems, *about_id]
    existing = this.view.plan_by_id.get(plan_id)
    repo, found = this.repos.resolve(spec, existing)
    problems += found
    problems += _overridden(repo, spec, this)
    paths = _final_paths(draft, existing)
    if not paths:
        problems.append(_no_paths(spec, this.policy))
    schedule = _schedule(spec, plan_id, this, problems)
    retention = _retention(spec, this.policy, problems)
    flags = _flags(spec, this.policy, problems)
    hooks = resolve_hooks(workload, spec, plan_id, this.policy)
    problems += hooks.problems
    problems += _dump_problems(draft, paths, this)
    plan = None
    if not _blocked(workload.problems) and not _blocked(problems):
        plan = Plan(
            id=plan_id,
            repo=repo,
            paths=paths,
            schedule=schedule,
            retention=retention,
            excludes=draft.paths.excludes,
            iexcludes=draft.paths.iexcludes or (),
            hooks=hooks.hooks,
            backup_flags=flags,
            labelled=_labelled(spec),
        )
    named = tuple([_placed(problem, workload) for problem in problems])
    return RenderedWorkload(
        workload,
        spec,
        plan_id,
        plan if plan_id else None,
        draft.paths,
        (*workload.problems, *named),
    )


def _blocked(problems: Collection[Problem]) -> bool:
    return bool(problems) and any(problem.blocks for problem in problems)


def _placed(problem: Problem, workload: Workload) -> Problem:
    container = problem.container or workload.names[0]
    return replace(problem, workload=workload.key, container=container)


def _labelled(spec: LabelSpec) -> frozenset[str]:
    spoken = (
        ("schedule", spec.schedule),
        ("retention", spec.keep),
        ("iexcludes", spec.iexclude),
        ("backup_flags", spec.backup_flags),
    )
    return frozenset([key for key, value in spoken if value is not None])


def _final_paths(draft: _Draft, existing: PlanView | None) -> tuple[str, ...]:
    found = [entry.runner for entry in draft.paths.entries]
    if existing is not None and draft.paths.problems:
        reasons = {p.reason for p in draft.paths.problems if p.severity is not Severity.WARNING}
        if reasons & _KEEPING:
            found += existing.paths
    return without_nested(found) if len(found) > 1 else tuple(found)


def _no_paths(spec: LabelSpec, policy: Policy) -> Problem:
    label = f"{policy.label_prefix}paths.include"
    if spec.include is None:
        return problem_of(
            "paths.empty",
            "the containers have no data mount",
            f"mount a volume for the data, or name a path in {label}",
        )
    return problem_of(
        "paths.empty", f"{label} leaves no path", "name a path that lies in a mount", label=label
    )


def _schedule(spec: LabelSpec, plan_id: str, this: _Pass, problems: list[Problem]) -> Schedule:
    text = this.policy.default_schedule if spec.schedule is None else spec.schedule
    label = "" if spec.schedule is None else f"{this.policy.label_prefix}schedule"
    try:
        return parse_schedule(text, plan_id, this.now)
    except SpecInvalid as error:
        problems.append(problem_of("schedule.invalid", error.message, error.hint, label=label))
        return Schedule()


@lru_cache(maxsize=256)
def _parsed_retention(text: str) -> tuple[Retention, tuple[str, ...]]:
    # A few texts serve thousands of workloads.
    return parse_retention(text)


def _retention(spec: LabelSpec, policy: Policy, problems: list[Problem]) -> Retention:
    text = policy.default_retention if spec.keep is None else spec.keep
    label = "" if spec.keep is None else f"{policy.label_prefix}keep"
    try:
        retention, ignored = _parsed_retention(text)
    except SpecInvalid as error:
        problems.append(problem_of("keep.invalid", error.message, error.hint, label=label))
        return Retention(keep_all=True)
    if ignored:
        problems.append(
            problem_of(
                "keep.within-ignored",
                f"{', '.join(ignored)} works with backup-once only: Backrest cannot keep by time",
                "leave it out, or use daily=, weekly= and so on",
                label=label,
            )
        )
    return retention


def _overridden(repo: str, spec: LabelSpec, this: _Pass) -> list[Problem]:
    view = this.view.repo_by_id.get(repo)
    if view is None or not view.overrides_retention:
        return []
    return [
        problem_of(
            "keep.overridden",
            f"the repository {repo} has a forget policy of its own: it decides what is kept",
            "remove that policy in Backrest if the plan's retention shall count",
            label="" if spec.keep is None else f"{this.policy.label_prefix}keep",
        )
    ]


def _flags(spec: LabelSpec, policy: Policy, problems: list[Problem]) -> tuple[str, ...]:
    flags = spec.backup_flags or ()
    if policy.hook_policy is HookPolicy.ALL:
        return flags
    allowed = allowed_flags(flags)
    if len(allowed) != len(flags):
        problems.append(
            problem_of(
                "hook.forbidden",
                f"{len(flags) - len(allowed)} of the backup flags are not allowed under "
                f"--hook-policy {policy.hook_policy}",
                "leave them out, or run the sidecar with --hook-policy all",
                label=f"{policy.label_prefix}backup-flags",
            )
        )
    return allowed


def _dump_problems(draft: _Draft, paths: tuple[str, ...], this: _Pass) -> list[Problem]:
    spec = draft.spec
    if spec.template not in DUMP_TEMPLATES or not (spec.dump_path or "").startswith("/"):
        return []  # the template itself tells what it needs
    label = f"{this.policy.label_prefix}dump.path"
    covered = covers(draft.workload, this.locator, paths, spec.dump_path or "")
    if covered:
        return []
    message = f"{label}: {spec.dump_path} lies in no mount of the container"
    hint = "write a path inside one of its volumes"
    if covered is not None:
        message = f"{label}: {spec.dump_path} is not among what the plan backs up"
        hint = f"add its directory to {this.policy.label_prefix}paths.include"
    return [problem_of("label.invalid", message, hint, label=label)]


def _shared_paths(
    rendered: Iterable[RenderedWorkload], view: DocumentView, policy: Policy
) -> list[Problem]:
    """Warn every workload that backs up a path which another plan backs up too."""
    holders: dict[str, list[str]] = {}
    for plan in view.plans:
        if not plan.id.startswith(policy.plan_id_prefix):
            for path in plan.paths:
                holders.setdefault(path, []).append(plan.id)
    planned = [item for item in rendered if item.plan is not None]
    for item in planned:
        for path in item.plan.paths if item.plan else ():
            holders.setdefault(path, []).append(item.plan_id)
    shared = {path: ids for path, ids in holders.items() if len(ids) > 1}
    return [
        _shared(item, path, shared[path])
        for item in planned
        for path in (item.plan.paths if item.plan else ())
        if path in shared
    ]


def _shared(item: RenderedWorkload, path: str, ids: Iterable[str]) -> Problem:
    others = ", ".join(other for other in ids if other != item.plan_id)
    return problem_of(
        "path.shared",
        f"{path} is backed up by {others} too",
        "leave it out of one of them",
        workload=item.workload.key,
        container=item.workload.names[0],
    )


def _with_problems(
    rendered: Iterable[RenderedWorkload], problems: Iterable[Problem]
) -> list[RenderedWorkload]:
    """Add problems that only the view over all workloads shows; a blocking one takes the plan."""
    by_key: dict[str, list[Problem]] = {}
    for problem in problems:
        by_key.setdefault(problem.workload, []).append(problem)
    if not by_key:
        return list(rendered)
    return [_with_more(item, by_key.get(item.workload.key, [])) for item in rendered]


def _with_more(item: RenderedWorkload, more: list[Problem]) -> RenderedWorkload:
    if not more:
        return item
    plan = None if any(problem.blocks for problem in more) else item.plan
    return item._replace(plan=plan, problems=(*item.problems, *more))
