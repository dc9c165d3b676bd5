"""Containers, volumes and images that one test makes on a real engine."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from private_docker import PrivateEngine, run_engine, stop_engine
from sample_stack import import_image

IMAGE = "sleeper"


@contextmanager
def own_engine(*, has_networks: bool = False) -> Iterator[PrivateEngine]:
    """Run an engine that nobody else uses; without one the tests fail, they are not skipped."""
    # Not pytest's folder: a unix socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="eng-", dir="/tmp"))
    try:
        running = run_engine(folder, has_networks=has_networks)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        yield running
    finally:
        stop_engine(running)


@dataclass
class World:
    """What one test makes on the engine, removed when the test is over."""

    client: docker.APIClient
    _made: dict[str, list[str]] = field(
        default_factory=lambda: {"container": [], "volume": [], "image": []}
    )

    def volume(self, name: str = "", driver: str = "local", **options: str) -> str:
        """Create a volume with its driver's options; return its name."""
        made = self.client.create_volume(name or None, driver=driver, driver_opts=options or None)
        self._made["volume"].append(made["Name"])
        return str(made["Name"])

    def image(self, name: str, labels: Mapping[str, str]) -> str:
        """Make an image that carries labels; return its name."""
        import_image(self.client, name, labels)
        self._made["image"].append(name)
        return name

    def container(
        self,
        name: str,
        labels: Mapping[str, str],
        binds: Sequence[str] = (),
        *,
        image: str = IMAGE,
        running: bool = False,
        platform: str | None = None,
        stop_timeout: int | None = None,
        **host: Any,
    ) -> str:
        """Create a container, start it if it shall be running; return its id.

        `binds` are `SOURCE:DESTINATION` with a host path or a volume's name, `platform` is
        such as `linux/arm64`, `host` further fields of the engine's host configuration
        (`tmpfs`, ...).
        """
        made = self.client.create_container(
            image,
            name=name,
            labels=dict(labels),
            # A first process without handlers ignores SIGTERM, and nobody has ten seconds.
            stop_signal="SIGKILL",
            stop_timeout=stop_timeout,
            platform=platform,
            host_config=self.client.create_host_config(
                binds=list(binds), network_mode="none", **host
            ),
        )
        self._made["container"].append(made["Id"])
        named = {bind.partition(":")[0] for bind in binds if not bind.startswith("/")}
        self._made["volume"] += sorted(named - {*self._made["volume"]})
        if running:
            self.client.start(made["Id"])
        return str(made["Id"])

    def remove(self, container: str) -> None:
        """Remove a container before the test is over."""
        self._made["container"].remove(container)
        self.client.remove_container(container, v=True, force=True)

    def clear(self) -> None:
        """Remove everything made, containers first."""
        while self._made["container"]:
            self.client.remove_container(self._made["container"].pop(), v=True, force=True)
        while self._made["volume"]:
            self.client.remove_volume(self._made["volume"].pop())
        while self._made["image"]:
            self.client.remove_image(self._made["image"].pop(), force=True)
