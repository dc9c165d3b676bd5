"""The Compose files of this repository, brought up as they are on an engine with networks.

The engine can pull nothing. So what the files name stands ready under the very same names:
the sidecar's image is the real one, built from the Dockerfile; the others are stand-ins,
whose docstrings say what is fake in them (`backrest_program`, `proxy_program`).
"""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import yaml

from debian_root import import_debian
from image_world import RELEASE, derive, runner_image, sidecar_image
from private_docker import PrivateEngine
from sample_stack import import_image

ROOT = Path(__file__).parents[2]
PLAN = "backrest_sidecar_"
BUSYBOX = "busybox"
WEB = """
services:
  web:
    image: busybox:stable
    command: ["sh", "-c", "mkdir /srv/www/cache; echo hello >/srv/www/index.html;
      echo x >/srv/www/cache/junk; exec sleep 86400"]
    stop_signal: SIGKILL
    network_mode: none
    labels:
      backrest.enable: "true"
      backrest.hooks.template: stop-start
      backrest.exec.start: "echo dumped >/srv/www/dump.txt"
      backrest.paths.exclude: /srv/www/cache
    volumes: ["www:/srv/www"]
volumes: {www: {}}
"""
"""A workload of somebody else, which writes files and may be stopped."""

_FAKES = Path(__file__).parents[1] / "fakes"
_CONFIG = "http://127.0.0.1:9898/v1.Backrest/GetConfig"
_SECONDS = 100.0
_LOOK_SECONDS = 0.1
_TOOLS = "stack-tools:test"
_STAND_IN = """\
FROM {sidecar} AS sidecar
FROM {tools}
COPY --from=sidecar /opt/backrest-sidecar /opt/backrest-sidecar
ENV PYTHONPATH=/opt/stand-in PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.version=v1.14.1
CMD ["/opt/backrest-sidecar/bin/python3", "-m", "tests.fakes.backrest_program"]
"""
_PROXY = """\
FROM {tools}
ENV PYTHONPATH=/opt/stand-in PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["python3", "-m", "tests.fakes.proxy_program"]
"""


def compose_file(name: str) -> dict[str, Any]:
    """Parse one of the repository's Compose files."""
    tree: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return tree


def image_of(name: str, service: str) -> str:
    """Return the image that a Compose file names for a service, with its tag."""
    image: str = compose_file(name)["services"][service]["image"]
    return image if ":" in image else f"{image}:latest"


def provide_images(client: docker.APIClient, builder: docker.APIClient) -> None:
    """Put what the Compose files name on an engine; `builder` is one that can install."""
    sidecar = sidecar_image(builder)
    client.load_image(b"".join(builder.get_image(sidecar)))
    _tag(client, sidecar, image_of("compose.yaml", "sidecar"))
    fakes = {f"/opt/stand-in/tests/fakes/{f.name}": f.read_bytes() for f in _FAKES.glob("*.py")}
    docker_client = {"/usr/bin/docker": Path(_program("docker")).read_bytes()}
    packages = ("curl", "python3", "restic")
    # Of the release of the image: its packages are used by this Python.
    import_debian(client, _TOOLS, packages, release=RELEASE, files={**fakes, **docker_client})
    backrest = _STAND_IN.format(sidecar=sidecar, tools=_TOOLS)
    derive(client, image_of("compose.yaml", "backrest"), backrest)
    proxy = image_of("compose.socket-proxy.yaml", "socket-proxy")
    derive(client, proxy, _PROXY.format(tools=_TOOLS))
    import_image(client, BUSYBOX)
    _tag(client, BUSYBOX, image_of("compose.dry-run.yaml", "web"))


def provide_runner(
    client: docker.APIClient, builder: docker.APIClient, file: str, service: str
) -> None:
    """Put the runner's image on an engine, under the name that a service of a file has for it."""
    image = runner_image(builder)
    client.load_image(b"".join(builder.get_image(image)))
    _tag(client, image, image_of(file, service))


