"""All workloads of an inventory → `Rendered`: their plans, and problems between workloads.

Between workloads: plan ids, paths that two plans back up, plans that were renamed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from sidecar.backrest.document import DocumentView
from sidecar.backrest.plan import Plan
from sidecar.backrest.rules import CheckedPlans
from sidecar.docker.models import Inventory
from sidecar.labels.policy import Policy
from sidecar.labels.prefix import misspelt_prefixes
from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.registry import resolve_label, suggest_label
from sidecar.labels.spec import LabelSpec, parse_labels
from sidecar.labels.trust import without_templates
from sidecar.planner.ids import (
    IdClaim,
    Owners,
    plain_id,
    renamed_problems,
    resolve_ids,
    sanitize,
    suffixed_id,
)
from sidecar.planner.memo import Memo
from sidecar.planner.paths import resolve_paths
from sidecar.planner.plan import Draft, Pass, RenderedWorkload, render_plan
from sidecar.planner.source_links import source_link_problems
from sidecar.planner.workload import Workload, WorkloadMemos, group_workloads, located

_NO_OWNERS = Owners()
_SHOWN_PLANS = 3
_SHARED_HINT = "leave it out of one of them"


@dataclass(frozen=True, slots=True)
class Memos:
    """What passes over one document remember, by step; not thread-safe."""

    workloads: WorkloadMemos = field(default_factory=WorkloadMemos)
    drafts: Memo[Any] = field(default_factory=Memo)
    plans: Memo[Any] = field(default_factory=Memo)
    edits: Memo[Any] = field(default_factory=Memo)
    checked: CheckedPlans = field(default_factory=CheckedPlans)
    checked_of_runner: CheckedPlans = field(default_factory=CheckedPlans)

    def begin_pass(self) -> None:
        """Forget what the last pass did not ask for."""
        for memo in (self.workloads, self.drafts, self.plans, self.edits):
            memo.begin_pass()


@dataclass(frozen=True)
class Rendered:
    """All labelled workloads of an inventory, sorted by natural key.

    `unlabelled` are the workloads that no label enables; `ignored` are the problems with
    their labels; `kept` are the plans that stay because `enable` is misspelt.
    """

    workloads: tuple[RenderedWorkload, ...]
    ignored: tuple[Problem, ...] = ()
    unlabelled: tuple[Workload, ...] = ()
    kept: frozenset[str] = frozenset()

    @cached_property
    def has_labels(self) -> bool:
        """Whether any workload has a label of ours at all, or one that is nearly so."""
        listed = any(workload.labels for workload in self.unlabelled)
        return bool(self.workloads or self.ignored) or listed

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """The plans to be written, in the order of their workloads."""
        return tuple(item.plan for item in self.workloads if item.plan is not None)

    @cached_property
    def claimed(self) -> frozenset[str]:
        """Ids that belong to a workload, also where that has no plan to write now."""
        return self.kept.union(item.plan_id for item in self.workloads if item.plan_id)

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, sorted by workload."""
        found = [problem for item in self.workloads for problem in item.problems]
        return tuple(sorted((*found, *self.ignored), key=lambda problem: problem.workload))


def render(
    this: Pass,
    memos: Memos | None = None,
    owners: Owners = _NO_OWNERS,
    quiesced: AbstractSet[str] = frozenset(),
) -> Rendered:
    """Render the plans of every labelled workload.

    `owners` are those that are remembered; `quiesced` the ids of containers that a backup has
    stopped.
    """
    memos = memos or Memos()
    inventory, view, policy = this.inventory, this.view, this.policy
    fixed = (policy, this.runner_mounts)
    drafts: list[Draft] = []
    claims: list[IdClaim] = []
    unlabelled: list[Workload] = []
    workloads = group_workloads(inventory, policy, memos.workloads, quiesced)
    for workload in workloads:
        drafted = None
        if _may_be_enabled(workload):
            inputs = (workload, *_volumes_of(workload, inventory), *fixed)
            key = (workload.key, workload.swarm_service, workload.containers[0].name)
            drafted = memos.drafts.recall(key, inputs, _draft, workload, this)
        if drafted is None:
            unlabelled.append(workload)
        else:
            drafts.append(drafted[0])
            claims.append(drafted[1])
    ids = resolve_ids(claims, view, policy, replace(owners, workloads=workloads))
    rendered = _rendered(drafts, ids, this, (*fixed, this.now.date()), memos)
    new = [
        (claim, item.plan_id, item.plan.paths)
        for claim, item in zip(claims, rendered, strict=True)
        if item.plan is not None and item.plan_id not in view.plan_by_id
    ]
    taken = {item.plan_id for item in rendered}
    rendered = _with_problems(rendered, renamed_problems(new, taken, view, policy))
    rendered = _with_problems(rendered, _shared_paths(rendered, view, policy))
    if inventory.linked:
        found = source_link_problems(rendered, inventory.linked, policy.label_prefix)
        rendered = _with_problems(rendered, tuple(found))
    ignored = tuple(
        p for workload in unlabelled for p in _ignored_problems(workload, policy.label_prefix)
    )
    if inventory.services:
        ignored += tuple(_service_problems(workloads, inventory.services, policy.label_prefix))
    doubtful = [ids_of(workload, policy) for workload in unlabelled if _is_misspelt(workload)]
    kept = {plan_id for ids in doubtful for plan_id in ids if plan_id in view.plan_by_id}
    return Rendered(tuple(rendered), ignored, tuple(unlabelled), frozenset(kept))


