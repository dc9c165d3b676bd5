"""Services of a Compose file as the containers that Compose would make of them."""

from collections.abc import Iterator

from sidecar.docker.compose.containers import Project, mounts_of
from sidecar.docker.compose.shape import Service, labels_of
from sidecar.planner.workload import Container

_PREFIX = "com.docker.compose"


def containers_of(project: Project, name: str, service: Service) -> Iterator[Container]:
    """Give the containers that a service will have, one for each replica."""
    mounts = mounts_of(project, name)
    labels = labels_of(service.get("labels"))
    labels |= {
        f"{_PREFIX}.project": project.name,
        f"{_PREFIX}.service": name,
        f"{_PREFIX}.oneoff": "False",
        f"{_PREFIX}.depends_on": _dependencies(service),
    }
    for number in range(1, _replicas(service) + 1):
        own_name = f"{project.name}-{name}-{number}"
        chosen = service.get("container_name") or own_name
        yield Container(
            id=own_name,
            name=chosen,
            labels={**labels, f"{_PREFIX}.container-number": str(number)},
            mounts=mounts,
        )


def _replicas(service: Service) -> int:
    replicas = (service.get("deploy") or {}).get("replicas")
    scale = service.get("scale")
    counts = [count for count in (scale, replicas, 1) if count is not None]
    return 1 if service.get("container_name") and counts[0] else counts[0]


def _dependencies(service: Service) -> str:
    """The text of Compose's own label: `service:condition:restart`, comma-separated."""
    started = "service_started"
    found: dict[str, tuple[str, bool]] = {}
    for source in service.get("volumes_from") or ():
        if not source.startswith("container:"):
            found[source.removeprefix("service:").partition(":")[0]] = (started, False)
    modes = [service.get("network_mode"), service.get("ipc"), service.get("pid")]
    joined = [mode[8:] for mode in modes if mode and mode.startswith("service:")]
    joined += [link.partition(":")[0] for link in service.get("links") or ()]
    found |= dict.fromkeys(joined, (started, True))
    written = service.get("depends_on") or {}
    if isinstance(written, list):
        found |= dict.fromkeys(written, (started, False))
    else:
        for name, entry in written.items():
            body = entry or {}
            found[name] = (body.get("condition", started), body.get("restart", False))
    texts = [
        f"{key}:{condition}:{str(again).lower()}"
        for key, (condition, again) in sorted(found.items())
    ]
    return ",".join(texts)
