"""The image as a container: started with Docker's own switches, watched from outside."""

import json
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from private_docker import PrivateEngine

SOCKET = "/var/run/docker.sock"
CONFIG = "/etc/backrest"
HARDENED: Mapping[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
_SECOND = 1_000_000_000
_PATIENCE = 60.0
_LOOK_SECONDS = 0.05
_PREFIX = "backrest_sidecar_"


@dataclass(frozen=True, slots=True)
class SidecarContainer:
    """A started container of the image, with the folder of its document on this machine."""

    client: docker.APIClient
    id: str
    folder: Path

    def logs(self) -> str:
        """Return what it said so far, on both streams."""
        return str(self.client.logs(self.id).decode())

    def end(self) -> tuple[int, str]:
        """Wait until it ends by itself; give its exit status and what it said."""
        status = self.client.wait(self.id, timeout=_PATIENCE)["StatusCode"]
        return int(status), self.logs()

    def stop(self) -> tuple[int, float]:
        """End it as Docker does; give its exit status and the seconds that took."""
        start = time.monotonic()
        self.client.stop(self.id, timeout=10)
        seconds = time.monotonic() - start
        return int(self.client.inspect_container(self.id)["State"]["ExitCode"]), seconds

    def health(self) -> str:
        """Return what Docker says of its health: starting, healthy, unhealthy."""
        return str(self.client.inspect_container(self.id)["State"]["Health"]["Status"])

    def written(self) -> list[str]:
        """List the files that it has added to or changed in its image."""
        changes = self.client.diff(self.id) or []
        return [change["Path"] for change in changes if change["Kind"] != 0]

    def heeds(self, number: signal.Signals) -> bool:
        """Return whether its first process has taken over what a signal does."""
        pid = self.client.inspect_container(self.id)["State"]["Pid"]
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
        return bool(int(caught, 16) >> (number - 1) & 1)

    def plans(self) -> set[str]:
        """Return our plans in the document by their short ids."""
        document = json.loads((self.folder / "config.json").read_text())
        plans = [plan["id"] for plan in document.get("plans", [])]
        return {plan.removeprefix(_PREFIX) for plan in plans if plan.startswith(_PREFIX)}

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds; fails with the log if it never does."""
        end = time.monotonic() + _PATIENCE
        while not holds():
            running = self.client.inspect_container(self.id)["State"]["Running"]
            assert running, f"ended: {self.logs()}"
            assert time.monotonic() < end, f"never: {what}\n{self.logs()[-4000:]}"
            select.select([], [], [], _LOOK_SECONDS)


def run_container(
    engine: PrivateEngine,
    client: docker.APIClient,
    image: str,
    folder: Path,
    command: Sequence[str] = (),
    *,
    user: str = "",
    environment: Mapping[str, str] | None = None,
    config: str = "",
    more: Sequence[str] = (),
    **host: Any,
) -> SidecarContainer:
    """Start the image with the engine's socket and the document's folder; no network.

    No command: the image's own. `config`: a volume's name instead of `folder` itself.
    `more`: further mounts, as `SOURCE:DESTINATION[:ro]`.
    `host` are further fields of the engine's host configuration (`cap_add`, ...). The
    health check runs each second, as the image has it but for that.
    """
    binds = [f"{engine.socket}:{SOCKET}", f"{config or folder}:{CONFIG}", *more]
    made = client.create_container(
        image,
        list(command) or None,
        user=user or None,
        environment=dict(environment or {}),
        healthcheck={"interval": _SECOND},
        stdin_open=True,
        host_config=client.create_host_config(binds=binds, network_mode="none", **host),
    )
    client.start(made["Id"])
    return SidecarContainer(client, made["Id"], folder)
