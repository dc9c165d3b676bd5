"""Observe Docker, or a saved list: containers, volumes, image labels.

What cannot be read raises InventoryError and never counts as empty.
"""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from sidecar.docker.answers import (
    InspectedHost,
    Observation,
    RawInventory,
    parse_containers,
    parse_environment,
    parse_identity,
    parse_image_labels,
    parse_inspected,
    parse_link_target,
    parse_saved,
    parse_services,
    parse_volume,
    parse_volumes,
    with_inspected,
)
from sidecar.docker.endpoint import parse_address
from sidecar.docker.models import (
    SWARM_SERVICE,
    Container,
    ImageIndex,
    Inventory,
    Volume,
    images_that_matter,
)
from sidecar.lib.errors import InventoryError
from sidecar.lib.read_file import read_file
from sidecar.lib.threads import Closable

_CONTAINERS = "/containers/json?all=1"
_VOLUMES = "/volumes"
_STAT = "X-Docker-Container-Path-Stat"
_INFO = "/info"
_SERVICES = "/services"
_TEMPLATE = ".hooks.template"
_ImageLabels = dict[str, Mapping[str, str]]
_SERVICE = ("com.docker.compose.project", "com.docker.compose.service")

_LARGEST_SAVED = 1 << 30


def load_saved(path: str | os.PathLike[str]) -> Inventory:
    """Read a saved inventory: a container list, or an object that `RawInventory` gives.

    Raises InventoryError naming the file, the entry and the field, never a value.
    """
    try:
        data = read_file(Path(path), _LARGEST_SAVED)
    except OSError as error:
        raise InventoryError(
            f"the saved inventory {path} cannot be read: {error.strerror}"
        ) from None
    return parse_saved(data, str(path))


