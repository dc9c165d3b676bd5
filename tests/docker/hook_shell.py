"""Hooks as labels give them, run by real shells as the runner would."""

import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import docker

from private_docker import PrivateEngine
from sidecar.docker.models import Container, Inventory
from sidecar.labels.policy import Policy
from sidecar.labels.spec import parse_labels
from sidecar.planner.hooks import resolve_hooks
from sidecar.planner.workload import group_workloads

NAME = "hooked.web-1"
PREFIX = Policy().label_prefix
_SECONDS = 30.0
_LOOK_SECONDS = 0.05


class Hooks:
    """The hooks that labels give for one container, and how to run them.

    `name` is the container's; of a task of a Swarm service also `service`.
    """

    def __init__(
        self,
        labels: Mapping[str, str],
        engine: PrivateEngine,
        config: Path,
        *,
        name: str = NAME,
        service: str = "",
    ) -> None:
        full = {PREFIX + label: value for label, value in labels.items()}
        if service:
            full["com.docker.swarm.service.name"] = service
        [workload] = group_workloads(Inventory((Container("1", name, labels=full),)), Policy())
        spec, problems = parse_labels(workload.labels, PREFIX)
        assert problems == []
        resolved = resolve_hooks(workload, spec, "plan_web", Policy())
        assert resolved.problems == ()
        self.scripts = [
            hook.settings["command"].replace('{{"{{"}}', "{{") for hook in resolved.hooks
        ]
        self.environment = {
            "PATH": os.environ["PATH"],
            "DOCKER_HOST": engine.address,
            "BACKREST_CONFIG": str(config / "config.json"),
        }
        self.marker = config / ".quiesced" / (f".service@{service}" if service else name)

    def run(self, index: int, *shell: str, **environment: str) -> tuple[int, str]:
        """Return a script to a shell on its standard input; return status and output."""
        done = subprocess.run(
            shell or ("sh",),
            input=self.scripts[index],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


def state_of(client: docker.APIClient, container: str) -> str:
    """Ask the engine for a container's state."""
    return str(client.inspect_container(container)["State"]["Status"])


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds; fails if it does not within half a minute."""
    end = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < end, f"never: {what}"
        select.select([], [], [], _LOOK_SECONDS)


def put_before_docker(folder: Path, call: str, moment: str) -> str:
    """Write a `docker` that kills its script before or after a call, or does not make it.

    Returns the PATH on which it is found first.
    """
    real = shutil.which("docker")
    tool = folder / "bin" / "docker"
    tool.parent.mkdir(exist_ok=True)
    kill = "kill -9 $PPID; exit 1"
    act = {
        "before": kill,
        "after": f'{real} "$@"; {kill}',
        "instead": "exit 1",
        "running": "echo 0123456789ab; exit 0",
    }[moment]
    tool.write_text(f'#!/bin/sh\ncase $* in "{call}"*) {act} ;; esac\nexec {real} "$@"\n')
    tool.chmod(0o755)
    return f"{tool.parent}:{os.environ['PATH']}"
