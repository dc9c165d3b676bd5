"""The order in which the containers of a workload start."""

from graphlib import CycleError, TopologicalSorter

from sidecar.planner.workload import DEPENDS_ON, SERVICE, Workload


def start_order(workload: Workload) -> list[str]:
    """Order container names by Compose's `depends_on`, then by name; stop in reverse.

    Services that are not in the workload count for nothing; a circle, which
    Compose refuses, leaves the order by name.
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
