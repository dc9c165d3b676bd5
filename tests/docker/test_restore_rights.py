"""The runner's image with exactly the rights of the Compose files, on files of other users."""

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest
import yaml

from image_world import runner_image
from private_docker import PrivateEngine
from sidecar_container import HARDENED, run_container

# The image is built from the Dockerfile first.
pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
USER, GROUP = 1234, 5678
NET_BIND = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
LOST = {
    "CHOWN": "owners of",
    "FOWNER": "permissions of",
    "FSETID": "setuid or setgid bits of",
    "SETFCAP": "extended attribute security.capability of 1 entry (/data/program)",
}


def granted(file: str) -> list[str]:
    """Return the rights of the runner in a Compose file, which drops all others."""
    runner = yaml.safe_load((ROOT / file).read_text())["services"]["runner"]
    return [str(one) for one in runner["cap_add"]]


@dataclass
class Stage:
    """A document of one plan, and a folder of files of another user."""

    engine: PrivateEngine
    client: docker.APIClient
    folder: Path
    _made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("config", "data", "repository"):
            (self.folder / name).mkdir()
        repo = {"id": "store", "uri": "/repository", "password": "swordfish"}
        plan = {"id": "web", "repo": "store", "paths": ["/data"], "schedule": {"disabled": True}}
        document = {
            "modno": 1,
            "version": 6,
            "instance": "here",
            "repos": [{**repo, "autoInitialize": True}],
            "plans": [plan],
        }
        (self.folder / "config" / "config.json").write_text(json.dumps(document))

    @property
    def data(self) -> Path:
        """What is backed up, as this machine sees it."""
        return self.folder / "data"

    def fill(self) -> None:
        """Make files and a shared folder of another user, and a program with a capability."""
        shared = self.data / "shared"
        shared.mkdir()
        for file, mode in (
            (self.data / "secret", 0o600),
            (self.data / "setuid", 0o4755),
            (self.data / "setgid", 0o2755),
            (self.data / "program", 0o755),
            (shared / "file", 0o660),
        ):
            file.write_text(file.name)
            os.chown(file, USER, GROUP)
            file.chmod(mode)
        os.setxattr(self.data / "program", "security.capability", NET_BIND)
        os.chown(shared, USER, GROUP)
        shared.chmod(0o2770)

    def run(self, *command: str, rights: list[str]) -> tuple[int, str]:
        """Run a command in the image as root with these rights; give status and output."""
        made = run_container(
            self.engine,
            self.client,
            runner_image(self.client),
            self.folder / "config",
            command,
            more=[f"{self.data}:/data", f"{self.folder / 'repository'}:/repository"],
            tmpfs={"/tmp": "", "/cache": ""},
            cap_add=rights,
            **HARDENED,
        )
        self._made.append(made.id)
        return made.end()

    def clear(self) -> None:
        """Remove what was started."""
        for container in self._made:
            self.client.remove_container(container, v=True, force=True)


@pytest.fixture
def stage(
    engine: PrivateEngine, docker_client: docker.APIClient, tmp_path: Path
) -> Iterator[Stage]:
    """Return a stage whose data is saved with the rights of compose.runner.yaml."""
    made = Stage(engine, docker_client, tmp_path)
    made.fill()
    try:
        status, said = made.run("run", "web", rights=granted("compose.runner.yaml"))
        assert 0 == status, said
        yield made
    finally:
        made.clear()


def properties(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return owners, modes, times and attributes of what is in a folder."""
    found: dict[str, tuple[object, ...]] = {}
    for entry in sorted(folder.rglob("*")):
        held = entry.stat()
        attributes = {name: os.getxattr(entry, name) for name in os.listxattr(entry)}
        found[str(entry.relative_to(folder))] = (
            *(held.st_mode, held.st_uid, held.st_gid, held.st_mtime_ns, attributes),
        )
    return found


def test_the_rights_of_the_compose_files_are_enough(stage: Stage) -> None:
    """For a verification in the daemon's container, and for a restore in place in its own."""
    before = properties(stage.data)
    for entry in (stage.data / "secret", stage.data / "program"):
        entry.unlink()
    (stage.data / "new").touch()

    verified = stage.run("verify", "web", rights=granted("compose.runner.yaml"))
    restored = stage.run(
        "restore", "web", "--in-place", rights=granted("compose.runner-restore.yaml")
    )

    assert (0, True) == (verified[0], "web: verified" in verified[1]), verified
    assert (0, True) == (restored[0], "web is restored" in restored[1]), restored
    assert before == properties(stage.data)


def test_with_one_right_less_nothing_is_touched(stage: Stage) -> None:
    """Whichever it is, it is named; `verify` names it too."""
    (stage.data / "secret").write_text("live")
    rights = granted("compose.runner-restore.yaml")
    assert rights == granted("compose.runner.yaml") == ["DAC_OVERRIDE", *LOST]
    for capability, lost in LOST.items():
        fewer = [one for one in rights if one != capability]

        refused, said = stage.run("restore", "web", "--in-place", rights=fewer)
        verified, found = stage.run("verify", "web", "--sample", "9", rights=fewer)

        assert (1, True, True) == (
            refused,
            f"this process lacks {capability}, which these need: " in said,
            lost in said,
        ), said
        assert f"cap_add: [{capability}]" in said
        assert (3, True) == (verified, f"this process lacks {capability}" in found), found
    assert "live" == (stage.data / "secret").read_text()