class DockerInventory(Closable):
    """Docker as the sidecar observes it.

    `url` as in `parse_address`; `timeout` in seconds bounds each wait for Docker.
    Every method raises InventoryError when Docker cannot answer. Connects at the
    first call, and again after a failure. Not thread-safe.
    """

    def __init__(self, url: str | None = None, timeout: float = 30) -> None:
        # A saved list is read without a client.
        from sidecar.docker.client import DockerClient  # noqa: PLC0415

        parse_address(url)  # What cannot be used is told at once.
        self.client: DockerClient = DockerClient(url, timeout)
        self._image_labels: _ImageLabels = {}
        self._inspected: dict[str, InspectedHost] = {}

    @property
    def address(self) -> str:
        """Where Docker listens."""
        return self.client.address

    def close(self) -> None:
        """Close the connections; the next call makes new ones."""
        self.client.close()

    def observe(self, label_prefix: str = "backrest.", backrest: str = "backrest") -> Observation:
        """List all containers, all volumes, and the labels of the images that matter.

        The containers are not filtered by label: members of a group and the newest
        of disagreeing replicas count without one. Which images matter is told by
        `images_that_matter`. The subpaths of volumes, and whether a stop removes it, take one
        inspection of a container in its life: of labelled ones, of others of their services,
        and of the one called `backrest`.
        """
        try:
            return self._observe(label_prefix, backrest)
        except InventoryError:
            # What one of the two lists has asked anew may be as old as the failure.
            self.close()
            raise

    def _observe(self, label_prefix: str, backrest: str) -> Observation:
        client = self.client
        client.spoken()
        with ThreadPoolExecutor(max_workers=1) as beside:
            waiting = beside.submit(client.get, _VOLUMES)
            listed = client.get(_CONTAINERS)
            containers = parse_containers(listed, client.source(_CONTAINERS))
            volume_list = waiting.result()
        volumes = parse_volumes(volume_list, client.source(_VOLUMES))
        wanted = images_that_matter(containers, label_prefix)
        images = self._labels_of_images(wanted)
        missing = frozenset(wanted.keys() - images.keys())
        inspected = _inspected(containers, label_prefix, backrest)
        self._inspected = {one.id: self._inspect(one) for one in containers if one.id in inspected}
        known = dict(self._inspected)
        containers = tuple([with_inspected(one, known.get(one.id)) for one in containers])
        return Observation(
            Inventory(containers, volumes, images, missing, self._services(containers)),
            RawInventory(listed, volume_list, images, known),
        )

    def _inspect(self, container: Container) -> InspectedHost:
        """Return what only an inspection tells, which never changes.

        One without volumes and without a template of hooks is not asked for.
        """
        identity = container.id
        if (known := self._inspected.get(identity)) is not None:
            return known
        has_volumes = any(mount.type == "volume" for mount in container.mounts)
        if not has_volumes and not any(label.endswith(_TEMPLATE) for label in container.labels):
            return InspectedHost()
        path = f"/containers/{quote(identity, safe='')}/json"
        if (answer := self.client.find(path)) is None:
            return InspectedHost()  # gone since it was listed
        found = parse_inspected(answer, self.client.source(path))
        self._inspected[identity] = found
        return found

    def _services(self, containers: Iterable[Container]) -> Mapping[str, Mapping[str, str]]:
        """Return the labels of Swarm services, if there are tasks and they may be read."""
        if not any(SWARM_SERVICE in container.labels for container in containers):
            return {}
        answer = self.client.find_permitted(_SERVICES)
        return {} if answer is None else parse_services(answer, self.client.source(_SERVICES))

    def _labels_of_images(self, wanted: Mapping[str, ImageIndex | None]) -> _ImageLabels:
        """Inspect each image once; one that is missing is asked for again the next time."""
        known: _ImageLabels = {}
        for image in sorted(wanted):
            labels = self._image_labels.get(image)
            if labels is None:
                labels = self._read_labels(image, wanted[image])
            if labels is not None:
                known[image] = labels
        self._image_labels = known
        return dict(known)

    def _read_labels(self, image: str, index: ImageIndex | None) -> Mapping[str, str] | None:
        path = f"/images/{quote(index.id if index else image, safe=':')}/json"
        if index and index.platform:
            # Without it the containerd image store tells of the image for its own platform.
            path = f"{path}?platform={quote(index.platform, safe='')}"
        if (answer := self.client.find(path)) is None:
            return None
        return parse_image_labels(answer, self.client.source(path), image, index)

    def containers(self, ids: Collection[str]) -> tuple[Container, ...]:
        """List only these containers, in one call; those that are gone are not in it."""
        wanted = quote(json.dumps({"id": sorted(ids)}, separators=(",", ":")))
        path = f"{_CONTAINERS}&filters={wanted}"
        listed = self.client.get(path)
        # Docker also matches ids that begin with the given one.
        found = parse_containers(listed, self.client.source(path))
        return tuple([with_inspected(one, self._inspect(one)) for one in found if one.id in ids])

    def volume(self, name: str) -> Volume | None:
        """Return one volume with its driver options; None if it does not exist."""
        path = f"/volumes/{quote(name, safe='')}"
        answer = self.client.find(path)
        return None if answer is None else parse_volume(answer, self.client.source(path))

    def labels_of_image(
        self, image: str, index: ImageIndex | None = None
    ) -> Mapping[str, str] | None:
        """Return an image's own labels, which never change; None if it does not exist."""
        known = dict.fromkeys(self._image_labels)
        return self._labels_of_images({**known, image: index}).get(image)

    def identity(self) -> str:
        """Return Docker's lasting id; empty if a proxy does not permit the call."""
        answer = self.client.find_permitted(_INFO)
        return "" if answer is None else parse_identity(answer, self.client.source(_INFO))

    def archive_exists(self, container_id: str, path: str) -> bool:
        """Return whether a container has something at `path`; works for a stopped one too."""
        return self.client.find(_archive(container_id, path), method="HEAD") is not None

    def link_target(self, container_id: str, path: str) -> str:
        """Return where a symbolic link in a container leads to; empty if `path` is none."""
        return parse_link_target(self.client.header_of(_archive(container_id, path), _STAT))

    def time_zone_of(self, container: str) -> str | None:
        """Return a container's TZ variable; None if it or the container does not exist."""
        place = f"/containers/{quote(container, safe='')}/json"
        answer = self.client.find(place)
        source = self.client.source(place)
        variables = parse_environment(answer, source) if answer is not None else ()
        zones = [pair[3:] for pair in variables if pair.startswith("TZ=")]
        return zones[-1] or None if zones else None


def _archive(container_id: str, path: str) -> str:
    return f"/containers/{quote(container_id, safe='')}/archive?path={quote(path, safe='')}"


def _inspected(containers: Iterable[Container], label_prefix: str, backrest: str) -> frozenset[str]:
    """Return the ids of the containers that decide what a plan holds and stops.

    Not all of a host's: there may be thousands that nobody labelled.
    """
    containers = tuple(containers)
    labelled = {
        one.id
        for one in containers
        if one.name == backrest or any(label.startswith(label_prefix) for label in one.labels)
    }
    services = {_service(one) for one in containers if one.id in labelled} - {("", "")}
    return frozenset(
        one.id for one in containers if one.id in labelled or _service(one) in services
    )


def _service(container: Container) -> tuple[str, ...]:
    return tuple([container.labels.get(label, "") for label in _SERVICE])
