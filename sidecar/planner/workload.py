"""Containers → workloads: replicas, groups and Swarm services are one workload each.

Also the order in which the containers of a workload start.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.registry import resolve_label
from sidecar.labels.trust import own_labels
from sidecar.planner.memo import ItemMemo, Memo

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONEOFF = "com.docker.compose.oneoff"
DEPENDS_ON = "com.docker.compose.depends_on"
SWARM_SERVICE = "com.docker.swarm.service.name"
# The container that holds a Podman pod's namespaces, called by the pod's id.
_INFRA = re.compile(r"[0-9a-f]{12}-infra", re.ASCII)
_RECREATED = re.compile(r"[0-9a-f]{12}_(.+)", re.ASCII)


class Workload(NamedTuple):
    """What one plan is made of: replicas, a group, a Swarm service or one container.

    `key` is the natural key, `PROJECT/SERVICE` or a name; `base` and `short_base` give the
    plan id with and without the project; `containers` are sorted by name; `labels` lack the
    prefix; `carriers` names, per label, the containers that carry the value that counts.
    """

    key: str
    base: str
    short_base: str
    project: str
    swarm_service: str
    containers: tuple[Container, ...]
    labels: Mapping[str, str]
    carriers: Mapping[str, tuple[str, ...]]
    problems: tuple[Problem, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The containers' names, sorted, each once."""
        if len(self.containers) == 1:
            return (self.containers[0].name,)
        return tuple(dict.fromkeys(container.name for container in self.containers))

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """The union of the containers' mounts, each once."""
        if len(self.containers) == 1:
            return self.containers[0].mounts
        return tuple(dict.fromkeys(m for c in self.containers for m in c.mounts))

    def carrier(self, label: str) -> str:
        """The container that a label means by "this one": the first that carries it."""
        return (self.carriers.get(label) or self.names)[0]


class Unit(NamedTuple):
    """What replicas have in common: containers with the same unit are one workload."""

    project: str
    name: str
    is_swarm: bool


class WorkloadMemos:
    """What grouping remembers: the unit of each container, the workload of each unit."""

    def __init__(self) -> None:
        self.placed: ItemMemo[Container, tuple[Unit | None, Container]] = ItemMemo(_place)
        self.units: Memo[Workload] = Memo()

    def begin_pass(self) -> None:
        """Forget what the last pass did not ask for."""
        self.units.begin_pass()


def group_workloads(
    inventory: Inventory, policy: Policy, memos: WorkloadMemos | None = None
) -> list[Workload]:
    """Group an inventory into workloads, sorted by natural key.

    Containers without any label under the prefix are in them too where they are
    replicas or members of a group; `run` containers and the sidecar are not.
    """
    memos = memos or WorkloadMemos()
    units: dict[Unit, list[Container]] = {}
    for unit, named in memos.placed.recall_all(inventory.containers):
        if unit is not None:
            units.setdefault(unit, []).append(named)
    groups: dict[tuple[str, str], list[Workload]] = {}
    alone: list[Workload] = []
    recall, of_image = memos.units.recall, inventory.image_labels.get
    for unit, listed in units.items():
        containers = [c for c in listed if c.id != policy.own_container_id]
        if not containers:
            continue
        images = [of_image(c.image_id) for c in containers]
        inputs = (containers, images, policy)
        workload = recall(unit, inputs, _render_unit, unit, containers, inventory, policy)
        group = workload.labels.get("group", "").strip()
        if group and unit.project:
            groups.setdefault((unit.project, group), []).append(workload)
        else:
            alone.append(workload)
    joined = [_join_group(*name, members, policy.label_prefix) for name, members in groups.items()]
    # The key may be that of a service and of a group or Swarm service; the names never are.
    return sorted((*alone, *joined), key=_order)


def _order(workload: Workload) -> tuple[str, str, tuple[str, ...]]:
    return (workload.key, workload.swarm_service, workload.names)


def _place(container: Container) -> tuple[Unit | None, Container]:
    """Return the unit of a container, None for one that only ran a command, and its real name."""
    if _is_oneoff(container):
        return None, container
    named = _with_real_name(container)
    return _unit_of(named), named


def _is_oneoff(container: Container) -> bool:
    return container.labels.get(ONEOFF) in ("True", "true")


def _with_real_name(container: Container) -> Container:
    """Return a container with its own name while Compose recreates it as `<12 hex>_NAME`."""
    # One character rules most names out, which is quicker than the pattern.
    match = container.name[12:13] == "_" and _RECREATED.fullmatch(container.name)
    if match and SERVICE in container.labels:
        return replace(container, name=match[1])
    return container


