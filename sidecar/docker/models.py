"""Pure records of what Docker has: containers with their mounts, volumes, image labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Mount(NamedTuple):
    """One mount of a container, as Docker's container list has it.

    `type` is bind, volume, tmpfs, ...; `source` the host path ("" when the list
    has none); `destination` the path in the container; `name` and `driver` are
    those of a volume; `subpath` is the folder of the volume that is mounted instead of
    its root (`photos/2026`), which `source` does not show.
    """

    type: str
    source: str
    destination: str
    name: str = ""
    driver: str = ""
    subpath: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """One entry of Docker's volume list; `options` are its driver options."""

    name: str
    driver: str = "local"
    mountpoint: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    """One container: `name` without the leading slash, `created` in unix seconds.

    `image` is the reference that it was made of (`docker.io/library/postgres:16`), or an
    id where that name has gone to another image.
    """

    id: str
    name: str
    image_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    created: int = 0
    state: str = "running"
    image: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that Docker had at one moment.

    `volumes` by name; `image_labels` by image id, only for images that are known.
    """

    containers: tuple[Container, ...] = ()
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    image_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
