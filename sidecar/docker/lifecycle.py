"""List containers with what they have mounted, stop and start them, and run one-shot ones.

`Containers` is Docker as the runner uses it, `OneShotDocker` what `backup-once` needs
besides. Nothing here imports pydantic, which would slow the runner's commands down.
"""

import os
import posixpath
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound

from sidecar.docker.api_client import open_client
from sidecar.docker.endpoint import Endpoint, find_endpoint, probe_socket
from sidecar.docker.failures import FAILURES, explain_failure
from sidecar.docker.models import ContainerState
from sidecar.docker.stopped import parse_moment
from sidecar.docker.usage import ContainerUse, MountedPath
from sidecar.lib.errors import InventoryError, SidecarError, UsageError
from sidecar.lib.threads import Closable

MARK = "backrest-sidecar.backup-once"
"""The label of the containers that `create` makes."""

_SHARED_NETWORK = "container:"
_HINT = "start the engine, mount its socket into this container, or name another by DOCKER_HOST"


class ContainersError(SidecarError):
    """Docker could not be asked, or did not do what it was asked for."""


class NoDocker(ContainersError):
    """There is no socket of Docker at that address."""


class Containers(Closable):
    """Calls Docker at `address`, else where `find_endpoint` finds it by the variables.

    Each call takes at most `timeout` seconds; a stop takes longer by the seconds that the
    container is given. Every method raises ContainersError, NoDocker where there is no such
    socket. Safe for threads: calls at the same time have a connection each.
    """

    def __init__(
        self, address: str = "", environ: Mapping[str, str] | None = None, timeout: float = 30
    ) -> None:
        variables = os.environ if environ is None else environ
        self._endpoint = _find_endpoint(address, variables)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._idle: list[Any] = []

    @property
    def address(self) -> str:
        """Where Docker listens; empty where that cannot be known."""
        return self._endpoint.address if isinstance(self._endpoint, Endpoint) else ""

    def close(self) -> None:
        """Close the connections that no call uses; the next call makes a new one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()

    def all(self) -> tuple[ContainerUse, ...]:
        """List all containers, also those that do not run, by name."""
        with self._calling("list containers") as client:
            bound = _bound_volumes(client.volumes())
            found = [_container(entry, bound) for entry in client.containers(all=True)]
        return tuple(sorted(found, key=lambda one: (one.name, one.id)))

    def labelled(self, label: str) -> tuple[ContainerUse, ...]:
        """List the containers with a label, given as `KEY` or `KEY=VALUE`."""
        key, equals, value = label.partition("=")
        return tuple(
            one
            for one in self.all()
            if key in one.labels and (not equals or one.labels[key] == value)
        )

    def find(self, name: str) -> ContainerUse | None:
        """Return the container of that id or name, without its mounts; None if there is none."""
        entry = self._inspect(name)
        if entry is None:
            return None
        labels = entry["Config"].get("Labels") or {}
        own = entry["Name"].removeprefix("/")
        found = ContainerUse(entry["Id"], own, entry["State"]["Status"], labels)
        # Docker also takes the first digits of an id.
        return found if name in (found.id, found.name) else None

    def state(self, container: str) -> ContainerState | None:
        """Return how a container stands; None if there is none."""
        entry = self._inspect(container)
        if entry is None:
            return None
        state = entry["State"]
        name = entry["Name"].removeprefix("/")
        return ContainerState(entry["Id"], name, state["Status"], state.get("FinishedAt", ""))

    def now(self) -> float:
        """Return the time of Docker's clock in unix seconds: all its times are by that clock."""
        with self._calling("tell the time") as client:
            return parse_moment(client.info()["SystemTime"])

    def _inspect(self, name: str) -> Any:
        """Return Docker's description of a container; None if there is none."""
        if not name:
            return None
        with self._calling(f"look at {name}") as client:
            try:
                return client.inspect_container(name)
            except NotFound:
                return None

    def data_root(self) -> str:
        """Return the folder in which Docker keeps everything."""
        with self._calling("look up the data root") as client:
            return str(client.info()["DockerRootDir"])

    def is_running(self, container: str) -> bool:
        """Return whether it has a process; False also if it does not exist."""
        found = self.find(container)
        return found is not None and found.is_at_work

    def goes_when_stopped(self, container: str) -> bool:
        """Return whether Docker removes it as soon as it is stopped (AutoRemove)."""
        with self._calling("look at a container") as client:
            return bool(client.inspect_container(container)["HostConfig"].get("AutoRemove"))

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it, by force after so many seconds. No error if already stopped or missing."""
        with self._calling(f"stop {container}") as client, _ignore_missing():
            client.stop(container, timeout=seconds)

    def start(self, container: str) -> bool:
        """Start it, if it is not running; False if it does not exist."""
        with self._calling(f"start {container}") as client:
            try:
                client.start(container)
            except NotFound:
                return False
        return True

    @contextmanager
    def _calling(self, what: str) -> Iterator[Any]:
        """Lend a client; what it raises becomes ContainersError, with `what` in its text."""
        try:
            with self._lent_client() as client:
                yield client
        except FileNotFoundError as error:
            raise NoDocker(f"there is no Docker engine at {self.address}", _HINT) from error
        except APIError as error:
            reason = str(error.explanation or error).strip()
            raise ContainersError(f"the Docker engine would not {what}: {reason}") from error
        except FAILURES as error:
            told = explain_failure(error, self.address, f"the call to {what}")
            raise ContainersError(told.message, told.hint or _HINT) from error
        except (InventoryError, UsageError) as error:
            raise ContainersError(error.message, error.hint) from error

    @contextmanager
    def _lent_client(self) -> Iterator[Any]:
        """Lend a client that nobody else uses meanwhile: the library's is made for one thread."""
        with self._lock:
            client = self._idle.pop() if self._idle else None
        if client is None:
            client = self._connect()
        try:
            yield client
        finally:
            with self._lock:
                self._idle.append(client)

    def _connect(self) -> Any:
        if isinstance(self._endpoint, UsageError):
            raise self._endpoint
        probe_socket(self.address, self._timeout)
        return open_client(self._endpoint, version="auto", timeout=self._timeout)


