"""Coverage: which plan holds each mount, or why none does, and what labels leave unsaid."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime

from sidecar.core.labels import suggest_label
from sidecar.core.locate import Locator, is_under
from sidecar.core.policy import Policy
from sidecar.core.render import Rendered, RenderedWorkload, render
from sidecar.core.workload import PROJECT, SERVICE, Container, Inventory, Mount, Workload
from sidecar.model.problem import Problem, Severity
from sidecar.model.view import DocumentView, RepoView

NOT_ENABLED = "lint.not-enabled"
SWARM_ONLY = "lint.swarm-only"
PATH_ABSENT = "lint.path-absent"


@dataclass(frozen=True, slots=True)
class Finding(Problem):
    """A problem, or what only a lint looks for (`lint.*`), and where it was written.

    `file` and `line` (from 1) are empty and 0 where they are not known.
    """

    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class MountCoverage:
    """One mount of one container: the plan that holds it, or the reason why none does.

    `path` is the mount as the runner sees it, empty where it does not. With a plan
    a `reason` says that it holds only a part.
    """

    workload: str
    container: str
    mount: Mount
    plan: str = ""
    path: str = ""
    reason: str = ""


def finding_of(problem: Problem) -> Finding:
    """Give a problem as a finding that has no place yet."""
    return Finding(**{field.name: getattr(problem, field.name) for field in fields(Problem)})


def render_without_document(
    inventory: Inventory,
    policy: Policy,
    now: datetime,
    runner_mounts: tuple[Mount, ...] | None = None,
) -> tuple[DocumentView, Rendered]:
    """Render as if the document had every repository that is asked for, and no plan.

    Without a document this is not the sidecar's machine, so what is not known here is
    left out of the problems: repositories, and secrets that are only there.
    """
    label = f"{policy.label_prefix}repo"
    asked = (c.labels[label].strip() for c in inventory.containers if label in c.labels)
    names = dict.fromkeys([policy.default_repo or "default", *asked])
    view = DocumentView(repos=tuple(RepoView(name) for name in names))
    rendered = render(inventory, view, policy, now, runner_mounts)
    workloads = tuple(item._replace(problems=_knowable(item)) for item in rendered.workloads)
    return view, replace(rendered, workloads=workloads)


def _knowable(item: RenderedWorkload) -> tuple[Problem, ...]:
    unknown = ("repo.", "secret.missing")
    return tuple(problem for problem in item.problems if not problem.reason.startswith(unknown))


def cover_mounts(
    inventory: Inventory, rendered: Rendered, view: DocumentView, policy: Policy
) -> tuple[MountCoverage, ...]:
    """Say of each mount of each container which plan of the document will hold it."""
    survey = _Survey(rendered, view, policy, Locator(policy, inventory.volumes))
    found = list(survey.walk())
    seen = {c.id for w in survey.workloads() for c in w.containers}
    for container in inventory.containers:
        if container.id not in seen:
            found += _left_out(container, policy)
    return tuple(sorted(found, key=_coverage_order))


def _coverage_order(one: MountCoverage) -> tuple[str, str, str]:
    return one.workload, one.container, one.mount.destination


def _left_out(container: Container, policy: Policy) -> Iterator[MountCoverage]:
    own = container.id == policy.own_container_id
    reason = "the sidecar itself" if own else "a `run` container, which does not last"
    for mount in container.mounts:
        yield MountCoverage(container.name, container.name, mount, reason=reason)


class _Survey:
    """What is needed to answer for every mount; plans as they stand after the pass."""

    def __init__(
        self, rendered: Rendered, view: DocumentView, policy: Policy, locator: Locator
    ) -> None:
        self._rendered = rendered
        self._locator = locator
        self._prefix = policy.label_prefix
        self._plans = {plan.id: plan.paths for plan in view.plans}
        self._plans |= {plan.id: plan.paths for plan in rendered.plans}
        self._holders: dict[str, list[str]] = {}
        for plan_id, paths in self._plans.items():
            for path in paths:
                self._holders.setdefault(path, []).append(plan_id)

    def workloads(self) -> Iterator[Workload]:
        """All workloads, labelled or not."""
        yield from (item.workload for item in self._rendered.workloads)
        yield from self._rendered.unlabelled

    def walk(self) -> Iterator[MountCoverage]:
        """Answer for every mount of every workload."""
        for item in self._rendered.workloads:
            for container in item.workload.containers:
                for mount in container.mounts:
                    yield self._look(item.workload, container, mount, item)
        for workload in self._rendered.unlabelled:
            for container in workload.containers:
                for mount in container.mounts:
                    yield self._look(workload, container, mount, None)

    def _look(
        self, workload: Workload, container: Container, mount: Mount, item: RenderedWorkload | None
    ) -> MountCoverage:
        host = self._locator.place(mount).host
        path = (self._locator.runner_path(host) or "") if host else ""
        found = MountCoverage(workload.key, container.name, mount, path=path)
        own = item.plan_id if item else ""
        if holder := self._holder(path, own):
            return replace(found, plan=holder)
        if item is None:
            return replace(found, reason=self._why_unlabelled(workload))
        parts = [p for p in self._plans.get(own, ()) if path and is_under(p, path)]
        # Without the label a plan holds whole mounts: what lies below is another one.
        if parts and item.spec.include is not None:
            return replace(found, plan=own, reason=f"only {', '.join(parts)} of it")
        return replace(found, reason=self._why_not(item, mount))

    def _holder(self, path: str, own: str) -> str:
        """The plan that holds a path: the workload's own if it does, else any."""
        holders = [holder for root in _roots(path) for holder in self._holders.get(root, ())]
        return own if own in holders else next(iter(holders), "")

    def _why_unlabelled(self, workload: Workload) -> str:
        if "enable" in workload.labels:
            return f"{self._prefix}enable does not say yes"
        return "not labelled"

    def _why_not(self, item: RenderedWorkload, mount: Mount) -> str:
        if reason := self._locator.why_not_data(self._locator.place(mount)):
            return reason
        for skipped in item.paths.skipped:
            if skipped.mount == mount:
                return skipped.reason
        if item.plan is None:
            blocking = dict.fromkeys(p.reason for p in item.problems if p.blocks)
            return f"no plan: {', '.join(blocking)}"
        return "the plan does not hold it"


