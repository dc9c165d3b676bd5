"""What backing up once asks of an engine beyond finding, stopping and starting containers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from docker.errors import ImageNotFound, NotFound

from sidecar.docker.engine import Containers, ContainersError

MARK = "backrest-sidecar.backup-once"
"""The label of the containers that we make."""

_SHARED = "container:"


@dataclass(frozen=True, slots=True)
class Shot:
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
        """Give the engine's time, in unix seconds: that of everything that it tells."""
        with self._told("tell the time") as client:
            return _parse_time(client.info()["SystemTime"])

    def started_at(self, container: str) -> float | None:
        """Give when a container was started that is at work; None if it is not, or is gone."""
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

    def create(self, name: str, shot: Shot) -> None:
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