@dataclass(frozen=True, slots=True)
class OneShotContainer:
    """A container that runs one command and ends: `binds` as `HOST:CONTAINER:ro`.

    `env` may hold secrets, which reach Docker in the request's body and nothing else.
    """

    image: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    binds: tuple[str, ...] = ()


class OneShotDocker(Containers):
    """Docker as `backup-once` uses it: images, and containers that run one command.

    As in `Containers`, every method raises ContainersError, and any thread may call it.
    """

    def providers(self) -> Mapping[str, str]:
        """Return, for each container that shares another's network, that other's id or name.

        Keys are ids, as in {"4f0c...": "vpn"}.
        """
        with self._calling("list containers") as client:
            listed = client.containers(all=True)
        modes = {one["Id"]: (one.get("HostConfig") or {}).get("NetworkMode", "") for one in listed}
        return {
            container: mode.removeprefix(_SHARED_NETWORK)
            for container, mode in modes.items()
            if mode.startswith(_SHARED_NETWORK)
        }

    def has_image(self, image: str) -> bool:
        """Return whether Docker has an image."""
        with self._calling(f"look at the image {image}") as client:
            try:
                client.inspect_image(image)
            except ImageNotFound:
                return False
        return True

    def pull(self, image: str) -> None:
        """Fetch an image from its registry, however long that takes."""
        with self._calling(f"pull {image}") as client:
            for line in client.pull(image, stream=True, decode=True):
                if "error" in line:
                    raise ContainersError(f"{image} could not be pulled: {line['error']}")

    def create(self, name: str, shot: OneShotContainer) -> None:
        """Create the container, with the label MARK."""
        with self._calling(f"create a container of {shot.image}") as client:
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
        """Start what `create` made, pass its output on, and return its exit status.

        `write` gets pieces of standard output and of standard error as they come. If
        `is_stopping` is true by the time of the start, the container is stopped at once.
        """
        with self._calling(f"run {name}") as client:
            # Attached before the start, so that no output is missed and no log is needed.
            output = client.attach(name, stream=True, demux=True)
            client.start(name)
            if is_stopping():
                # A stop that came before the start found nothing to stop.
                client.stop(name)
            for out, err in output:
                write(out or b"", err or b"")
            return int(client.wait(name)["StatusCode"])

    def discard(self, name: str, seconds: int = 10) -> bool:
        """Stop and remove a container that `create` made; False if there is none of ours."""
        with self._calling(f"remove {name}") as client:
            try:
                labels = client.inspect_container(name)["Config"].get("Labels") or {}
                if MARK not in labels:
                    return False
                client.stop(name, timeout=seconds)
                client.remove_container(name, v=True, force=True)
            except NotFound:
                return False
        return True


@contextmanager
def _ignore_missing() -> Iterator[None]:
    try:
        yield
    except NotFound:
        return


def _find_endpoint(address: str, variables: Mapping[str, str]) -> Endpoint | UsageError:
    """Find it now, for the environment may change; what is wrong is told when it is used."""
    try:
        return find_endpoint(address, variables)
    except UsageError as error:
        return error


def _bound_volumes(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the folders of the host that are bound as volumes, by the volumes' names."""
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
        mounts=tuple(_mounted_path(mount, bound) for mount in mounts if mount.get("Source")),
    )


def _mounted_path(mount: Mapping[str, Any], bound: Mapping[str, str]) -> MountedPath:
    volume = str(mount.get("Name", "")) if mount.get("Type") == "volume" else ""
    return MountedPath(
        source=bound.get(volume) or posixpath.normpath(mount["Source"]),
        destination=posixpath.normpath(mount.get("Destination", "")),
        is_writable=bool(mount.get("RW", True)),
        volume=volume,
    )
