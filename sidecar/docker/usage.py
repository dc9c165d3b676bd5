"""Which containers use a path of the host, where it is inside, and in which order they start.

Pure but for `own_id`, which reads where this process runs.
"""

import os
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SWARM = "com.docker.swarm.service.name"
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_DEPENDS_ON = "com.docker.compose.depends_on"
# A process that is paused has its files open, and one that restarts opens them again.
_STATES_AT_WORK = frozenset({"running", "paused", "restarting"})
_HOSTNAME_FILE = re.compile(r"containers/([0-9a-f]{64})/(?:userdata/)?hostname$")
_SHORT_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class MountedPath:
    """A path of the host, and where a container has it mounted; `volume` is its name, if any."""

    source: str
    destination: str
    is_writable: bool = True
    volume: str = ""


@dataclass(frozen=True, slots=True)
class ContainerUse:
    """A container as Docker lists it; `state` in Docker's words."""

    id: str
    name: str
    state: str
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[MountedPath, ...] = ()

    @property
    def is_at_work(self) -> bool:
        """Whether a process of it is there that may use its files."""
        return self.state in _STATES_AT_WORK

    @property
    def service(self) -> str:
        """The Swarm service whose part it is, empty if of none: Swarm would replace it."""
        return self.labels.get(_SWARM, "")


def is_within(path: str, folder: str) -> bool:
    """Return whether a normal absolute path is the folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def users_of(
    paths: Iterable[str], containers: Iterable[ContainerUse], data_root: str
) -> tuple[ContainerUse, ...]:
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


def _uses(mount: MountedPath, path: str, data_root: str) -> bool:
    if is_within(mount.source, path):
        return True
    roots = (data_root, posixpath.join(data_root, "volumes"))
    has_all_volumes = any(is_within(root, mount.source) for root in roots)
    return is_within(path, mount.source) and mount.is_writable and not has_all_volumes


def on_host(path: str, own: ContainerUse | None) -> str:
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


def in_start_order(containers: Sequence[ContainerUse]) -> tuple[ContainerUse, ...]:
    """Sort by Compose's `depends_on`: what others need comes first. Stop in reverse order."""
    waiting = sorted(containers, key=lambda one: (one.name, one.id))
    ordered: list[ContainerUse] = []
    while waiting:
        open_services = {_service(one) for one in waiting}
        ready = [one for one in waiting if not _needs(one) & (open_services - {_service(one)})]
        # A circle, which Compose refuses, leaves the order by name.
        ordered += ready or waiting
        waiting = [one for one in waiting if one not in ordered]
    return tuple(ordered)


def _service(container: ContainerUse) -> tuple[str, str]:
    labels = container.labels
    project = labels.get(_PROJECT, "")
    return project, labels.get(_SERVICE, container.name)


def _needs(container: ContainerUse) -> set[tuple[str, str]]:
    entries = container.labels.get(_DEPENDS_ON, "").split(",")
    project, _ = _service(container)
    return {(project, entry.partition(":")[0].strip()) for entry in entries}


def own_container(containers: Iterable[ContainerUse], own: str) -> ContainerUse | None:
    """Return the container whose id is, or begins with, our own; None if there is none."""
    return next((one for one in containers if own and one.id.startswith(own)), None)


def own_id(proc: Path = Path("/proc/self"), environ: Mapping[str, str] | None = None) -> str:
    """Return the id of the container we are in, or its first twelve digits; "" if in none."""
    try:
        mounts = (proc / "mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        mounts = ""
    for line in mounts.splitlines():
        # Docker mounts `.../containers/ID/hostname` over /etc/hostname.
        fields = line.split(" ")
        if len(fields) > 4 and fields[4] == "/etc/hostname":
            found = _HOSTNAME_FILE.search(fields[3])
            return found[1] if found else ""
    name = (os.environ if environ is None else environ).get("HOSTNAME", "")
    return name if _SHORT_ID.fullmatch(name) else ""