def compose_tools() -> list[list[str]]:
    """The ways to call Compose that this machine has: the old program, the plugin."""
    if shutil.which("docker") is None:
        return [["docker-compose"]]
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return [["docker-compose"], *([["docker", "compose"]] if asked.returncode == 0 else [])]


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds; fails if it never does."""
    end = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < end, f"never: {what}"
        select.select([], [], [], _LOOK_SECONDS)


@dataclass
class Stack:
    """The Compose files `files` in a folder of their own, and what was started of them."""

    engine: PrivateEngine
    folder: Path
    tool: Sequence[str] = ("docker-compose",)
    files: Sequence[str] = ("compose.yaml",)
    _others: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "srv").mkdir()
        for file in ROOT.glob("compose*.yaml"):
            shutil.copy(file, self.folder)

    @property
    def environment(self) -> dict[str, str]:
        """What a user's .env would say of this machine."""
        own = {
            "DOCKER_HOST": self.engine.address,
            "DOCKER_SOCK": str(self.engine.socket),
            "DOCKER_ROOT": str(self.engine.data_root),
            "BIND_ROOT": str(self.folder / "srv"),
            "TZ": "Europe/Berlin",
        }
        return {**os.environ, **own}

    @property
    def config(self) -> Path:
        """The document, as the host sees it."""
        return self.folder / "config" / "config.json"

    def document(self) -> dict[str, Any]:
        """Parse the document."""
        found: dict[str, Any] = json.loads(self.config.read_text())
        return found

    def loaded(self) -> set[str]:
        """Name the plans that Backrest has loaded, without what all ids of ours begin with."""
        asking = (
            'curl -sf -u "admin:$(cat /config/ui-password)" -X POST '
            "-H 'Content-Type: application/json' -d '{}' "
        )
        done = self.run(["docker", "exec", "backrest", "sh", "-c", asking + _CONFIG], self.folder)
        served = json.loads(done.stdout) if done.returncode == 0 else {}
        return {plan["id"].removeprefix(PLAN) for plan in served.get("plans", [])}

    def await_plans(self, *names: str) -> None:
        """Wait until Backrest has loaded exactly these plans."""
        wait_until(lambda: self.loaded() == set(names), f"plans {names}")

    def compose(
        self, *arguments: str, folder: Path | None = None, status: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Call Compose for the stack, or for a Compose file elsewhere."""
        given = [word for file in self.files for word in ("-f", file)] if folder is None else []
        done = self.run([*self.tool, *given, *arguments], folder or self.folder)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def run(self, command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run a command as the stack's user would."""
        return subprocess.run(
            command,
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def sidecar(self, *arguments: str, status: int = 0) -> str:
        """Run a command of ours in the sidecar's container; give its output."""
        given = ["exec", "-T", "sidecar", "backrest-sidecar", *arguments]
        return self.compose(*given, status=status).stdout

    def in_backrest(self, script: str, status: int = 0) -> str:
        """Run a shell script in Backrest's container; give its output and errors."""
        done = self.run(["docker", "exec", "backrest", "sh", "-c", script], self.folder)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def restic(self, arguments: str) -> str:
        """Ask restic in Backrest's container about the repository."""
        [repo] = self.document()["repos"]
        secret = f"RESTIC_PASSWORD={repo['password']} RESTIC_REPOSITORY={repo['uri']}"
        return self.in_backrest(f"{secret} restic {arguments}")

    def add(self, name: str, text: str) -> None:
        """Start a Compose file of somebody else on the same engine."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "compose.yaml").write_text(text)
        self._others.append(folder)
        self.compose("up", "--detach", folder=folder)

    def down(self) -> None:
        """Remove everything.

        The stack first: while the old Compose removes a workload, a backup that starts it again
        would leave its container, and the container its volume.
        """
        for folder in (None, *self._others):
            self.compose("down", "--volumes", "--timeout", "1", folder=folder)


def services_with_socket(stack: Stack, client: docker.APIClient) -> set[str]:
    """Name the services of a stack that have the engine's socket mounted."""
    label = ["com.docker.compose.project=backup"]
    return {
        str(entry["Labels"]["com.docker.compose.service"])
        for entry in client.containers(all=True, filters={"label": label})
        for mount in entry["Mounts"]
        if mount["Source"] == str(stack.engine.socket)
    }


@contextmanager
def running_stack(
    engine: PrivateEngine, folder: Path, tool: Sequence[str], *files: str
) -> Iterator[Stack]:
    """Start compose.yaml, with overrides `files`, in a folder; everything is removed at the end."""
    stack = Stack(engine, folder, tool, ("compose.yaml", *files))
    try:
        stack.compose("up", "--detach")
        yield stack
    finally:
        stack.down()


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found


def _tag(client: docker.APIClient, image: str, name: str) -> None:
    repository, _, tag = name.rpartition(":")
    client.tag(image, repository, tag)
