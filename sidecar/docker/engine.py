"""The containers of a Docker engine: which use a path or bear a label, stop them, start them."""

import os
import posixpath
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.utils import kwargs_from_env
from requests import RequestException
from urllib3.exceptions import HTTPError

from sidecar.docker.usage import Container, Held
from sidecar.lib.closing import Closable
from sidecar.lib.errors import SidecarError

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_FAILURES = (DockerException, RequestException, HTTPError, OSError)
_UNIX = "unix://"
_HINT = "start the engine, mount its socket into this container, or name another by DOCKER_HOST"


class ContainersError(SidecarError):
    """The engine could not be asked, or did not do what it was asked for."""


class NoEngine(ContainersError):
    """There is no engine at that address."""


class Containers(Closable):
    """Speaks to the engine at `address`, else at DOCKER_HOST, else at the usual socket.

    Each call takes at most `timeout` seconds, a stop so much longer as the container is
    given. Everything raises ContainersError, NoEngine where there is no such socket.
    """

    def __init__(
        self, address: str = "", environ: Mapping[str, str] | None = None, timeout: float = 30
    ) -> None:
        variables = os.environ if environ is None else environ
        self.address = _render_address(address or variables.get("DOCKER_HOST", ""))
        self._timeout = timeout
        self._lock = threading.Lock()
        self._known: Any = None

    def close(self) -> None:
        """Give the connection back; the next call makes a new one."""
        with self._lock:
            if self._known is not None:
                self._known.close()
                self._known = None

    def all(self) -> tuple[Container, ...]:
        """List all containers, also those that do not run, by name."""
        with self._told("list containers") as client:
            bound = _bound_volumes(client.volumes())
            found = [_container(entry, bound) for entry in client.containers(all=True)]
        return tuple(sorted(found, key=lambda one: (one.name, one.id)))

    def labelled(self, label: str) -> tuple[Container, ...]:
        """List those with a label, given as `KEY` or `KEY=VALUE`."""
        key, equals, value = label.partition("=")
        return tuple(
            one
            for one in self.all()
            if key in one.labels and (not equals or one.labels[key] == value)
        )

    def find(self, name: str) -> Container | None:
        """Give the container of that id or name; None if there is none."""
        return next((one for one in self.all() if name in (one.id, one.name)), None)

    def data_root(self) -> str:
        """Give the folder in which the engine keeps everything."""
        with self._told("look up the data root") as client:
            return str(client.info()["DockerRootDir"])

    def is_running(self, container: str) -> bool:
        """Tell whether a process of it is there; False also if it does not exist."""
        found = self.find(container)
        return found is not None and found.is_at_work

    def goes_when_stopped(self, container: str) -> bool:
        """Tell whether the engine removes it as soon as it is stopped."""
        with self._told("look at a container") as client:
            return bool(client.inspect_container(container)["HostConfig"].get("AutoRemove"))

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it, by force after so many seconds; that it is stopped or gone is as good."""
        with self._told(f"stop {container}") as client, _gone_is_fine():
            client.stop(container, timeout=seconds)

    def start(self, container: str) -> bool:
        """Start it, if it is not running; False if it does not exist."""
        with self._told(f"start {container}") as client:
            try:
                client.start(container)
            except NotFound:
                return False
        return True

    @contextmanager
    def _told(self, what: str) -> Iterator[Any]:
        """Give the client; what it raises is put into words."""
        try:
            with self._lock:
                self._known = client = self._known or self._connect()
            yield client
        except FileNotFoundError as error:
            raise NoEngine(f"there is no Docker engine at {self.address}", _HINT) from error
        except APIError as error:
            said = str(error.explanation or error).strip()
            raise ContainersError(f"the Docker engine would not {what}: {said}") from error
        except _FAILURES as error:
            reason = f"the Docker engine at {self.address} cannot be reached: {_line(error)}"
            raise ContainersError(reason, _HINT) from error

    def _connect(self) -> Any:
        is_local = self.address.startswith(_UNIX)
        if is_local:
            self._knock()
        options = {} if is_local else kwargs_from_env()
        client = docker.APIClient(
            **{
                **options,
                "base_url": self.address,
                "version": "auto",
                "timeout": self._timeout,
            }
        )
        # No proxy stands before a socket.
        client.trust_env = not is_local
        return client

    def _knock(self) -> None:
        """Open the socket once by hand: the client library leaves one open that fails."""
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(self._timeout)
            door.connect(self.address.removeprefix(_UNIX))


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except NotFound:
        return


def _render_address(said: str) -> str:
    address = said.strip() or DEFAULT_ADDRESS
    return _UNIX + address if address.startswith("/") else address


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _bound_volumes(answer: Mapping[str, Any]) -> dict[str, str]:
    """Give the folders of the host that volumes stand for, by the volumes' names."""
    found = {}
    for volume in answer.get("Volumes") or ():
        options = volume.get("Options") or {}
        kinds = options.get("o", "").split(",")
        if volume.get("Driver") == "local" and {"bind", "rbind"} & set(kinds):
            found[volume["Name"]] = posixpath.normpath(options.get("device", "/"))
    return found


def _container(entry: Mapping[str, Any], bound: Mapping[str, str]) -> Container:
    # Another container that links to it adds a name with a second slash.
    names = [name[1:] for name in entry.get("Names") or () if name.count("/") == 1]
    mounts = entry.get("Mounts") or ()
    return Container(
        id=entry["Id"],
        name=min(names, default=entry["Id"][:12]),
        state=entry.get("State", ""),
        labels=entry.get("Labels") or {},
        held=tuple(_held(mount, bound) for mount in mounts if mount.get("Source")),
    )


def _held(mount: Mapping[str, Any], bound: Mapping[str, str]) -> Held:
    volume = str(mount.get("Name", "")) if mount.get("Type") == "volume" else ""
    return Held(
        source=bound.get(volume) or posixpath.normpath(mount["Source"]),
        destination=posixpath.normpath(mount.get("Destination", "")),
        is_writable=bool(mount.get("RW", True)),
        volume=volume,
    )
