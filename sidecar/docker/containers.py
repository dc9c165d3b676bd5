"""Containers as they are listed and inspected; stop, start and unpause them.

Nothing here imports pydantic, which would slow the runner's commands down.
"""

import json
import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

from sidecar.docker.client import DockerClient, reading
from sidecar.docker.failures import DockerError
from sidecar.docker.models import Container, ContainerState, Mount, Volume
from sidecar.docker.records import container_of, volumes_of
from sidecar.docker.run_line import ContainerTemplate, template_of
from sidecar.docker.stopped import parse_moment
from sidecar.lib.threads import Closable

CONTAINERS = "/containers/json?all=1"
"""The list of all containers, also of those that do not run."""
VOLUMES = "/volumes"

T = TypeVar("T")

_INFO = "/info"
# Some days: a command takes as long as it takes.
_LONGEST_SECONDS = 1e6
_SHARED_NETWORK = "container:"


def find_container(client: DockerClient, identity: str) -> ContainerState | None:
    """Inspect a container by its id or name; None if it does not exist. Raises DockerError."""
    if (entry := _inspect(client, identity)) is None:
        return None
    with reading(client.source(_path(identity, "json"))):
        return _state_of(entry)


def start_container(client: DockerClient, identity: str) -> None:
    """Start a container that must be there. Raises DockerError."""
    _act(client, identity, "start")


def unpause_container(client: DockerClient, identity: str) -> None:
    """Unpause a container that must be there. Raises DockerError."""
    _act(client, identity, "unpause")


class Containers(Closable):
    """Docker as the runner uses it; `close` closes its `client`.

    Every method raises DockerError, NoDocker where there is no such socket. Safe for threads.
    """

    def __init__(self, client: DockerClient) -> None:
        self.client = client

    @property
    def address(self) -> str:
        """Where Docker listens; empty where that cannot be known."""
        return self.client.address

    def close(self) -> None:
        """Close the connections that no call uses; the next call makes a new one."""
        self.client.close()

    def all(self) -> tuple[Container, ...]:
        """List all containers, also those that do not run, by name.

        Their mounts are the places on Docker's host where the files lie.
        """
        volumes = self._read(VOLUMES, volumes_of)
        listed = self._read(CONTAINERS, lambda entries: [container_of(one) for one in entries])
        found = [replace(one, mounts=_placed(one.mounts, volumes)) for one in listed]
        return tuple(sorted(found, key=lambda one: (one.name, one.id)))

    def providers(self) -> Mapping[str, str]:
        """Return, for each container that shares another's network, that other's id or name.

        Keys are ids, as in {"4f0c...": "vpn"}.
        """
        modes: dict[str, str] = self._read(CONTAINERS, _network_modes)
        return {
            container: mode.removeprefix(_SHARED_NETWORK)
            for container, mode in modes.items()
            if mode.startswith(_SHARED_NETWORK)
        }

    def labelled(self, label: str) -> tuple[Container, ...]:
        """List the containers with a label, given as `KEY` or `KEY=VALUE`."""
        key, equals, value = label.partition("=")
        return tuple(
            one
            for one in self.all()
            if key in one.labels and (not equals or one.labels[key] == value)
        )

    def find(self, name: str) -> Container | None:
        """Return the container of that id or name, without its mounts; None if there is none."""
        entry = _inspect(self.client, name) if name else None
        if entry is None:
            return None
        with reading(self.client.source(_path(name, "json"))):
            state, labels = _state_of(entry), entry["Config"].get("Labels") or {}
        # Docker also takes the first digits of an id.
        if name not in (state.id, state.name):
            return None
        return Container(state.id, state.name, labels=labels, state=state.status)

    def template(self, container: str) -> ContainerTemplate | None:
        """Return of what a container is made, for another one like it; None if there is none."""
        entry = _inspect(self.client, container) if container else None
        if entry is None:
            return None
        with reading(self.client.source(_path(container, "json"))):
            return template_of(entry)

    def state(self, container: str) -> ContainerState | None:
        """Return how a container stands; None if there is none."""
        return find_container(self.client, container)

    def now(self) -> float:
        """Return the time of Docker's clock in unix seconds: all its times are by that clock."""
        return self._read(_INFO, lambda info: parse_moment(info["SystemTime"]))

    def data_root(self) -> str:
        """Return the folder in which Docker keeps everything."""
        return self._read(_INFO, lambda info: str(info["DockerRootDir"]))

    def is_running(self, container: str) -> bool:
        """Return whether it has a process; False also if it does not exist."""
        found = self.find(container)
        return found is not None and found.is_at_work

    def goes_when_stopped(self, container: str) -> bool:
        """Return whether Docker removes it as soon as it is stopped (AutoRemove)."""
        return self._read(
            _path(container, "json"), lambda entry: bool(entry["HostConfig"].get("AutoRemove"))
        )

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it, by force after so many seconds. No error if already stopped or missing."""
        self.client.act(
            f"{_path(container, 'stop')}?t={seconds}", timeout=self.client.timeout + seconds
        )

    def start(self, container: str) -> bool:
        """Start it, if it is not running; False if it does not exist."""
        return self.client.act(_path(container, "start")) is not None

    def exit_status(self, container: str) -> int:
        """Wait until it has ended, and return the exit status of its command."""
        path = _path(container, "wait")
        answer = self.client.act(path, timeout=_LONGEST_SECONDS)
        with reading(self.client.source(path)):
            return int(json.loads(answer or b"null")["StatusCode"])

    def _read(self, path: str, parse: Callable[[Any], T]) -> T:
        answer = self.client.get(path)
        with reading(self.client.source(path)):
            return parse(json.loads(answer))


def _inspect(client: DockerClient, name: str) -> Any:
    """Return Docker's description of a container; None if there is none."""
    path = _path(name, "json")
    answer = client.find(path)
    if answer is None:
        return None
    with reading(client.source(path)):
        return json.loads(answer)


def _state_of(entry: Mapping[str, Any]) -> ContainerState:
    state, name = entry["State"], entry["Name"].removeprefix("/")
    return ContainerState(entry["Id"], name, state["Status"].lower(), state.get("FinishedAt", ""))


def _network_modes(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {one["Id"]: (one.get("HostConfig") or {}).get("NetworkMode", "") for one in entries}


def _placed(mounts: Iterable[Mount], volumes: Mapping[str, Volume]) -> tuple[Mount, ...]:
    """Return the mounts with normal paths: of a folder bound as a volume, that folder's."""
    return tuple(
        one._replace(
            source=_bound_folder(volumes.get(one.name)) or posixpath.normpath(one.source),
            destination=posixpath.normpath(one.destination),
        )
        for one in mounts
        if one.source
    )


def _bound_folder(volume: Volume | None) -> str:
    """Return the folder of the host that is bound as a volume; empty if none is."""
    if volume is None or volume.driver != "local":
        return ""
    kinds = set(volume.options.get("o", "").split(","))
    is_bound = bool({"bind", "rbind"} & kinds)
    return posixpath.normpath(volume.options.get("device", "/")) if is_bound else ""


def _act(client: DockerClient, identity: str, verb: str) -> None:
    if client.act(_path(identity, verb)) is None:
        raise DockerError(f"the container is gone, so it cannot {verb}")


def _path(container: str, what: str) -> str:
    return f"/containers/{quote(container, safe='')}/{what}"