def _service_problems(
    workloads: Iterable[Workload], services: Mapping[str, Mapping[str, str]], prefix: str
) -> Iterator[Problem]:
    """Yield what stands on Swarm services and not on their containers: it is not read."""
    for workload in workloads:
        labels = services.get(workload.swarm_service, {})
        names = sorted(label for label in labels if label.startswith(prefix))
        lacking = [name for name in names if name not in workload.containers[0].labels]
        if lacking:
            problem = problem_of(
                "label.swarm-service",
                f"{', '.join(lacking)} of the service {workload.swarm_service} "
                "is not on its containers: it is ignored",
                "write it below `labels` of the service in the stack file, not below "
                "`deploy`, or give it as --container-label",
                label=lacking[0],
            )
            yield located(problem, workload)


def _may_be_enabled(workload: Workload) -> bool:
    return "enable" in workload.labels or any(
        problem.reason == "group.conflict" for problem in workload.problems
    )


def _rendered(
    drafts: list[Draft],
    ids: list[tuple[str, tuple[Problem, ...]]],
    this: Pass,
    fixed: tuple[object, ...],
    memos: Memos,
) -> list[RenderedWorkload]:
    existing, choice = this.view.plan_by_id, (this.repos.assumed, this.view.repos)
    recall = memos.plans.recall
    return [
        recall(
            (draft.workload.key, draft.workload.swarm_service, plan_id),
            (draft, plan_id, about_id, existing.get(plan_id), *choice, *fixed),
            render_plan,
            draft,
            plan_id,
            about_id,
            this,
        )
        for draft, (plan_id, about_id) in zip(drafts, ids, strict=True)
    ]


def _volumes_of(workload: Workload, inventory: Inventory) -> tuple[object, ...]:
    """Return the volumes that a workload depends on: those it mounts, or all if it names some."""
    volumes = inventory.volumes
    for label, value in workload.labels.items():
        if "volume:" in value and label.startswith("paths."):
            return (volumes,)
    return tuple([volumes.get(mount.name) for mount in workload.mounts])


def _draft(workload: Workload, this: Pass) -> tuple[Draft, IdClaim] | None:
    """Parse a workload's labels; None when they do not opt it in."""
    prefix = this.policy.label_prefix
    spec, problems = parse_labels(workload.labels, prefix)
    if not spec.enable and not _is_doubtful(workload, problems, prefix):
        return None
    spec = _without_lists_of_image(spec, workload)
    spec, forbidden = without_templates(spec, this.policy)
    problems += forbidden
    misspelt = list(_misspelt_prefixes(workload, prefix))
    problems = [*_without_unknown(problems, misspelt), *misspelt]
    if spec.group and not workload.project:
        problems.append(_no_project(f"{prefix}group"))
    paths = resolve_paths(workload, spec, this.locator, prefix)
    draft = Draft(workload, spec, paths, (*problems, *paths.problems))
    return draft, _claim(draft, this.policy)


def _without_lists_of_image(spec: LabelSpec, workload: Workload) -> LabelSpec:
    """Clear lists that only an image says: a standing plan may have them from it."""
    names = {resolve_label(name)[0] for name in workload.ignored}
    fields = {label.field for label in names if label is not None}
    if "backup_flags" in fields and spec.backup_flags is None:
        spec = spec._replace(backup_flags=())
    if "iexclude" in fields and spec.iexclude is None:
        spec = spec._replace(iexclude=())
    return spec


def _ignored_problems(workload: Workload, prefix: str) -> list[Problem]:
    """Return the problems of a workload without plan: an image opts in, `enable` is misspelt."""
    found = [problem for problem in workload.problems if problem.reason == "label.from-image"]
    misspelt = list(_misspelt_prefixes(workload, prefix))
    found += [replace(problem, workload=workload.key) for problem in misspelt]
    if _is_misspelt(workload):
        _, problems = parse_labels(workload.labels, prefix)
        found += [
            located(problem, workload)
            for problem in _without_unknown(problems, misspelt)
            if _means_enable(problem.label.removeprefix(prefix))
        ]
    return found


def _is_misspelt(workload: Workload) -> bool:
    """Return whether a label is nearly `enable`, and none is."""
    return "enable" not in workload.labels and any(map(_means_enable, workload.labels))


def ids_of(workload: Workload, policy: Policy) -> tuple[str, str]:
    """Return the ids that a workload's plan may have."""
    spec, _ = parse_labels(workload.labels, policy.label_prefix)
    plain = plain_id(IdClaim(workload, spec, frozenset()), policy)
    return plain, suffixed_id(plain, workload.key)


