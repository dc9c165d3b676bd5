"""Coverage: which plan holds each mount, or why none does."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from sidecar.backrest.document import DocumentView, RepoView
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Problem
from sidecar.planner.excludes import left_out_by
from sidecar.planner.host_path import Locator, is_under
from sidecar.planner.plan import Pass, RenderedWorkload
from sidecar.planner.plans import Rendered, render
from sidecar.planner.workload import Workload


@dataclass(frozen=True, slots=True)
class MountCoverage:
    """One mount of one container: the plan that holds it, or the reason why none does.

    `path` is the mount as the runner sees it, empty where it does not. A `reason` beside
    a plan says that the plan holds only a part. `left_out` is the exclude that takes all
    of it out of a plan.
    """

    workload: str
    container: str
    mount: Mount
    plan: str = ""
    path: str = ""
    reason: str = ""
    left_out: str = ""


def render_without_document(
    inventory: Inventory,
    policy: Policy,
    now: datetime,
    runner_mounts: tuple[Mount, ...] | None = None,
) -> tuple[DocumentView, Rendered]:
    """Render as if the document had every repository that labels name, and no plan.

    Without a document this is not the sidecar's machine. So problems with what only that
    machine knows are left out: repositories and secrets.
    """
    label = f"{policy.label_prefix}repo"
    asked = (c.labels[label].strip() for c in inventory.containers if label in c.labels)
    names = dict.fromkeys([policy.default_repo or "default", *asked])
    view = DocumentView(repos=tuple(RepoView(name) for name in names))
    rendered = render(Pass(inventory, view, policy, now, runner_mounts))
    workloads = tuple(item._replace(problems=_knowable(item)) for item in rendered.workloads)
    return view, replace(rendered, workloads=workloads)


def _knowable(item: RenderedWorkload) -> tuple[Problem, ...]:
    unknown = ("repo.", "secret.missing")
    return tuple(problem for problem in item.problems if not problem.reason.startswith(unknown))


def cover_mounts(
    inventory: Inventory,
    rendered: Rendered,
    view: DocumentView,
    policy: Policy,
    runner_mounts: tuple[Mount, ...] | None = None,
) -> tuple[MountCoverage, ...]:
    """Return for each mount of each container which plan of the document will hold it.

    `runner_mounts` are those with which the plans were rendered.
    """
    locator = Locator(policy, inventory.volumes, runner_mounts)
    survey = MountSurvey(rendered, view, policy, locator)
    found = list(survey.cover_all())
    surveyed = {c.id for w in survey.workloads() for c in w.containers}
    for container in inventory.containers:
        if container.id not in surveyed:
            found += _without_workload(container, policy)
    return tuple(sorted(found, key=_coverage_order))


def _coverage_order(one: MountCoverage) -> tuple[str, str, str]:
    return one.workload, one.container, one.mount.destination


def _without_workload(container: Container, policy: Policy) -> Iterator[MountCoverage]:
    own = container.id == policy.own_container_id
    reason = "the sidecar itself" if own else "a `run` container, which does not last"
    for mount in container.mounts:
        yield MountCoverage(container.name, container.name, mount, reason=reason)


class MountSurvey:
    """Finds the plan of each mount, among the plans as they are after the pass.

    `view` are the plans that stand, `rendered` what takes their place; `locator` is that of the
    pass.
    """

    def __init__(
        self, rendered: Rendered, view: DocumentView, policy: Policy, locator: Locator
    ) -> None:
        self._rendered = rendered
        self._locator = locator
        self._prefix = policy.label_prefix
        self._plans = {plan.id: plan.paths for plan in view.plans}
        self._plans |= {plan.id: plan.paths for plan in rendered.plans}
        self._excludes = {plan.id: (plan.excludes, plan.iexcludes) for plan in rendered.plans}
        self._holders: dict[str, list[str]] = {}
        for plan_id, paths in self._plans.items():
            for path in paths:
                self._holders.setdefault(path, []).append(plan_id)

    def workloads(self) -> Iterator[Workload]:
        """Yield all workloads, labelled or not."""
        yield from (item.workload for item in self._rendered.workloads)
        yield from self._rendered.unlabelled

    def cover_all(self) -> Iterator[MountCoverage]:
        """Yield the coverage of every mount of every workload."""
        for item in self._rendered.workloads:
            yield from self.cover(item.workload, item)
        for workload in self._rendered.unlabelled:
            yield from self.cover(workload, None)

    def cover(self, workload: Workload, item: RenderedWorkload | None) -> Iterator[MountCoverage]:
        """Yield the coverage of every mount of a workload."""
        for container in workload.containers:
            for mount in container.mounts:
                yield self._cover(workload, container, mount, item)

    def _cover(
        self, workload: Workload, container: Container, mount: Mount, item: RenderedWorkload | None
    ) -> MountCoverage:
        host = self._locator.locate(mount).host
        path = (self._locator.runner_path(host) or "") if host else ""
        found = MountCoverage(workload.key, container.name, mount, path=path)
        own = item.plan_id if item else ""
        holders = self._holders_of(path, own)
        left_out = {holder: self._left_out(holder, path) for holder in holders}
        if holder := next((holder for holder in holders if not left_out[holder]), ""):
            return replace(found, plan=holder)
        if holders:
            pattern = left_out[holders[0]]
            whose = "" if holders[0] == own else f" of {holders[0]}"
            reason = f"left out by the exclude {pattern}{whose}"
            return replace(found, reason=reason, left_out=pattern)
        if item is None:
            return replace(found, reason=self._why_unlabelled(workload))
        parts = [p for p in self._plans.get(own, ()) if path and is_under(p, path)]
        # Without the label a plan holds whole mounts: what lies below is another one.
        if parts and item.spec.include is not None:
            return replace(found, plan=own, reason=f"only {', '.join(parts)} of it")
        return replace(found, reason=self._why_not(item, mount))

    def _holders_of(self, path: str, own: str) -> list[str]:
        """Return the plans that hold a path, the workload's own first."""
        holders = [holder for root in _roots(path) for holder in self._holders.get(root, ())]
        return sorted(holders, key=lambda holder: holder != own)

    def _left_out(self, plan_id: str, path: str) -> str:
        """Return the exclude of a plan that leaves out all of a path, the empty string if none."""
        excludes, iexcludes = self._excludes.get(plan_id, ((), ()))
        folded = [pattern.casefold() for pattern in iexcludes]
        return left_out_by(path, excludes) or left_out_by(path.casefold(), folded)

    def _why_unlabelled(self, workload: Workload) -> str:
        if "enable" in workload.labels:
            return f"{self._prefix}enable does not say yes"
        return f"labelled, but without {self._prefix}enable" if workload.labels else "not labelled"

    def _why_not(self, item: RenderedWorkload, mount: Mount) -> str:
        if reason := self._locator.why_not_data(self._locator.locate(mount)):
            return reason
        for skipped in item.paths.skipped:
            if skipped.mount == mount:
                return skipped.reason
        if item.plan is None:
            blocking = dict.fromkeys(p.reason for p in item.problems if p.blocks)
            return f"no plan: {', '.join(blocking)}"
        return "the plan does not hold it"


def _roots(path: str) -> Iterator[str]:
    """Yield a path and all folders above it, the nearest first; nothing for the empty path."""
    while path:
        yield path
        path = path.rpartition("/")[0] or ("/" if path != "/" else "")
