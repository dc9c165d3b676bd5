"""What Compose refuses in a file whose form is right: names and numbers that do not fit together.

Only for files that are read without Compose; what it has resolved it has checked.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from sidecar.docker.compose.containers import Project, dependencies_of, targets_of
from sidecar.docker.compose.shape import ComposeService, FileEntry, Grant, VolumeEntry
from sidecar.lib.errors import InventoryError

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_CONTAINER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]")


def check_consistency(
    project: Project, services: Mapping[str, ComposeService], source: str
) -> None:
    """Raise InventoryError for the first thing that Compose refuses in these services."""
    found = next(_faults(project, services), None)
    if found:
        what, hint = found
        raise InventoryError(f"{source}: {what}", hint)


_Fault = tuple[str, str]
"""What is wrong, and what to write instead."""


def _faults(project: Project, services: Mapping[str, ComposeService]) -> Iterator[_Fault]:
    """Yield what is wrong with all of the file, then with each chosen service."""
    file = project.file
    yield from _bad_names("services", file["services"])
    yield from _bad_names("volumes", file.get("volumes") or {})
    for name, service in file["services"].items():
        yield from _bad_form(name, service)
    for kind in ("secrets", "configs"):
        yield from _empty_files(kind, _entries(project, kind))
    for key, volume in (file.get("volumes") or {}).items():
        yield from _bad_volume(key, volume or {})
    for name, service in services.items():
        yield from _of_service(project, services, name, service)
    chosen = Counter(service.get("container_name", "") for service in services.values())
    for name, count in chosen.items():
        if name and count > 1:
            yield f"several services have the container_name {name}", "give each its own"
    if circle := _circle(services):
        yield f"services wait for each other: {', '.join(circle)}", "remove one `depends_on`"


def _bad_names(kind: str, names: Iterable[str]) -> Iterator[_Fault]:
    for name in names:
        if not _NAME.fullmatch(name):
            yield f"{kind}.{name} is no name to Compose", "use letters, digits, `.`, `_` and `-`"


def _bad_volume(key: str, entry: VolumeEntry) -> Iterator[_Fault]:
    external, own = entry.get("external"), entry.get("name")
    if external and entry.keys() & {"driver", "driver_opts", "labels"}:
        what = f"volumes.{key} is external, and has what only a volume of the file has"
        yield what, "keep `external` and `name` alone"
    if isinstance(external, dict) and own and external.get("name", own) != own:
        yield f"volumes.{key} has two names", "write only `name:` beside `external: true`"


def _bad_form(name: str, service: ComposeService) -> Iterator[_Fault]:
    # Compose reads the volumes of services that are not chosen, too.
    list(targets_of(name, service))
    chosen = service.get("container_name")
    if chosen is not None and not _CONTAINER_NAME.search(chosen):
        yield f"service {name}: container_name is no name of a container", "leave it out"
    labels = service.get("labels")
    if isinstance(labels, dict) and "" in labels:
        yield f"service {name} has a label without a key", "write `key: value`"
    taken = service.get("volumes_from") or []
    if len(set(taken)) < len(taken):
        yield f"service {name} names the same twice in volumes_from", "remove one of them"


def _empty_files(kind: str, entries: Mapping[str, FileEntry]) -> Iterator[_Fault]:
    for key, entry in entries.items():
        if not entry.keys() & {"file", "environment", "content", "external"}:
            yield f"{kind}.{key} says nothing of where it comes from", "write `file: ./path`"


def _entries(project: Project, kind: str) -> Mapping[str, FileEntry]:
    file = project.file
    return (file.get("secrets") if kind == "secrets" else file.get("configs")) or {}


def _of_service(
    project: Project, services: Mapping[str, ComposeService], name: str, service: ComposeService
) -> Iterator[_Fault]:
    for other, entry in dependencies_of(service).items():
        if other in services:
            continue
        if other in project.file["services"] and not entry.get("required", True):
            continue
        why = "which no chosen profile has" if other in project.file["services"] else "not there"
        yield f"service {name} needs the service {other}, {why}", "correct the name, or its profile"
    for kind, grants in (("secrets", service.get("secrets")), ("configs", service.get("configs"))):
        for source in _sources(grants or ()):
            if source not in _entries(project, kind):
                yield f"service {name} uses {source}, which {kind} do not have", "declare it there"
    yield from _numbers(name, service)
    for target, count in Counter(targets_of(name, service)).items():
        if count > 1:
            yield f"service {name} has several mounts at {target}", "keep one of them"


def _sources(grants: Collection[str | Grant]) -> Iterator[str]:
    for grant in grants:
        yield grant if isinstance(grant, str) else grant["source"]


def _numbers(name: str, service: ComposeService) -> Iterator[_Fault]:
    scale, replicas = service.get("scale"), (service.get("deploy") or {}).get("replicas")
    if None not in (scale, replicas) and scale != replicas:
        yield f"service {name}: scale and deploy.replicas differ", "keep one of them"
    if min(scale or 0, replicas or 0) < 0:
        yield f"service {name} has fewer than no containers", "write a number from 0"
    if service.get("container_name") and max(scale or 0, replicas or 0) > 1:
        yield f"service {name} has one container_name for several containers", "leave it out"


def _circle(services: Mapping[str, ComposeService]) -> list[str]:
    """Return the services that can never be first, because they wait for each other."""
    left = {name: dependencies_of(service).keys() for name, service in services.items()}
    while free := [name for name, waits in left.items() if not waits & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)
