"""In which order containers start, and in reverse stop: what others need comes first. PURE."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from sidecar.docker.usage import Container

_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_DEPENDS_ON = "com.docker.compose.depends_on"


def in_start_order(
    containers: Iterable[Container], providers: Mapping[str, str]
) -> tuple[Container, ...]:
    """Sort all containers of an engine so that what one needs comes before it, else by name.

    `providers` tells by a container's id the id or the name of the one whose network it
    shares. Needs count through others: hand in all, and choose from what comes back. Those
    that need each other in a circle leave the order by name.
    """
    known = sorted(containers, key=lambda one: (one.name, one.id))
    place = {one.id: index for index, one in enumerate(known)}
    named = {name: one.id for one in known for name in (one.name, one.id)}
    services: dict[tuple[str, str], list[str]] = {}
    for one in known:
        if service := one.labels.get(_SERVICE):
            services.setdefault((_project(one), service), []).append(one.id)
    graph = {}
    for one in known:
        needed = {found for entry in _entries(one) for found in services.get(entry, ())}
        needed |= {named[ref] for ref in (providers.get(one.id, ""),) if ref in named}
        graph[one.id] = needed - {one.id}
    try:
        return tuple(known[index] for index in _sorted(graph, place))
    except CycleError:
        return tuple(known)


def _sorted(graph: Mapping[str, set[str]], place: Mapping[str, int]) -> list[int]:
    """Give the places in layers, each of which needs only those before it."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ordered: list[int] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        ordered += sorted(place[one] for one in ready)
        sorter.done(*ready)
    return ordered


def _project(container: Container) -> str:
    return container.labels.get(_PROJECT, "")


def _entries(container: Container) -> Iterable[tuple[str, str]]:
    """Give the services that Compose says it depends on: `NAME:CONDITION:RESTART,...`."""
    said = container.labels.get(_DEPENDS_ON, "")
    names = (entry.partition(":")[0].strip() for entry in said.split(","))
    return ((_project(container), name) for name in names if name)
