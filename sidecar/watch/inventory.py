"""Observing the world: an engine, or a saved list; it raises, and never says "nothing"."""

import os
import re
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import docker
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import DockerException
from docker.utils import kwargs_from_env
from requests import RequestException
from urllib3.exceptions import HTTPError

from sidecar.core.workload import Container, Inventory
from sidecar.errors import InventoryError, UsageError
from sidecar.watch.faults import explain_failure, explain_status
from sidecar.watch.listing import (
    Observation,
    RawInventory,
    parse_api_version,
    parse_containers,
    parse_environment,
    parse_image_labels,
    parse_saved,
    parse_volumes,
)
from sidecar.watch.own import own_container_id

__all__ = [
    "DEFAULT_ADDRESS",
    "Engine",
    "Observation",
    "RawInventory",
    "load_saved",
    "own_container_id",
    "parse_address",
]

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"

# The client library lets the exceptions of the two libraries below it through.
_FAILURES = (DockerException, RequestException, HTTPError)

_CONTAINERS = "/containers/json"
_VOLUMES = "/volumes"
_ImageLabels = dict[str, Mapping[str, str]]

_UNIX = "unix://"
_ADDRESS = re.compile(r"unix:///.+|(?:tcp|https?)://[^/@]+(?:/[^@]*)?")


def load_saved(path: str | os.PathLike[str]) -> Inventory:
    """Read a saved inventory: a container list, or an object that `RawInventory` gives.

    Raises InventoryError naming the file, the entry and the field, never a value.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InventoryError(
            f"the saved inventory {path} cannot be read: {error.strerror}"
        ) from None
    return parse_saved(data, str(path))


def parse_address(url: str | None) -> str:
    """Turn a flag's value, a bare socket path or nothing into the address of an engine."""
    address = (url or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS).strip()
    if address.startswith("/"):
        address = _UNIX + address
    if not _ADDRESS.fullmatch(address):
        shown = re.sub(r"//.*@", "//***@", address)
        raise UsageError(
            f"{shown} is no address of a Docker engine that can be used",
            "write /path/to/docker.sock, unix:///path, tcp://host:port or https://host:port",
        )
    return address


@dataclass(slots=True)
class _Clients:
    """Two connections, so that two lists can be read at once; `prefix` is `/vVERSION`."""

    first: Any
    second: Any
    prefix: str = ""

    def close(self) -> None:
        self.first.close()
        self.second.close()


