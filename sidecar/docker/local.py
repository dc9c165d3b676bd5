"""The containers of an engine: found, stopped for a while, started again whatever happens.

The containers of a Docker engine: which use a path or bear a label, stop them, start them.

What backing up once asks of an engine beyond finding, stopping and starting containers.
"""

import os
import posixpath
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import kwargs_from_env
from requests import RequestException
from urllib3.exceptions import HTTPError

from sidecar.docker.usage import ContainerUse, Held
from sidecar.lib.errors import SidecarError
from sidecar.lib.threads import Closable

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

    def all(self) -> tuple[ContainerUse, ...]:
        """List all containers, also those that do not run, by name."""
        with self._told("list containers") as client:
            bound = _bound_volumes(client.volumes())
            found = [_container(entry, bound) for entry in client.containers(all=True)]
        return tuple(sorted(found, key=lambda one: (one.name, one.id)))

    def labelled(self, label: str) -> tuple[ContainerUse, ...]:
        """List those with a label, given as `KEY` or `KEY=VALUE`."""
        key, equals, value = label.partition("=")
        return tuple(
            one
            for one in self.all()
            if key in one.labels and (not equals or one.labels[key] == value)
        )

    def find(self, name: str) -> ContainerUse | None:
        """Return the container of that id or name; None if there is none."""
        return next((one for one in self.all() if name in (one.id, one.name)), None)

    def data_root(self) -> str:
        """Return the folder in which the engine keeps everything."""
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
        """Return the client; what it raises is put into words."""
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
    """Return the folders of the host that volumes stand for, by the volumes' names."""
    found = {}
    for volume in answer.get("Volumes") or ():
        options = volume.get("Options") or {}
        kinds = options.get("o", "").split(",")
        if volume.get("Driver") == "local" and {"bind", "rbind"} & set(kinds):
            found[volume["Name"]] = posixpath.normpath(options.get("device", "/"))
    return found


def _container(entry: Mapping[str, Any], bound: Mapping[str, str]) -> ContainerUse:
    # Another container that links to it adds a name with a second slash.
    names = [name[1:] for name in entry.get("Names") or () if name.count("/") == 1]
    mounts = entry.get("Mounts") or ()
    return ContainerUse(
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


MARK = "backrest-sidecar.backup-once"
"""The label of the containers that we make."""

_SHARED = "container:"


@dataclass(frozen=True, slots=True)
class OneShotContainer:
    """A container that runs one command and goes: `binds` as `HOST:CONTAINER:ro`.

    `env` may hold secrets, which reach the engine in the request's body and nothing else.
    """

    image: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    binds: tuple[str, ...] = ()


class OnceEngine(Containers):
    """As `Containers`; every method raises ContainersError. One thread at a time."""

    def providers(self) -> Mapping[str, str]:
        """Give, by the ids of those that share a network, the id or name of whose it is."""
        with self._told("list containers") as client:
            listed = client.containers(all=True)
        modes = {one["Id"]: (one.get("HostConfig") or {}).get("NetworkMode", "") for one in listed}
        return {
            container: mode.removeprefix(_SHARED)
            for container, mode in modes.items()
            if mode.startswith(_SHARED)
        }

    def now(self) -> float:
        """Return the engine's time, in unix seconds: that of everything that it tells."""
        with self._told("tell the time") as client:
            return _parse_time(client.info()["SystemTime"])

    def started_at(self, container: str) -> float | None:
        """Return when a container was started that is at work; None if it is not, or is gone."""
        with self._told(f"look at {container}") as client:
            try:
                state = client.inspect_container(container)["State"]
            except NotFound:
                return None
        is_at_work = state.get("Running") or state.get("Restarting")
        return _parse_time(state["StartedAt"]) if is_at_work else None

    def has_image(self, image: str) -> bool:
        """Tell whether the engine has an image."""
        with self._told(f"look at the image {image}") as client:
            try:
                client.inspect_image(image)
            except ImageNotFound:
                return False
        return True

    def pull(self, image: str) -> None:
        """Fetch an image from its registry, however long that takes."""
        with self._told(f"pull {image}") as client:
            for line in client.pull(image, stream=True, decode=True):
                if "error" in line:
                    raise ContainersError(f"{image} could not be pulled: {line['error']}")

    def create(self, name: str, shot: OneShotContainer) -> None:
        """Make the container, with a label that tells whose it is."""
        with self._told(f"create a container of {shot.image}") as client:
            client.create_container(
                shot.image,
                command=list(shot.command),
                name=name,
                environment=[f"{key}={value}" for key, value in shot.env],
                labels={MARK: "true"},
                host_config=client.create_host_config(binds=list(shot.binds)),
            )

    def perform(
        self, name: str, write: Callable[[bytes, bytes], None], is_stopping: Callable[[], bool]
    ) -> int:
        """Start what `create` made, hand on what it says, and give its exit status.

        `write` gets pieces of standard output and of standard error as they come. If
        `is_stopping` tells so by the time of the start, it is stopped at once.
        """
        with self._told(f"run {name}") as client:
            # Listened to from before the start: no log of the engine is needed.
            said = client.attach(name, stream=True, demux=True)
            client.start(name)
            if is_stopping():
                # Who wanted to stop it may have come when there was nothing to be stopped.
                client.stop(name)
            for out, err in said:
                write(out or b"", err or b"")
            return int(client.wait(name)["StatusCode"])

    def discard(self, name: str, seconds: int = 10) -> bool:
        """Stop and remove a container that `create` made; False if there is none of ours."""
        with self._told(f"remove {name}") as client:
            try:
                labels = client.inspect_container(name)["Config"].get("Labels") or {}
                if MARK not in labels:
                    return False
                client.stop(name, timeout=seconds)
                client.remove_container(name, v=True, force=True)
            except NotFound:
                return False
        return True


def _parse_time(text: str) -> float:
    """Parse the engine's time, which has more digits than we have use for."""
    return datetime.fromisoformat(text).timestamp()
