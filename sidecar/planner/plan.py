"""One labelled workload → its plan, or the problems that say why there is none."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from sidecar.backrest.backup_flags import split_backup_flags
from sidecar.backrest.document import DocumentView, PlanView, RepoView
from sidecar.backrest.engine_name import EngineName
from sidecar.backrest.plan import Hook, Plan, Retention, Schedule
from sidecar.docker.models import Inventory, Mount
from sidecar.labels.flags import JudgedFlags, judge_flags, split_words
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.labels.problem import Problem, Severity, problem_of
from sidecar.labels.registry import resolve_label
from sidecar.labels.retention import parse_retention
from sidecar.labels.spec import LabelSpec
from sidecar.lib.text import SpecInvalid, quoted
from sidecar.planner.databases import live_databases
from sidecar.planner.dumps import DUMP_TEMPLATES
from sidecar.planner.hooks import resolve_hooks
from sidecar.planner.host_path import Locator, is_under, move, normal_path, without_nested
from sidecar.planner.paths import PathResult, covers
from sidecar.planner.repositories import RepoChooser, choose_repos
from sidecar.planner.workload import Workload, located
from sidecar.schedule.parse import is_every_minute, parse_schedule

_LARGEST_PLAN = 1 << 20
# Less was found than the labels ask for: an existing plan keeps all its paths.
_KEEPING = frozenset({"path.unmapped", "path.escape", "path.invisible", "mount.unsupported"})


class RenderedWorkload(NamedTuple):
    """One labelled workload: its plan, or None with problems that say why not.

    `permitted` (JSON) replaces keys of an existing plan although an error keeps the rest
    of it: what the hook policy forbids is removed in any case.
    """

    workload: Workload
    spec: LabelSpec
    plan_id: str
    plan: Plan | None
    paths: PathResult
    problems: tuple[Problem, ...]
    permitted: Mapping[str, list[Any]] | None = None


class Draft(NamedTuple):
    """A labelled workload whose labels and paths are resolved; its id is not chosen yet."""

    workload: Workload
    spec: LabelSpec
    paths: PathResult
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Pass:
    """What all workloads of one pass have in common.

    `now` (aware) only decides whether a schedule ever fires. `runner_mounts` are the mounts of
    the runner's container, None when they are not known.
    """

    inventory: Inventory
    view: DocumentView
    policy: Policy
    now: datetime
    runner_mounts: tuple[Mount, ...] | None = None

    @cached_property
    def locator(self) -> Locator:
        """Where the runner sees what a mount holds."""
        return Locator(self.policy, self.inventory.volumes, self.runner_mounts)

    @cached_property
    def repos(self) -> RepoChooser:
        """The repositories that plans go to."""
        return choose_repos(self.view, self.policy)


def render_plan(
    draft: Draft, plan_id: str, about_id: tuple[Problem, ...], this: Pass
) -> RenderedWorkload:
    """Render one draft; its problems never affect another workload."""
    workload, spec = draft.workload, draft.spec
    problems: list[Problem] = [*draft.problems, *about_id]
    existing = this.view.plan_by_id.get(plan_id)
    repo, found = this.repos.resolve(spec, existing)
    problems += found
    if repo in this.repos.overriding:
        problems.append(_overridden(repo, spec, this.policy))
    paths = _final_paths(draft, existing, this.locator)
    if not paths:
        problems.append(_no_paths(spec, this.policy))
    schedule, found = _schedule(spec, plan_id, this)
    problems += found
    retention, found = _retention(spec, this.policy)
    problems += found
    flags = judge_flags(spec.backup_flags or (), this.policy.hook_policy)
    if flags.refused:
        problems.append(_refused_flags(flags, this.policy))
    if repo and flags.items:
        problems += _flags_of_restic(flags.items, this.view.repo_by_id[repo], this.policy)
    hooks = resolve_hooks(workload, spec, plan_id, this.policy)
    problems += hooks.problems
    if spec.template in DUMP_TEMPLATES:
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
            backup_flags=flags.items,
            labelled=_labelled(spec),
        )
        problems += live_databases(workload, plan, this.locator, this.policy.label_prefix)
    if plan is not None and (size := _size_of(plan)) > _LARGEST_PLAN:
        problems.append(_too_large(size))
        plan = None
    permitted: dict[str, list[Any]] | None = None
    if plan is None:
        permitted, found = _permitted(draft, existing, hooks.hooks, this.policy, problems)
        problems += found
        if existing is not None and _has_ignored_paths(workload) and permitted is not None:
            kept = _within_mounts(existing.paths, workload, this.locator)
            permitted["paths"] = kept or list(paths) or list(existing.paths)
    # An error about a label stands for the warning about it.
    about = {(p.reason, p.label) for p in about_id if p.blocks}
    own = [p for p in workload.problems if (p.reason, p.label) not in about]
    told = (*own, *[located(problem, workload) for problem in problems])
    return RenderedWorkload(
        workload, spec, plan_id, plan if plan_id else None, draft.paths, told, permitted
    )


def _size_of(plan: Plan) -> int:
    """Return the bytes of a plan in the document; an upper bound where that is far from any limit.

    JSON writes a character in at most six bytes.
    """
    lists = (plan.paths, plan.excludes, plan.iexcludes, plan.backup_flags)
    characters = sum(len(text) for texts in lists for text in texts)
    characters += sum(len(str(value)) for hook in plan.hooks for value in hook.settings.values())
    if 6 * characters < _LARGEST_PLAN // 2:
        return 6 * characters
    return len(json.dumps(plan.to_json(), ensure_ascii=False, indent=2).encode())


def _too_large(size: int) -> Problem:
    return problem_of(
        "label.invalid",
        f"the plan would take {size >> 10} KiB of the document, more than {_LARGEST_PLAN >> 10}",
        "write shorter commands, name folders in place of what they hold, or split the group",
    )


def _permitted(
    draft: Draft,
    existing: PlanView | None,
    hooks: Iterable[Hook],
    policy: Policy,
    known: Collection[Problem],
) -> tuple[dict[str, list[Any]] | None, list[Problem]]:
    """Return what replaces forbidden parts of a plan that an error keeps; None: nothing does.

    And the problems with these parts that are not among those `known`.
    """
    permitted: dict[str, list[Any]] = {}
    flags, problems = _standing_flags(draft, existing, policy, known)
    if any(name.startswith("backup-flags") for name in draft.workload.ignored):
        # The standing ones may be the image's: only what the user says stays.
        flags = draft.spec.backup_flags or ()
    if flags is not None:
        permitted["backup_flags"] = list(flags)
    problems += _unreadable_hooks(draft, existing, policy)
    forbidden = (*draft.workload.problems, *known, *problems)
    if any(problem.reason == "hook.forbidden" for problem in forbidden) or any(
        map(_is_dangerous, draft.workload.ignored)
    ):
        permitted["hooks"] = [hook.to_json() for hook in hooks]
    return permitted or None, problems


def _unreadable_hooks(draft: Draft, existing: PlanView | None, policy: Policy) -> Iterator[Problem]:
    """Yield a problem for each label of hooks that the policy forbids and that cannot be read.

    Such a label must not protect the hooks that an earlier value of it has left in the plan.
    """
    if existing is None or policy.hook_policy is HookPolicy.ALL:
        return
    prefix = policy.label_prefix
    commands = (f"{prefix}snapshot-", f"{prefix}exec.")
    others = () if policy.hook_policy is HookPolicy.TEMPLATES else (f"{prefix}notify",)
    for problem in draft.problems:
        if problem.reason == "label.invalid" and problem.label.startswith((*commands, *others)):
            yield problem_of(
                "hook.forbidden",
                f"{problem.label} is not allowed under --hook-policy {policy.hook_policy}",
                "remove the label, or run the sidecar with --hook-policy all",
                label=problem.label,
            )


def _blocked(problems: Collection[Problem]) -> bool:
    return bool(problems) and any(problem.blocks for problem in problems)


def _labelled(spec: LabelSpec) -> frozenset[str]:
    """Return the keys of the plan that a label decides."""
    values = (
        ("schedule", spec.schedule),
        ("retention", spec.keep),
        ("iexcludes", spec.iexclude),
        ("backup_flags", spec.backup_flags),
    )
    return frozenset([key for key, value in values if value is not None])


def _final_paths(draft: Draft, existing: PlanView | None, locator: Locator) -> tuple[str, ...]:
    found = [entry.runner for entry in draft.paths.entries]
    if existing is not None and draft.paths.problems:
        kept = _kept_paths(draft.paths, existing, locator)
        if _has_ignored_paths(draft.workload):
            kept = _within_mounts(kept, draft.workload, locator)
        found += kept
    return without_nested(found) if len(found) > 1 else tuple(found)


def _kept_paths(paths: PathResult, existing: PlanView, locator: Locator) -> Iterable[str]:
    """Return the paths that an existing plan keeps although they were not found this time.

    All, when something that the labels ask for is missing. Otherwise the directories of
    mounts that cannot be backed up through the host: they may hold data while the
    containers run.
    """
    if {p.reason for p in paths.problems if p.severity is not Severity.WARNING} & _KEEPING:
        return existing.paths
    sources = [
        normal_path(s.mount.source) for s in paths.skipped if _is_elsewhere(s.mount, locator)
    ]
    roots = [root for source in sources if (root := locator.runner_path(source)) is not None]
    return [path for path in existing.paths if any(is_under(path, root) for root in roots)]


def _is_dangerous(name: str) -> bool:
    """Return whether a label decides what runs, with which flags, or which paths are read."""
    label, _ = resolve_label(name)
    return label is not None and (label.trusted or label.field == "include")


def _has_ignored_paths(workload: Workload) -> bool:
    """Return whether only an image named paths: an existing plan may have them from it."""
    return any(name.startswith("paths.include") for name in workload.ignored)


def _within_mounts(paths: Iterable[str], workload: Workload, locator: Locator) -> list[str]:
    """Return the paths that lie in a mount of the workload, as the runner sees them.

    Not those that pass through a link that was seen: it may lead out of the mount.
    """
    located = [(normal_path(mount.destination), locator.locate(mount)) for mount in workload.mounts]
    hosts = [location.host for _, location in located if location.host]
    roots = [root for host in hosts if (root := locator.runner_path(host)) is not None]
    linked = [
        locator.runner_path(move(link, destination, location.host))
        for link in workload.links
        for destination, location in located
        if location.host and is_under(link, destination)
    ]
    links = [link for link in linked if link is not None]
    inside = [path for path in paths if any(is_under(path, root) for root in roots)]
    return [path for path in inside if not any(is_under(path, link) for link in links)]


def _is_elsewhere(mount: Mount, locator: Locator) -> bool:
    return mount.type == "volume" and bool(mount.source) and not locator.locate(mount).host


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


def _schedule(spec: LabelSpec, plan_id: str, this: Pass) -> tuple[Schedule, list[Problem]]:
    text = this.policy.default_schedule if spec.schedule is None else spec.schedule
    label = "" if spec.schedule is None else f"{this.policy.label_prefix}schedule"
    try:
        schedule = parse_schedule(text, plan_id, this.now)
    except SpecInvalid as error:
        problem = problem_of("schedule.invalid", error.message, error.hint, label=label)
        return Schedule(), [problem]
    if not is_every_minute(text):
        return schedule, []
    problem = problem_of(
        "schedule.every-minute",
        f"schedule {quoted(text)} runs 60 times in each hour that it names",
        "write T or one minute as its first field, as T 2 * * *",
        label=label,
    )
    return schedule, [problem]


@lru_cache(maxsize=256)
def _parsed_retention(text: str) -> tuple[Retention, tuple[str, ...]]:
    # A few texts serve thousands of workloads.
    return parse_retention(text)


def _retention(spec: LabelSpec, policy: Policy) -> tuple[Retention, list[Problem]]:
    text = policy.default_retention if spec.keep is None else spec.keep
    label = "" if spec.keep is None else f"{policy.label_prefix}keep"
    try:
        retention, ignored = _parsed_retention(text)
    except SpecInvalid as error:
        problem = problem_of("keep.invalid", error.message, error.hint, label=label)
        return Retention(keep_all=True), [problem]
    if not ignored:
        return retention, []
    problem = problem_of(
        "keep.within-ignored",
        f"{', '.join(ignored)} works with backup-once only: Backrest cannot keep by time",
        "leave it out, or use daily=, weekly= and so on",
        label=label,
    )
    return retention, [problem]


def _overridden(repo: str, spec: LabelSpec, policy: Policy) -> Problem:
    return problem_of(
        "keep.overridden",
        f"the repository {repo} has a forget policy of its own: it decides what is kept",
        "remove that policy in Backrest if the plan's retention shall count",
        label="" if spec.keep is None else f"{policy.label_prefix}keep",
    )


def _flags_of_restic(items: Iterable[str], repo: RepoView, policy: Policy) -> Iterator[Problem]:
    """Yield the problem of flags that only restic knows, where another engine makes the backup."""
    if repo.engine is EngineName.RESTIC:
        return
    label = f"{policy.label_prefix}backup-flags"
    try:
        others = split_backup_flags(word for item in items for word in split_words(item)).others
    except SpecInvalid as error:
        yield problem_of("label.invalid", error.message, error.hint, label=label)
        return
    if others:
        yield problem_of(
            "label.invalid",
            f"{label}: {', '.join(others)} is restic's, and {repo.id} is a repository of "
            f"{repo.engine}",
            "leave it out; flags that exclude files mean the same for every engine",
            label=label,
        )


def _standing_flags(
    draft: Draft, existing: PlanView | None, policy: Policy, known: Iterable[Problem]
) -> tuple[tuple[str, ...] | None, list[Problem]]:
    """Return what an existing plan that an error keeps may keep of its flags; None: all.

    And the problem with the others, unless it is among those `known`. They are judged like new
    ones: a label that we refuse to read, or an error elsewhere, must not protect what an earlier
    value has brought. Without the label they are a person's.
    """
    label = f"{policy.label_prefix}backup-flags"
    is_labelled = draft.spec.backup_flags is not None or any(
        problem.label == label for problem in draft.problems
    )
    if existing is None or not is_labelled:
        return None, []
    try:
        judged = judge_flags(existing.backup_flags, policy.hook_policy)
    except SpecInvalid:
        judged = JudgedFlags((), ("flags that cannot be split into words",))
    is_known = any(one.reason == "hook.forbidden" and one.label == label for one in known)
    problems = [_refused_flags(judged, policy)] if judged.refused and not is_known else []
    return judged.items if judged.items != existing.backup_flags else None, problems


def _refused_flags(judged: JudgedFlags, policy: Policy) -> Problem:
    label = f"{policy.label_prefix}backup-flags"
    hint = "write --flag or --flag=value, with flags of `restic backup` only"
    if judged.needs_all:
        hint = "leave them out, or run the sidecar with --hook-policy all"
    return problem_of(
        "hook.forbidden",
        f"{label}: not allowed under --hook-policy {policy.hook_policy}: "
        f"{', '.join(judged.refused)}",
        hint,
        label=label,
    )


def _dump_problems(draft: Draft, paths: tuple[str, ...], this: Pass) -> list[Problem]:
    target = draft.spec.dump_path or ""
    if not target.startswith("/"):
        return []  # the template itself reports what it needs
    label = f"{this.policy.label_prefix}dump.path"
    roots = {normal_path(mount.destination) for mount in draft.workload.mounts}
    if target.endswith("/") or normal_path(target) in roots:
        message = f"{label}: {target} is the place of a directory, not of a file"
        return [
            problem_of("label.invalid", message, f"write {target.rstrip('/')}/FILE", label=label)
        ]
    covered = covers(draft.workload, this.locator, paths, target)
    if covered:
        return []
    message = f"{label}: {target} lies in no mount of the container"
    hint = "write a path inside one of its volumes"
    if covered is not None:
        message = f"{label}: {target} is not among what the plan backs up"
        hint = f"add its directory to {this.policy.label_prefix}paths.include"
    return [problem_of("label.invalid", message, hint, label=label)]
