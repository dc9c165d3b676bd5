"""A house for the doctor on a real engine: a document, data, and a runner that has both."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from private_docker import PrivateEngine
from sample_stack import busybox_tar
from sidecar.labels.policy import Policy
from sidecar.reconciler.doctor.check import CheckContext, make_context
from sidecar.reconciler.doctor.run import examine
from sidecar.reconciler.settings import Applying, InventorySource, ReconcilerSettings
from sidecar.service.check_result import CheckResult, CheckStatus
from tests.unit.reconciler.doctor.test_run import PAUSE, SCALE, STOP
from world import World

NAME = "doctors-runner"
WITH_CLIENT = "doctors-runner-image"


def with_client() -> bytes:
    """Return a root file system with a shell and something called docker."""
    packed = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=packed, mode="a") as tar:
        entry = tarfile.TarInfo("usr/bin/docker")
        entry.mode = 0o755
        tar.addfile(entry)
    return packed.getvalue()


class Stack:
    """A document, data, and a runner that has both mounted."""

    def __init__(self, folder: Path, world: World, engine: PrivateEngine) -> None:
        self.folder, self.world, self.engine = folder, world, engine
        self.config = folder / "config" / "config.json"
        (folder / "config" / ".sidecar").mkdir(parents=True)
        (folder / "data").mkdir()
        self.environment = {"BACKREST_CONFIG": "/config/config.json", "TZ": "Europe/Berlin"}
        self.binds = [
            f"{folder}/config:/config",
            f"{folder}/data:/data",
            f"{engine.socket}:/var/run/docker.sock",
        ]
        self.settings = ReconcilerSettings(
            self.config,
            Policy(runner_container=NAME),
            InventorySource(docker_sock=engine.address),
            runner_named=True,
            applying=Applying(enabled=True),
        )
        self.write(STOP, PAUSE, SCALE)

    def write(self, *commands: str) -> None:
        """Write the document, with a plan that has these hooks."""
        hooks = [{"actionCommand": {"command": command}} for command in commands]
        document = {
            "modno": 1,
            "version": 6,
            "instance": "here",
            "repos": [{"id": "r", "uri": "/r", "guid": "a" * 64}],
            "plans": [{"id": "mine", "repo": "r", "paths": ["/data"], "hooks": hooks}],
        }
        self.config.write_text(json.dumps(document))
        self.config.chmod(0o600)

    def run_runner(self, image: str = WITH_CLIENT) -> str:
        """Start the runner."""
        client = self.world.client
        made = client.create_container(
            image,
            name=NAME,
            environment=self.environment,
            stop_signal="SIGKILL",
            host_config=client.create_host_config(binds=self.binds, network_mode="none"),
        )
        self.world._made["container"].append(made["Id"])
        client.start(made["Id"])
        return str(made["Id"])

    def context(self, **changed: Any) -> CheckContext:
        """Return the context of the checks, who does not run in a container."""
        context = make_context(self.settings, {"TZ": "Europe/Berlin"}, fix=False)
        return replace(context, **{"own_id": "", "is_contained": False, **changed})

    def examine(self, **changed: Any) -> dict[str, CheckResult]:
        """Run all checks."""
        return {one.check: one for one in examine(self.context(**changed)).findings}

    def wrong(self, **changed: Any) -> dict[str, CheckStatus]:
        """Run all checks; return what is neither well nor left out."""
        well = {CheckStatus.OK, CheckStatus.NOT_CHECKED}
        found = self.examine(**changed).items()
        return {check: one.verdict for check, one in found if one.verdict not in well}
