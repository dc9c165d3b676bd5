"""Hooks as labels give them, run by real shells as the runner would."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import docker

from private_engine import PrivateEngine
from sidecar.core.hooks import resolve_hooks
from sidecar.core.policy import Policy
from sidecar.core.spec import parse_labels
from sidecar.core.workload import Container, Inventory, group_workloads

NAME = "hooked.web-1"
PREFIX = Policy().label_prefix


class Hooks:
    """The hooks that labels give for one container, and how to run them."""

    def __init__(self, labels: Mapping[str, str], engine: PrivateEngine, config: Path) -> None:
        full = {PREFIX + name: value for name, value in labels.items()}
        [workload] = group_workloads(Inventory((Container("1", NAME, labels=full),)), Policy())
        spec, problems = parse_labels(workload.labels, PREFIX)
        assert problems == []
        hooks = resolve_hooks(workload, spec, "plan_web", Policy()).hooks
        self.scripts = [hook.settings["command"].replace('{{"{{"}}', "{{") for hook in hooks]
        self.environment = {
            "PATH": os.environ["PATH"],
            "DOCKER_HOST": engine.address,
            "BACKREST_CONFIG": str(config / "config.json"),
        }
        self.marker = config / ".quiesced" / NAME

    def run(self, index: int, *shell: str, **environment: str) -> tuple[int, str]:
        """Give a script to a shell on its standard input; return status and output."""
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
