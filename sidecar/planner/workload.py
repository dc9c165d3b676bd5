"""Containers → workloads: replicas, groups and Swarm services are one workload each.

Also the order in which the containers of a workload start.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType
from typing import NamedTuple

from sidecar.docker.models import PROJECT, SERVICE, SWARM_SERVICE, Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.registry import resolve_label
from sidecar.labels.trust import LabelSource, own_labels
from sidecar.planner.host_path import Locator
from sidecar.planner.memo import ItemMemo, Memo

ONEOFF = "com.docker.compose.oneoff"
DEPENDS_ON = "com.docker.compose.depends_on"
# Labels that Compose and Swarm write, each kind with the label that no image has: Compose
# writes the others into the images that it builds.
_IDENTITIES = (
    ("com.docker.compose.", "com.docker.compose.config-hash"),
    ("com.docker.swarm.", "com.docker.swarm.task.id"),
    ("com.docker.stack.", "com.docker.swarm.task.id"),
)
STACK = "com.docker.stack.namespace"
_STOPPED = frozenset({"created", "exited", "dead"})
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
"""What Docker takes as the name of a container, service, stack or project."""
# The container that holds a Podman pod's namespaces, called by the pod's id.
_INFRA = re.compile(r"[0-9a-f]{12}-infra", re.ASCII)
_RECREATED = re.compile(r"[0-9a-f]{12}_(.+)", re.ASCII)


class Workload(NamedTuple):
    """What one plan is made of: replicas, a group, a Swarm service or one container.

    `key` is the natural key, `PROJECT/SERVICE` or a name; `base` and `short_base` give the
    plan id with and without the project; `containers` are sorted by name; `labels` lack the
    prefix; `carriers` names, per label, the containers that carry the value that counts;
    `ignored` are the labels that only an image says; `keys` are the natural keys of what was
    joined by an explicit `id`, then the first container is the newest that runs; `links` are
    the container paths that were seen to be symbolic links.
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
    ignored: Mapping[str, str] = MappingProxyType({})
    keys: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    @property
    def scope(self) -> str:
        """The Compose project or Swarm stack; empty without either."""
        if self.project or not self.swarm_service:
            return self.project
        return self.containers[0].labels.get(STACK, "")

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
        self.images: Memo[Mapping[str, Mapping[str, str]]] = Memo()
        self.believed: Memo[Container] = Memo()

    def begin_pass(self) -> None:
        """Forget what the last pass did not ask for."""
        for memo in (self.units, self.images, self.believed):
            memo.begin_pass()

    def identified(self, inventory: Inventory) -> Sequence[Container]:
        """Return the containers without the names of services that only their images say."""
        images = self.images.recall(
            "", (inventory.image_labels,), _with_identities, inventory.image_labels
        )
        missing = inventory.missing_images
        if not images and not missing:
            return inventory.containers
        recall = self.believed.recall
        suspects = images.keys() | missing
        return [
            recall(one.id, (one, said), _without_identity_of_image, one, said)
            if one.image_id in suspects
            else one
            for one, said in [(c, images.get(c.image_id)) for c in inventory.containers]
        ]


def group_workloads(
    inventory: Inventory,
    policy: Policy,
    memos: WorkloadMemos | None = None,
    quiesced: AbstractSet[str] = frozenset(),
) -> list[Workload]:
    """Group an inventory into workloads, sorted by natural key.

    Containers without any label under the prefix are in them too where they are
    replicas or members of a group; `run` containers and the sidecar are not. `quiesced`
    are the ids of containers that a backup has stopped: they count as running.
    """
    memos = memos or WorkloadMemos()
    units: dict[Unit, list[Container]] = {}
    for unit, named in memos.placed.recall_all(memos.identified(inventory)):
        if unit is not None and named.id != policy.own_container_id:
            units.setdefault(unit, []).append(named)
    recall, of_image = memos.units.recall, inventory.image_labels.get
    missing = inventory.missing_images
    rendered: list[Workload] = []
    for unit, containers in units.items():
        # Of an unknown image only whether Docker has it no more.
        images = [of_image(c.image_id, c.image_id in missing) for c in containers]
        links = [inventory.links.get(c.id, ()) for c in containers] if inventory.links else ()
        inputs = (containers, images, policy, links)
        rendered.append(recall(unit, inputs, _render_unit, unit, containers, inventory, policy))
    workloads = _with_groups(rendered, policy.label_prefix)
    # The key may be that of a service and of a group or Swarm service; the names never are.
    return sorted(_join_by_id(workloads, inventory, policy, quiesced), key=_order)


def _with_groups(workloads: Iterable[Workload], prefix: str) -> list[Workload]:
    """Join the members of each group."""
    groups: dict[tuple[str, str], list[Workload]] = {}
    alone: list[Workload] = []
    for workload in workloads:
        group = workload.labels.get("group", "").strip()
        if group and workload.project:
            groups.setdefault((workload.project, group), []).append(workload)
        else:
            alone.append(workload)
    return [*alone, *(_join_group(*name, members, prefix) for name, members in groups.items())]


def _with_identities(
    image_labels: Mapping[str, Mapping[str, str]],
) -> dict[str, Mapping[str, str]]:
    """Return the images that have labels of Compose or Swarm."""
    kinds = tuple(kind for kind, _ in _IDENTITIES)
    return {
        image: labels
        for image, labels in image_labels.items()
        if any(label.startswith(kinds) for label in labels)
    }


