"""Which containers use a path of the host, where it is inside, and in which order they start.

Pure. Paths are normal and absolute, as `Containers.all` gives them.
"""

import posixpath
from collections.abc import Iterable, Sequence

from sidecar.docker.models import PROJECT, SERVICE, Container, Mount

_DEPENDS_ON = "com.docker.compose.depends_on"


def is_within(path: str, folder: str) -> bool:
    """Return whether a normal absolute path is the folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def users_of(
    paths: Iterable[str], containers: Iterable[Container], data_root: str
) -> tuple[Container, ...]:
    """Return the containers that have one of these paths mounted, a part of it, or a parent.

    A parent only counts if it is writable, and is not Docker's whole folder, which
    containers mount that back up or watch a machine.
    """
    wanted = tuple(paths)
    return tuple(
        one
        for one in containers
        if any(_uses(mount, path, data_root) for mount in one.mounts for path in wanted)
    )


def _uses(mount: Mount, path: str, data_root: str) -> bool:
    if is_within(mount.source, path):
        return True
    roots = (data_root, posixpath.join(data_root, "volumes"))
    has_all_volumes = any(is_within(root, mount.source) for root in roots)
    return is_within(path, mount.source) and mount.is_writable and not has_all_volumes


def on_host(path: str, own: Container | None) -> str:
    """Return where a path of this process's container is on the host, by the mounts.

    The path itself if it lies in none of them, or if we are in no container.
    """
    mounts = () if own is None else own.mounts
    covering = [one for one in mounts if is_within(path, one.destination)]
    if not covering:
        return path
    nearest = max(covering, key=lambda one: len(one.destination))
    rest = posixpath.relpath(path, nearest.destination)
    return posixpath.normpath(posixpath.join(nearest.source, rest))


def in_start_order(containers: Sequence[Container]) -> tuple[Container, ...]:
    """Sort by Compose's `depends_on`: what others need comes first. Stop in reverse order."""
    waiting = sorted(containers, key=lambda one: (one.name, one.id))
    ordered: list[Container] = []
    while waiting:
        open_services = {_service(one) for one in waiting}
        ready = [one for one in waiting if not _needs(one) & (open_services - {_service(one)})]
        # A circle, which Compose refuses, leaves the order by name.
        ordered += ready or waiting
        waiting = [one for one in waiting if one not in ordered]
    return tuple(ordered)


def _service(container: Container) -> tuple[str, str]:
    labels = container.labels
    project = labels.get(PROJECT, "")
    return project, labels.get(SERVICE, container.name)


def _needs(container: Container) -> set[tuple[str, str]]:
    entries = container.labels.get(_DEPENDS_ON, "").split(",")
    project, _ = _service(container)
    return {(project, entry.partition(":")[0].strip()) for entry in entries}