def _unit_of(container: Container) -> Unit:
    labels = container.labels
    project, service = labels.get(PROJECT, ""), labels.get(SERVICE, "")
    if project and service:
        return Unit(project, service, is_swarm=False)
    swarm = labels.get(SWARM_SERVICE, "")
    return Unit("", swarm or container.name or container.id[:12], is_swarm=bool(swarm))


def _render_unit(
    unit: Unit, containers: Sequence[Container], inventory: Inventory, policy: Policy
) -> Workload:
    """Return the workload of the replicas of a service (or of one container)."""
    key = f"{unit.project}/{unit.name}" if unit.project else unit.name
    ordered = _by_name(containers)
    newest = (
        max(ordered, key=lambda item: (item.created, item.id)) if len(ordered) > 1 else ordered[0]
    )
    image_labels = inventory.image_labels.get(newest.image_id, {})
    labels, problems = own_labels(newest.labels, newest.name, image_labels, policy)
    if labels and _INFRA.fullmatch(newest.name):
        problems.append(_of_pod(newest.name, policy.label_prefix))
    return Workload(
        key=key,
        base=f"{unit.project}_{unit.name}" if unit.project else unit.name,
        short_base=unit.name,
        project=unit.project,
        swarm_service=unit.name if unit.is_swarm else "",
        containers=ordered,
        labels=labels,
        carriers={},
        problems=tuple([replace(problem, workload=key) for problem in problems]),
    )


def _of_pod(container: str, prefix: str) -> Problem:
    return problem_of(
        "lint.misplaced",
        f"{container} is the infra container of a Podman pod, which has another name in each new "
        "pod: its plan's history ends there",
        f"give the {prefix} labels to a container of the pod (podman create --pod POD --label)",
        container=container,
    )


def _by_name(containers: Sequence[Container]) -> tuple[Container, ...]:
    if len(containers) == 1:
        return (containers[0],)
    return tuple(sorted(containers, key=lambda item: (item.name, item.created, item.id)))


def _join_group(project: str, name: str, members: Sequence[Workload], prefix: str) -> Workload:
    """Join the members of a group; it has the labels that all agree on or only one carries."""
    key = f"{project}/{name}"
    carried: dict[str, dict[str, list[str]]] = {}
    for member in members:
        for label, value in member.labels.items():
            carried.setdefault(label, {}).setdefault(value.strip(), []).extend(member.names)
    problems = [replace(p, workload=key) for member in members for p in member.problems]
    problems += [
        _conflict(key, prefix + label, by_value)
        for label, by_value in sorted(carried.items())
        if len(by_value) > 1
    ]
    agreed = {label: by_value for label, by_value in carried.items() if len(by_value) == 1}
    return Workload(
        key=key,
        base=f"{project}_{name}",
        short_base=name,
        project=project,
        swarm_service="",
        containers=_by_name([c for member in members for c in member.containers]),
        labels={label: value for label, by in agreed.items() for value in by},
        carriers=_carriers(agreed),
        problems=tuple(problems),
    )


def _carriers(agreed: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    """Return per label, also if it is indexed, the sorted names of the containers that carry it."""
    found: dict[str, set[str]] = {}
    for name, by_value in agreed.items():
        label, _ = resolve_label(name)
        carriers = found.setdefault(label.name if label else name, set())
        carriers.update(*by_value.values())
    return {name: tuple(sorted(carriers)) for name, carriers in found.items()}


def _conflict(key: str, label: str, by_value: Mapping[str, Sequence[str]]) -> Problem:
    names = sorted(name for names in by_value.values() for name in names)
    return problem_of(
        "group.conflict",
        f"the members {', '.join(names)} of the group do not agree on {label}",
        "set it on one member only, or to the same value on all",
        workload=key,
        container=names[0],
        label=label,
    )


def start_order(workload: Workload) -> list[str]:
    """Order container names by Compose's `depends_on`, then by name; stop in reverse.

    Services outside the workload are ignored; a cycle, which Compose refuses, leaves
    the order by name.
    """
    if len(workload.containers) == 1:
        return [workload.containers[0].name]
    services: dict[str, list[str]] = {}
    needs: dict[str, set[str]] = {}
    for container in workload.containers:
        service = container.labels.get(SERVICE, container.name)
        services.setdefault(service, []).append(container.name)
        entries = container.labels.get(DEPENDS_ON, "").split(",")
        needs.setdefault(service, set()).update(
            entry.partition(":")[0].strip() for entry in entries
        )
    graph = {service: needs[service] & services.keys() for service in services}
    try:
        ordered = _sorted_layers(graph)
    except CycleError:
        return list(workload.names)
    return list(dict.fromkeys(name for service in ordered for name in services[service]))


def _sorted_layers(graph: dict[str, set[str]]) -> list[str]:
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ordered: list[str] = []
    while sorter.is_active():
        layer = sorted(sorter.get_ready())
        ordered += layer
        sorter.done(*layer)
    return ordered
