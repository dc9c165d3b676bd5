"""Pure records of what Docker has: containers with their mounts, volumes, image labels."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
SWARM_SERVICE = "com.docker.swarm.service.name"

# A process that is paused has its files open, and one that restarts opens them again.
_STATES_AT_WORK = frozenset({"running", "paused", "restarting"})


class Mount(NamedTuple):
    """One mount of a container, as Docker's container list has it.

    `type` is bind, volume, tmpfs, ...; `source` the host path ("" when the list
    has none); `destination` the path in the container; `name` and `driver` are
    those of a volume; `subpath` is the folder of the volume that is mounted instead of
    its root (`photos/2026`), which `source` does not show. `is_writable` is false for what
    was mounted with `:ro`.
    """

    type: str
    source: str
    destination: str
    name: str = ""
    driver: str = ""
    subpath: str = ""
    is_writable: bool = True


@dataclass(frozen=True, slots=True)
class Volume:
    """One entry of Docker's volume list; `options` are its driver options."""

    name: str
    driver: str = "local"
    mountpoint: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


class ImageIndex(NamedTuple):
    """Where Docker finds the image for one platform: by the id of the index of all of them.

    `platform` is in JSON, as Docker takes it; empty where it is not told.
    """

    id: str
    platform: str


@dataclass(frozen=True, slots=True)
class Container:
    """One container: `name` without the leading slash, `created` in unix seconds.

    `image` is the reference that it was made of (`docker.io/library/postgres:16`), or an
    id where that name has gone to another image. `image_id` is that of the image for the
    container's platform, and `index` tells where that is where there are several.
    `goes_when_stopped`: it was started with `--rm`, so that a stop removes it.
    """

    id: str
    name: str
    image_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    created: int = 0
    state: str = "running"
    image: str = ""
    index: ImageIndex | None = None
    goes_when_stopped: bool = False

    @property
    def is_at_work(self) -> bool:
        """Whether a process of it is there that may use its files."""
        return self.state in _STATES_AT_WORK

    @property
    def swarm_service(self) -> str:
        """The Swarm service whose part it is, empty if of none: Swarm would replace it."""
        return self.labels.get(SWARM_SERVICE, "")


@dataclass(frozen=True, slots=True)
class ContainerState:
    """The state of a container: `status` such as `exited`, `finished` as Docker writes times."""

    id: str
    name: str
    status: str
    finished: str


@dataclass(frozen=True, slots=True)
class SwarmService:
    """A Swarm service; `replicas` is None for one that has no scale.

    `labels` are those that its containers get.
    """

    id: str
    name: str
    replicas: int | None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that Docker had at one moment.

    `volumes` by name; `image_labels` by image id, only for images that are known.
    `missing_images` are the ids of those that Docker does not have any more. `services`
    are the labels of Swarm services by name, empty where they may not be read. `links` are
    the symbolic links that were seen on the way to paths that an image names: container
    paths, by container id. `linked` are paths of plans on the host that were seen to be
    symbolic links, and where each leads to.
    """

    containers: tuple[Container, ...] = ()
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    image_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    missing_images: frozenset[str] = frozenset()
    services: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    links: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    linked: Mapping[str, str] = field(default_factory=dict)


def images_that_matter(
    containers: Iterable[Container], label_prefix: str, among: Iterable[Container] | None = None
) -> dict[str, ImageIndex | None]:
    """Return the ids of the images whose labels decide about plans, and their indexes.

    Those of labelled containers, and of containers that say that they are of the same
    service as a labelled one: an image carries such labels too. `among` are the
    containers whose images are asked for, None for all.
    """
    wanted = list(containers) if among is None else list(among)
    labelled = [c for c in containers if any(map(_has_prefix(label_prefix), c.labels))]
    services = {unit for c in labelled if (unit := _service_of(c)) is not None}
    known = {c.id for c in labelled}
    matter = (c for c in wanted if c.id in known or _service_of(c) in services)
    return {c.image_id: c.index for c in matter if c.image_id}


def _has_prefix(prefix: str) -> Callable[[str], bool]:
    return lambda label: label.startswith(prefix)


def _service_of(container: Container) -> tuple[str, str] | None:
    labels = container.labels
    if SERVICE in labels:
        return labels.get(PROJECT, ""), labels[SERVICE]
    return ("", labels[SWARM_SERVICE]) if SWARM_SERVICE in labels else None