def _roots(path: str) -> Iterator[str]:
    """A path and all that it lies under, the nearest first; nothing for no path."""
    while path:
        yield path
        path = path.rpartition("/")[0] or ("/" if path != "/" else "")


def find_not_enabled(rendered: Rendered, prefix: str) -> list[Finding]:
    """Find workloads with labels of ours that nothing switches on or off."""
    return [
        _not_enabled(workload, prefix)
        for workload in rendered.unlabelled
        if workload.labels and "enable" not in workload.labels
    ]


def _not_enabled(workload: Workload, prefix: str) -> Finding:
    names = sorted(workload.labels)
    meant = next((name for name in names if suggest_label(name) == "enable"), names[0])
    hint = f"add {prefix}enable=true, or remove the others"
    if suggest_label(meant) == "enable":
        hint = f"did you mean {prefix}enable instead of {prefix}{meant}?"
    return Finding(
        NOT_ENABLED,
        f"{workload.key} has labels but no {prefix}enable, so it is not backed up",
        hint,
        workload=workload.key,
        container=workload.speaker(meant),
        label=prefix + meant,
        severity=Severity.WARNING,
    )


def find_swarm_only(
    inventory: Inventory, swarm_only: Mapping[str, Mapping[str, str]], prefix: str
) -> list[Finding]:
    """Find labels of ours under `deploy.labels`, by Compose service, that no container gets."""
    carried: dict[str, Container] = {}
    for container in inventory.containers:
        carried.setdefault(container.labels.get(SERVICE, ""), container)
    return [
        _swarm_only(service, label, carried.get(service))
        for service, labels in swarm_only.items()
        for label in labels
        if label.startswith(prefix)
        and (service not in carried or label not in carried[service].labels)
    ]


def _swarm_only(service: str, label: str, container: Container | None) -> Finding:
    project = container.labels.get(PROJECT, "") if container else ""
    return Finding(
        SWARM_ONLY,
        f"{label} stands under deploy.labels, which only Swarm reads: no container carries it",
        "move it to the labels of the service itself",
        workload=f"{project}/{service}" if project else service,
        container=container.name if container else "",
        label=label,
        severity=Severity.WARNING,
    )


def included_paths(rendered: Rendered) -> Iterator[tuple[RenderedWorkload, str]]:
    """List the container paths that labels name, each once a workload."""
    for item in rendered.workloads:
        for path in dict.fromkeys(item.spec.include or ()):
            if path.startswith("/"):
                yield item, path


def path_absent(item: RenderedWorkload, path: str, prefix: str) -> Finding:
    """Report an include path that no container of its workload has."""
    workload = item.workload
    return Finding(
        PATH_ABSENT,
        f"{path} does not exist in {', '.join(workload.names)}: the backup would fail",
        "correct the path, or create it before the backup runs",
        workload=workload.key,
        container=workload.speaker("paths.include"),
        label=f"{prefix}paths.include",
        severity=Severity.WARNING,
    )


Positions = Mapping[tuple[str, str], tuple[str, int]]
"""The file and line of a Compose service (key "") and of each of its labels."""


def placed(
    findings: Iterable[Finding], inventory: Inventory, positions: Positions
) -> list[Finding]:
    """Give each finding the file and line where its label stands, else its service."""
    lines: dict[str, dict[str, tuple[str, int]]] = {}
    for (service, label), place in positions.items():
        lines.setdefault(service, {})[label] = place
    services: dict[str, list[str]] = {}
    for container in inventory.containers if positions else ():
        service = container.labels.get(SERVICE, "")
        services.setdefault(container.name, []).append(service)
        services.setdefault(f"{container.labels.get(PROJECT, '')}/{service}", []).append(service)
    return [_placed(finding, services, lines) for finding in findings]


def _placed(
    finding: Finding,
    services: Mapping[str, list[str]],
    lines: Mapping[str, Mapping[str, tuple[str, int]]],
) -> Finding:
    names = (finding.container, finding.workload)
    near = dict.fromkeys(service for name in names for service in services.get(name, ()))
    # The service's own line does only where the label's is not known.
    for label in (finding.label, ""):
        for service in near:
            if place := _line_of(label, lines.get(service, {})):
                return replace(finding, file=place[0], line=place[1])
    return finding


def _line_of(label: str, lines: Mapping[str, tuple[str, int]]) -> tuple[str, int] | None:
    if label in lines:
        return lines[label]
    # A list label may stand there in its indexed form only.
    indexed = (place for name, place in lines.items() if _is_item(name, label))
    return next(indexed, None)


def _is_item(name: str, label: str) -> bool:
    return bool(label) and name.startswith(f"{label}.") and name[len(label) + 1 :].isdecimal()