class Engine:
    """A Docker engine as the sidecar sees it: three kinds of list, and two questions.

    `url` as in `parse_address`; `timeout` in seconds bounds each wait for the
    engine. Every method raises InventoryError when the engine cannot answer.
    Connects at the first call, and again after a failure. Not thread-safe.
    """

    def __init__(self, url: str | None = None, timeout: float = 30) -> None:
        self.address = parse_address(url)
        self._timeout = timeout
        self._clients: _Clients | None = None
        self._image_labels: _ImageLabels = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; the next call makes new ones."""
        if self._clients is not None:
            self._clients.close()
            self._clients = None

    def observe(self, label_prefix: str = "backrest.") -> Observation:
        """Look once: all containers, all volumes, and the images that matter.

        The containers are not filtered by label: members of a group and the newest
        of disagreeing replicas count without one. Images matter where a container
        of theirs carries a label under `label_prefix`.
        """
        try:
            return self._observe(self._connected(), label_prefix)
        except InventoryError:
            self.close()
            raise

    def _observe(self, clients: _Clients, label_prefix: str) -> Observation:
        with ThreadPoolExecutor(max_workers=1) as beside:
            waiting = beside.submit(self._get, clients.second, _VOLUMES)
            listed = self._get(clients.first, f"{_CONTAINERS}?all=1")
            containers = parse_containers(listed, self._source(_CONTAINERS))
            volume_list = waiting.result()
        volumes = parse_volumes(volume_list, self._source(_VOLUMES))
        wanted = _labelled_images(containers, label_prefix)
        images = self._labels_of_images(clients, wanted)
        return Observation(
            Inventory(containers, volumes, images), RawInventory(listed, volume_list, images)
        )

    def _labels_of_images(self, clients: _Clients, wanted: Iterable[str]) -> _ImageLabels:
        """Inspect each image once; one that was removed is unknown and asked for again."""
        known: _ImageLabels = {}
        for image in wanted:
            if image in self._image_labels:
                known[image] = self._image_labels[image]
                continue
            path = f"/images/{quote(image, safe=':')}/json"
            if (answer := self._find(clients, path)) is not None:
                known[image] = parse_image_labels(answer, self._source(path))
        self._image_labels = known
        return dict(known)

    def archive_exists(self, container_id: str, path: str) -> bool:
        """Tell whether a container has something at `path`; also of a stopped one."""
        place = f"/containers/{quote(container_id, safe='')}/archive?path={quote(path, safe='')}"
        return self._find(self._connected(), place, method="HEAD") is not None

    def time_zone_of(self, container: str) -> str | None:
        """Tell a container's TZ variable; None without one, or without that container."""
        place = f"/containers/{quote(container, safe='')}/json"
        answer = self._find(self._connected(), place)
        variables = parse_environment(answer, self._source(place)) if answer is not None else ()
        zones = [pair[3:] for pair in variables if pair.startswith("TZ=")]
        return zones[-1] or None if zones else None

    def _connected(self) -> _Clients:
        if self._clients is None:
            self._clients = self._connect()
            try:
                content = self._get(self._clients.first, "/version")
                version = parse_api_version(content, self._source("/version"))
            except InventoryError:
                self.close()
                raise
            self._clients.prefix = f"/v{version}"
        return self._clients

    def _connect(self) -> _Clients:
        try:
            self._knock()
            secured = {} if self.address.startswith(_UNIX) else kwargs_from_env()
            options = {**secured, "base_url": self.address, "version": DEFAULT_DOCKER_API_VERSION}
            return _Clients(docker.APIClient(**options), docker.APIClient(**options))
        except (*_FAILURES, OSError) as error:
            raise explain_failure(error, self.address, "GET /version") from error

    def _knock(self) -> None:
        """Open the socket once by hand: the client library leaves one open that fails."""
        if self.address.startswith(_UNIX):
            with socket.socket(socket.AF_UNIX) as door:
                door.settimeout(self._timeout)
                door.connect(self.address.removeprefix(_UNIX))

    def _source(self, path: str) -> str:
        return f"the answer of {self.address} to GET {path}"

    def _get(self, client: Any, path: str) -> bytes:
        status, content = self._ask(client, "GET", path)
        if status != 200:
            raise self._refused(status, content, "GET", path)
        return content

    def _find(self, clients: _Clients, path: str, method: str = "GET") -> bytes | None:
        """Ask for something that may not exist: None then."""
        status, content = self._ask(clients.first, method, path)
        if status == 404:
            return None
        if status != 200:
            raise self._refused(status, content, method, path)
        return content

    def _ask(self, client: Any, method: str, path: str) -> tuple[int, bytes]:
        # Bytes, not the library's decoded JSON: the parser that checks also decodes.
        prefix = self._clients.prefix if self._clients else ""
        url = f"{client.base_url}{prefix}{path}"
        try:
            response = client.request(method, url, timeout=self._timeout)
        except _FAILURES as error:
            raise explain_failure(error, self.address, f"{method} {_bare(path)}") from error
        return response.status_code, response.content

    def _refused(self, status: int, content: bytes, method: str, path: str) -> InventoryError:
        text = content.decode("utf-8", "replace")
        return explain_status(status, text, self.address, f"{method} {_bare(path)}")


def _labelled_images(containers: Iterable[Container], label_prefix: str) -> list[str]:
    """The images of labelled containers, each once, in the order of their ids."""
    images = {
        container.image_id
        for container in containers
        if any(label.startswith(label_prefix) for label in container.labels)
    }
    return sorted(images - {""})


def _bare(path: str) -> str:
    return path.partition("?")[0]