def _without_identity_of_image(
    container: Container, of_image: Mapping[str, str] | None
) -> Container:
    """Take out what the image says too, unless Compose or Swarm made the container.

    `of_image` is None for an image that was removed: it may have said everything.
    """
    labels = dict(container.labels)
    said = labels if of_image is None else of_image
    for kind, proof in _IDENTITIES:
        if proof in labels and (of_image is None or of_image.get(proof) != labels[proof]):
            continue
        for key in [key for key in labels if key.startswith(kind)]:
            if said.get(key) == labels[key]:
                del labels[key]
    if len(labels) == len(container.labels):
        return container
    return replace(container, labels=labels)


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
    source = LabelSource(
        newest.name,
        newest.labels,
        newest.image_id,
        tuple([mount.destination for mount in newest.mounts]),
        links := tuple([link for item in ordered for link in inventory.links.get(item.id, ())]),
    )
    own = own_labels(
        source,
        inventory.image_labels.get(newest.image_id),
        policy,
        is_missing=newest.image_id in inventory.missing_images,
    )
    if own.labels and _INFRA.fullmatch(newest.name):
        own.problems.append(_of_pod(newest.name, policy.label_prefix))
    return Workload(
        key=key,
        base=f"{unit.project}_{unit.name}" if unit.project else unit.name,
        short_base=unit.name,
        project=unit.project,
        swarm_service=unit.name if unit.is_swarm else "",
        containers=ordered,
        labels=own.labels,
        carriers={},
        problems=tuple([replace(problem, workload=key) for problem in own.problems]),
        ignored=own.ignored,
        links=links,
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
        ignored={label: v for member in members for label, v in member.ignored.items()},
        links=tuple([link for member in members for link in member.links]),
    )


def _join_by_id(
    workloads: list[Workload], inventory: Inventory, policy: Policy, quiesced: AbstractSet[str]
) -> list[Workload]:
    """Join workloads of one project with the same explicit `id` and a data mount in common.

    Tools that deploy without a gap run the old container beside the new one, or leave it
    stopped, under another name.
    """
    named: dict[tuple[str, str], list[Workload]] = {}
    for workload in workloads:
        if base := workload.labels.get("id", "").strip():
            named.setdefault((workload.scope, base), []).append(workload)
    rivals = [members for members in named.values() if len(members) > 1]
    if not rivals:
        return workloads
    locator = Locator(policy, inventory.volumes)
    parts = [part for members in rivals for part in _with_common_data(members, locator)]
    joined = [part for part in parts if len(part) > 1]
    taken = {id(member) for part in joined for member in part}
    kept = [workload for workload in workloads if id(workload) not in taken]
    return [*kept, *(_join(part, inventory, policy, quiesced) for part in joined)]


def _with_common_data(members: Sequence[Workload], locator: Locator) -> list[list[Workload]]:
    """Part workloads into those that have data mounts in common, also through a third."""
    parts: list[tuple[set[str], list[Workload]]] = []
    for member in members:
        located = [locator.locate(mount) for mount in member.mounts]
        data = {place.host for place in located if not locator.why_not_data(place)}
        alike = [part for part in parts if part[0] & data]
        parts = [part for part in parts if not part[0] & data]
        merged = [workload for _, found in alike for workload in found]
        parts.append((data.union(*(found for found, _ in alike)), [*merged, member]))
    return [found for _, found in parts]


def _join(
    members: Sequence[Workload],
    inventory: Inventory,
    policy: Policy,
    quiesced: AbstractSet[str],
) -> Workload:
    """Join workloads into one, for which the newest running container speaks."""
    pairs = [(container, member) for member in members for container in member.containers]
    running = [pair for pair in pairs if pair[0].state not in _STOPPED or pair[0].id in quiesced]
    counted = running or pairs
    first, speaker = max(counted, key=lambda pair: (pair[0].created, pair[0].name))
    others = _by_name([container for container, _ in counted if container is not first])
    if running and len(speaker.containers) > sum(member is speaker for _, member in running):
        # A replica that is stopped says nothing either, although it may be the newest.
        left = [container for container, member in running if member is speaker]
        speaker = next(w for w in _of(left, inventory, policy) if first in w.containers)
    return speaker._replace(
        containers=(first, *others), keys=tuple(sorted({member.key for member in members}))
    )


def _of(
    containers: Iterable[Container], inventory: Inventory, policy: Policy
) -> Iterable[Workload]:
    """Return the workloads of a few containers, groups joined."""
    units: dict[Unit, list[Container]] = {}
    for container in containers:
        units.setdefault(_unit_of(container), []).append(container)
    rendered = [_render_unit(unit, listed, inventory, policy) for unit, listed in units.items()]
    return _with_groups(rendered, policy.label_prefix)


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
    problem = problem_of(
        "group.conflict",
        f"the members {', '.join(names)} of the group do not agree on {label}",
        "set it on one member only, or to the same value on all",
        container=names[0],
        label=label,
    )
    return replace(problem, workload=key)


def located(problem: Problem, workload: Workload) -> Problem:
    """Return a problem as that of a workload, and of its first container if it names none."""
    container = problem.container or workload.names[0]
    return replace(problem, workload=workload.key, container=container)


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
