"""Findings that only `lint` reports, and the file and line that a finding comes from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace

from sidecar.docker.models import PROJECT, SERVICE, Container, Inventory
from sidecar.labels.prefix import meant_label
from sidecar.labels.problem import Problem, Severity
from sidecar.labels.registry import REGISTRY, suggest_label
from sidecar.labels.values import has_tight_comma
from sidecar.planner.coverage import MountCoverage
from sidecar.planner.plan import RenderedWorkload
from sidecar.planner.plans import Rendered
from sidecar.planner.workload import Workload

NOT_ENABLED = "lint.not-enabled"
SWARM_ONLY = "lint.swarm-only"
PATH_ABSENT = "lint.path-absent"
SPLIT_COMMAND = "lint.split-command"
MISPLACED = "lint.misplaced"
NAME_EXCLUDED = "lint.name-excluded"

Positions = Mapping[tuple[str, str], tuple[str, int]]
"""(service, label) → file and line in a Compose file; the label "" is the service itself."""


@dataclass(frozen=True, slots=True)
class LintFinding(Problem):
    """A problem, or what only `lint` reports (`lint.*`), and where its label is.

    `file` and `line` (from 1) are empty and 0 where they are not known.
    """

    file: str = ""
    line: int = 0


def finding_of(problem: Problem) -> LintFinding:
    """Return a problem as a finding without file and line yet."""
    return LintFinding(**{field.name: getattr(problem, field.name) for field in fields(Problem)})


def find_not_enabled(rendered: Rendered, prefix: str) -> list[LintFinding]:
    """Find workloads with labels of ours that nothing switches on or off."""
    return [
        _not_enabled(workload, prefix)
        for workload in rendered.unlabelled
        if workload.labels and "enable" not in workload.labels
    ]


def _not_enabled(workload: Workload, prefix: str) -> LintFinding:
    names = sorted(workload.labels)
    meant = next((name for name in names if suggest_label(name) == "enable"), names[0])
    hint = f"add {prefix}enable=true, or remove the others"
    if suggest_label(meant) == "enable":
        hint = f"did you mean {prefix}enable instead of {prefix}{meant}?"
    return LintFinding(
        NOT_ENABLED,
        f"{workload.key} has labels but no {prefix}enable, so it is not backed up",
        hint,
        workload=workload.key,
        container=workload.carrier(meant),
        label=prefix + meant,
        severity=Severity.WARNING,
    )


def find_swarm_only(
    inventory: Inventory, swarm_only: Mapping[str, Mapping[str, str]], prefix: str
) -> list[LintFinding]:
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


def _swarm_only(service: str, label: str, container: Container | None) -> LintFinding:
    project = container.labels.get(PROJECT, "") if container else ""
    return LintFinding(
        SWARM_ONLY,
        f"{label} stands under deploy.labels, which only Swarm reads: no container carries it",
        "move it to the labels of the service itself",
        workload=f"{project}/{service}" if project else service,
        container=container.name if container else "",
        label=label,
        severity=Severity.WARNING,
    )


def misplaced(place: str, key: str, prefix: str) -> LintFinding | None:
    """Return the finding about a key of ours where no container carries it, None if it is not ours.

    `place` is that of a Compose file: `services.web.build.labels`, `volumes.data.labels`.
    """
    meant = key if key.startswith(prefix) else meant_label(key, prefix)
    if not meant:
        return None
    why = "where it does nothing: no container carries it as a label"
    if place.endswith(".build.labels"):
        why = "which labels the image: of an image's labels only paths are believed"
    return LintFinding(
        MISPLACED,
        f"{key} stands under {place}, {why}",
        f"write {meant} under the labels of the service itself",
        workload=place,
        label=key,
        severity=Severity.WARNING,
    )


def find_excluded_names(covered: Iterable[MountCoverage], prefix: str) -> list[LintFinding]:
    """Find mounts that a relative exclude leaves out whole, by the name of a folder above them."""
    found = {
        (one.workload, one.mount.destination): _excluded_name(one, prefix)
        for one in covered
        if one.left_out and not one.left_out.startswith("/")
    }
    return list(found.values())


def _excluded_name(one: MountCoverage, prefix: str) -> LintFinding:
    place = one.mount.destination
    return LintFinding(
        NAME_EXCLUDED,
        f"the exclude {one.left_out} also names a folder in {one.path}, so nothing of {place} "
        "is backed up",
        f"begin it with the container path, as in {place}/{one.left_out}, or name {place} itself",
        workload=one.workload,
        container=one.container,
        label=f"{prefix}paths.exclude",
        severity=Severity.WARNING,
    )


def find_split_commands(rendered: Rendered, prefix: str) -> list[LintFinding]:
    """Find commands that a comma takes apart although no blank follows it."""
    return [
        _split_command(item.workload, name, prefix)
        for item in rendered.workloads
        for name, text in item.workload.labels.items()
        if name.startswith(("snapshot-", "exec.")) and name in REGISTRY and REGISTRY[name].is_list
        if has_tight_comma(text)
    ]


def _split_command(workload: Workload, name: str, prefix: str) -> LintFinding:
    label = prefix + name
    return LintFinding(
        SPLIT_COMMAND,
        f"{label} is several commands, because a comma outside quotes ends a command",
        f"write {label}.0 for a command with commas in it; put a blank after one that is an end",
        workload=workload.key,
        container=workload.carrier(name),
        label=label,
        severity=Severity.WARNING,
    )


def included_paths(rendered: Rendered) -> Iterator[tuple[RenderedWorkload, str]]:
    """Yield the container paths that labels include, each once per workload."""
    for item in rendered.workloads:
        for path in dict.fromkeys(item.spec.include or ()):
            if path.startswith("/"):
                yield item, path


def path_absent(item: RenderedWorkload, path: str, prefix: str) -> LintFinding:
    """Return the finding about an include path that no container of its workload has."""
    workload = item.workload
    return LintFinding(
        PATH_ABSENT,
        f"{path} does not exist in {', '.join(workload.names)}: the backup would fail",
        "correct the path, or create it before the backup runs",
        workload=workload.key,
        container=workload.carrier("paths.include"),
        label=f"{prefix}paths.include",
        severity=Severity.WARNING,
    )


def placed(
    findings: Iterable[LintFinding], inventory: Inventory, positions: Positions
) -> list[LintFinding]:
    """Return the findings with the file and line of their label, else of their service."""
    lines: dict[str, dict[str, tuple[str, int]]] = {}
    for (service, label), place in positions.items():
        lines.setdefault(service, {})[label] = place
    services: dict[str, list[str]] = {}
    for container in inventory.containers if positions else ():
        service = container.labels.get(SERVICE, "")
        services.setdefault(container.name, []).append(service)
        services.setdefault(f"{container.labels.get(PROJECT, '')}/{service}", []).append(service)
    return [finding if finding.file else _placed(finding, services, lines) for finding in findings]


def _placed(
    finding: LintFinding,
    services: Mapping[str, list[str]],
    lines: Mapping[str, Mapping[str, tuple[str, int]]],
) -> LintFinding:
    names = (finding.container, finding.workload)
    near = dict.fromkeys(service for name in names for service in services.get(name, ()))
    # The line of the service is the second choice, after that of the label.
    for label in (finding.label, ""):
        for service in near:
            if place := _line_of(label, lines.get(service, {})):
                return replace(finding, file=place[0], line=place[1])
    return finding


def _line_of(label: str, lines: Mapping[str, tuple[str, int]]) -> tuple[str, int] | None:
    if label in lines:
        return lines[label]
    # The file may have only the indexed form of a list label.
    indexed = (place for name, place in lines.items() if _is_item(name, label))
    return next(indexed, None)


def _is_item(name: str, label: str) -> bool:
    return bool(label) and name.startswith(f"{label}.") and name[len(label) + 1 :].isdecimal()
