"""The command line with a document of its own, pointed at the tests' engine."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from private_docker import PrivateEngine
from sample_stack import compose_labels

ENABLED = {"backrest.enable": "true"}
DOCUMENT = {
    "modno": 4,
    "version": 6,
    "instance": "here",
    "repos": [{"id": "main", "uri": "/repository", "password": "x", "autoInitialize": True}],
    "auth": {"disabled": True},
}


def service(name: str, number: int = 1, **labels: str) -> dict[str, str]:
    """Return the labels of an enabled service of the project `shop`; `__` is a dot, `_` a dash."""
    ours = {
        f"backrest.{key.replace('__', '.').replace('_', '-')}": value
        for key, value in labels.items()
    }
    return ENABLED | ours | compose_labels("shop", name, number)


# From a volume's name to its folder on this host.
InVolume = Callable[[str], str]


@dataclass(frozen=True)
class Sidecar:
    """The command with its document, pointed at the private engine."""

    engine: PrivateEngine
    config: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the sidecar to its end."""
        return subprocess.run(
            [sys.executable, "-m", "sidecar", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def reconcile(self, *flags: str, code: int = 0) -> dict[str, Any]:
        """Reconcile with JSON output and an expected exit code."""
        source = ("--docker-sock", self.engine.address)
        root = ("--docker-root", str(self.engine.data_root))
        output = ("--output", "json")
        done = self.run("reconcile", "--config", str(self.config), *source, *root, *output, *flags)
        assert code == done.returncode, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def preview(self, *flags: str, code: int = 0) -> dict[str, Any]:
        """Reconcile without a write."""
        before = self.config.read_bytes()
        answer = self.reconcile("--dry-run", *flags, code=code)
        assert before == self.config.read_bytes()
        return answer


def paths_of(answer: dict[str, Any], plan: str) -> list[str]:
    """Return the paths of one plan of the answer."""
    [found] = [entry for entry in answer["plans"] if entry["id"] == plan]
    return list(found["paths"])


def reasons(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """Return reason and severity of each problem of the answer."""
    return [(entry["reason"], entry["severity"]) for entry in answer["problems"]]
