"""Run containers that run one command: pull their image, create, attach to, remove them.

By the client library's own calls: they know the credentials for registries, and how an engine
sends two streams over one connection.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from sidecar.docker.containers import Containers, start_container
from sidecar.docker.exec_command import ExecResult, run_in_container
from sidecar.docker.failures import DockerError

MARK = "backrest-sidecar.backup-once"
"""The label of the containers that `create` makes."""


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
    """Docker as `backup-once` uses it: also images, and containers that run one command.

    As in `Containers`, every method raises DockerError, and any thread may call it.
    """

    def has_image(self, image: str) -> bool:
        """Return whether Docker has an image."""
        return self.client.find(f"/images/{quote(image, safe='/:')}/json") is not None

    def pull(self, image: str) -> None:
        """Fetch an image from its registry, however long that takes."""
        with self.client.library(f"the pull of {image}") as library:
            for line in library.pull(image, stream=True, decode=True):
                if "error" in line:
                    raise DockerError(f"{image} could not be pulled: {line['error']}")

    def create(self, name: str, shot: OneShotContainer) -> None:
        """Create the container, with the label MARK."""
        with self.client.library("POST /containers/create") as library:
            library.create_container(
                shot.image,
                command=list(shot.command),
                name=name,
                environment=[f"{key}={value}" for key, value in shot.env],
                labels={MARK: "true"},
                host_config=library.create_host_config(binds=list(shot.binds)),
            )

    def perform(self, name: str, stopping: threading.Event) -> Iterator[tuple[bytes, bytes]]:
        """Start what `create` made, and yield its output until it has ended.

        These are pieces of standard output and of standard error as they come. If `stopping` is
        set by the time of the start, the container is stopped at once.
        """
        with self.client.library(f"POST /containers/{name}/attach", again=False) as library:
            # Attached before the start, so that no output is missed and no log is needed.
            output = library.attach(name, stream=True, demux=True)
            start_container(self.client, name)
            if stopping.is_set():
                # A stop that came before the start found nothing to stop.
                self.stop(name)
            for out, err in output:
                yield out or b"", err or b""

    def run(
        self, container: str, script: str, content: Iterator[bytes], user: str = ""
    ) -> ExecResult:
        """Run a script by the `sh` of a container that runs, see `run_in_container`."""
        return run_in_container(self, container, ("sh", "-c", script), content, user)

    def discard(self, name: str, seconds: int = 10) -> bool:
        """Stop and remove a container that `create` made; False if there is none of ours."""
        found = self.find(name)
        if found is None or MARK not in found.labels:
            return False
        self.stop(name, seconds)
        return self.client.act(f"/containers/{name}?v=1&force=1", method="DELETE") is not None