def _misspelt_prefixes(workload: Workload, prefix: str) -> Iterator[Problem]:
    """Yield each of these problems once, of the first container that carries the label."""
    told: set[str] = set()
    for container in workload.containers:
        for problem in misspelt_prefixes(container.labels, prefix):
            if problem.label not in told:
                told.add(problem.label)
                yield replace(problem, container=container.name)


def _without_unknown(problems: Iterable[Problem], misspelt: Iterable[Problem]) -> list[Problem]:
    """Leave out what is told better: `backrest.io/enable` begins with our prefix too."""
    told = {problem.label for problem in misspelt}
    return [one for one in problems if one.reason != "label.unknown" or one.label not in told]


def _means_enable(label: str) -> bool:
    return resolve_label(label)[0] is None and suggest_label(label) == "enable"


def _no_project(label: str) -> Problem:
    return problem_of(
        "label.invalid",
        f"{label} joins containers of one Compose project, and this container has none",
        "remove it, or run the container with Compose",
        label=label,
    )


def _is_doubtful(workload: Workload, problems: Iterable[Problem], prefix: str) -> bool:
    """Return whether `enable` itself cannot be read: then an existing plan must stay."""
    return any(
        problem.reason in ("label.invalid", "group.conflict") and problem.label == f"{prefix}enable"
        for problem in (*workload.problems, *problems)
    )


def _claim(draft: Draft, policy: Policy) -> IdClaim:
    paths = frozenset([entry.runner for entry in draft.paths.entries])
    claim = IdClaim(draft.workload, draft.spec, paths)
    of_image = draft.workload.ignored.get("id", "")
    said = sanitize(policy.plan_id_prefix + of_image) if sanitize(of_image) else ""
    return claim._replace(plain=plain_id(claim, policy), said=said)


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
    listed = [path for item in planned for path in (item.plan.paths if item.plan else ())]
    total = len(holders) + len(listed)
    for item in planned:
        for path in item.plan.paths if item.plan else ():
            holders.setdefault(path, []).append(item.plan_id)
    problems: list[Problem] = []
    if len(holders) != total:
        shared = {path: ids for path, ids in holders.items() if len(ids) > 1}
        problems += [
            _shared(item, path, shared[path])
            for item in planned
            for path in (item.plan.paths if item.plan else ())
            if path in shared
        ]
    # With the slash what lies in a path follows it directly.
    ordered = sorted([f"{path.rstrip('/')}/" for path in holders])
    if any(below.startswith(above) for above, below in pairwise(ordered)):
        problems += _nested(planned, ordered, {f"{p.rstrip('/')}/": i for p, i in holders.items()})
    return problems


def _nested(
    planned: Iterable[RenderedWorkload], ordered: Iterable[str], holders: Mapping[str, list[str]]
) -> list[Problem]:
    """Warn of paths that lie in a path of another plan, once per plan that contains some.

    The workload of that plan is told; of a plan that is not ours, those whose paths lie in it.
    """
    items = {item.plan_id: item for item in planned}
    above: list[str] = []
    inside: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for path in ordered:
        while above and not path.startswith(above[-1]):
            above.pop()
        for root, container, plan_id in _pairs(path, above, holders):
            told = container if container in items else plan_id
            if told in items:
                inside.setdefault((told, container), (root, []))[1].append(plan_id)
        above.append(path)
    return [
        _contains(items[told], root, container, tuple(dict.fromkeys(ids)))
        for (told, container), (root, ids) in sorted(inside.items())
    ]


def _pairs(
    path: str, above: Sequence[str], holders: Mapping[str, list[str]]
) -> Iterator[tuple[str, str, str]]:
    """Yield each path above one, a plan that has it, and another plan that has the one."""
    for root in above:
        for container in holders[root]:
            for plan_id in holders[path]:
                if container != plan_id:
                    yield root, container, plan_id


def _contains(item: RenderedWorkload, root: str, container: str, ids: Sequence[str]) -> Problem:
    path = root.rstrip("/") or "/"
    if container == item.plan_id:
        more = f" and {len(ids) - _SHOWN_PLANS} more" if len(ids) > _SHOWN_PLANS else ""
        message = f"{path} holds what {', '.join(ids[:_SHOWN_PLANS])}{more} backs up too"
    else:
        message = f"what it backs up lies in {path}, which {container} backs up too"
    return located(problem_of("path.shared", message, _SHARED_HINT), item.workload)


def _shared(item: RenderedWorkload, path: str, ids: Iterable[str]) -> Problem:
    others = ", ".join(other for other in ids if other != item.plan_id)
    message = f"{path} is backed up by {others} too"
    return located(problem_of("path.shared", message, _SHARED_HINT), item.workload)


def _with_problems(
    rendered: Iterable[RenderedWorkload], problems: Iterable[Problem]
) -> list[RenderedWorkload]:
    """Add the problems between workloads; one that blocks takes the plan away."""
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
