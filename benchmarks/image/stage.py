"""Containers of the image and of its base, made by the machine's docker client."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.daemon.process import Process
from benchmarks.reconcile.stack import document

_NAME = f"bench-image-{os.getpid()}"
_LABEL = "backrest.enable=true"
_LOOK_SECONDS = 0.02
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Stage:
    """An engine at a unix socket, the image, its base, and a folder for documents."""

    address: str
    image: str
    base: str
    folder: Path

    def docker(self, *arguments: str, given: str | None = None) -> str:
        """Run the client; give what it printed. `given` is its standard input."""
        command = ["docker", "-H", self.address, *arguments]
        done = subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    def inspect(self, what: str) -> dict[str, Any]:
        """Return what the engine tells of a container or an image."""
        found: dict[str, Any] = json.loads(self.docker("inspect", what))[0]
        return found

    @contextmanager
    def container(self, image: str, *arguments: str, flags: tuple[str, ...] = ()) -> Iterator[str]:
        """Run a container in the background; removed at the end."""
        made = self.docker("run", "-d", "--network=none", *flags, image, *arguments)
        try:
            yield made
        finally:
            self.docker("rm", "-f", "-v", made)

    @contextmanager
    def daemon(self) -> Iterator[tuple[str, Path]]:
        """Run the image as it is, over a new document; its check runs each second."""
        folder = self.folder / "config"
        folder.mkdir()
        (folder / "config.json").write_text(document())
        socket = self.address.removeprefix("unix://")
        binds = (f"-v{socket}:/var/run/docker.sock", f"-v{folder}:/etc/backrest")
        try:
            with self.container(self.image, flags=(*binds, "--health-interval=1s")) as made:
                yield made, folder / "config.json"
        finally:
            shutil.rmtree(folder)

    @contextmanager
    def workload(self) -> Iterator[None]:
        """Create a labelled container with a volume."""
        made = self.docker("create", "--label", _LABEL, "--name", _NAME, "-v/data", self.base)
        try:
            yield
        finally:
            self.docker("rm", "-v", made)

    def process(self, container: str) -> Process:
        """Return a container's first process, as this machine sees it."""
        return Process(int(self.inspect(container)["State"]["Pid"]))


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Look fifty times a second until it holds; RuntimeError if it never does."""
    until = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > until:
            raise RuntimeError(f"waited {_PATIENCE:.0f} s in vain for {what}")
        time.sleep(_LOOK_SECONDS)
