"""The image, built on a real engine from a stand-in of its base, then run the way people run it."""

import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from image_world import REVISION, VERSION, build_by_client, default_base, derive, sidecar_image
from private_docker import PrivateEngine
from sample_stack import compose_labels
from sidecar_container import HARDENED, SidecarContainer, run_container
from world import World

pytestmark = pytest.mark.timeout(600)

SAMPLE = Path(__file__).parents[2] / "testdata" / "example-sidecar.config.json"
SIZE = 120_000_000
STOP_SECONDS = 2.0
DAEMON: list[str] = []
DRY_RUN = ["reconcile", "--dry-run"]
RECONCILE = ["reconcile"]
PRIVILEGES = ["DAC_OVERRIDE", "CHOWN", "FOWNER"]
ADVICE = "give this root the capabilities DAC_OVERRIDE, CHOWN and FOWNER, or run as"
WITHOUT_SHELL = """\
FROM {image}
RUN ["python3", "-c", "import os; [os.remove('/bin/' + n) for n in ('sh', 'bash', 'rbash', 'dash')]"]
"""


PYTHON = """\
FROM {image}
RUN ["python3", "-c", "import sys; assert sys.version.startswith('{minor}.'), sys.version"]
"""


@dataclass
class Stage:
    """One labelled workload on the engine, the image, and a document of somebody's."""

    engine: PrivateEngine
    client: docker.APIClient
    image: str
    folder: Path
    _made: list[str] = field(default_factory=list)

    def own(self, user: int, *, mode: int = 0o600, folder_mode: int = 0o700) -> None:
        """Hand the document and its folder to a user, with these permission bits."""
        shutil.copyfile(SAMPLE, self.folder / "config.json")
        (self.folder / "config.json").chmod(mode)
        self.folder.chmod(folder_mode)
        shutil.chown(self.folder, user, user)
        shutil.chown(self.folder / "config.json", user, user)

    def run(self, command: list[str], image: str = "", **host: Any) -> SidecarContainer:
        """Start a container of the image; removed when the test is over."""
        made = run_container(
            self.engine, self.client, image or self.image, self.folder, command, **host
        )
        self._made.append(made.id)
        return made

    def clear(self) -> None:
        """Remove what was started."""
        for container in self._made:
            self.client.remove_container(container, v=True, force=True)

    @property
    def group(self) -> str:
        """The group whose members may open the engine's socket."""
        return str(self.engine.socket.stat().st_gid)


@pytest.fixture
def stage(
    engine: PrivateEngine, docker_client: docker.APIClient, world: World, tmp_path: Path
) -> Iterator[Stage]:
    """Return a stage whose document is root's, as Backrest's own image leaves it."""
    labels = {"backrest.enable": "true", **compose_labels("shop", "db")}
    world.container("shop-db-1", labels, ["shop_data:/data"])
    folder = tmp_path / "config"
    folder.mkdir()
    made = Stage(engine, docker_client, sidecar_image(docker_client), folder)
    made.own(0)
    yield made
    made.clear()


def test_the_image_is_small_and_says_what_it_is(stage: Stage) -> None:
    """Under 120 MB beyond its base, with the labels that registries show, and root by default."""
    image = stage.client.inspect_image(stage.image)
    base = stage.client.inspect_image(default_base())
    labels = image["Config"]["Labels"]

    assert image["Size"] - base["Size"] < SIZE
    assert {
        "title": "backrest-sidecar",
        "description": labels["org.opencontainers.image.description"],
        "source": "https://github.com/backrest-sidecar/backrest-sidecar",
        "licenses": "MIT",
        "version": VERSION,
        "revision": REVISION,
    } == {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    # A current engine leaves out what is empty.
    assert not image["Config"].get("User")


def test_its_python_is_of_the_minor_version_of_its_base(stage: Stage) -> None:
    """What runs here is what people run, but for the patch version."""
    minor = re.match(r"python:(3\.\d+)\.", default_base())

    assert minor
    derive(stage.client, "python-checked:test", PYTHON.format(image=stage.image, minor=minor[1]))


def test_the_client_of_the_machine_builds_the_same_image(stage: Stage) -> None:
    """BuildKit, where the client has it, gives what the classic builder gives."""
    build_by_client(stage.client, stage.engine.address, "backrest-sidecar:client")

    ours, other = (
        stage.client.inspect_image(image)["Config"]
        for image in (stage.image, "backrest-sidecar:client")
    )
    for key in ("Cmd", "Entrypoint", "Env", "Healthcheck", "Labels", "User"):
        assert ours.get(key) == other.get(key)


def test_a_dry_run_shows_the_plan_and_writes_nothing(stage: Stage) -> None:
    """The container reads labels from the engine it runs on; the document stays as it was."""
    status, said = stage.run(DRY_RUN).end()

    assert 0 == status
    assert "backrest_sidecar_shop_db" in said
    assert SAMPLE.read_bytes() == (stage.folder / "config.json").read_bytes()
    assert ["config.json"] == [entry.name for entry in stage.folder.iterdir()]


def test_the_daemon_writes_the_shared_volume_is_healthy_and_ends_at_sigterm(
    stage: Stage, world: World
) -> None:
    """Without a flag: plans of old and new containers appear in the volume, and it stops at once."""
    config = world.volume("backrest_config")
    stage.folder = stage.engine.data_root / "volumes" / config / "_data"
    shutil.copyfile(SAMPLE, stage.folder / "config.json")
    sidecar = stage.run(DAEMON, config=config)

    sidecar.wait(lambda: sidecar.plans() == {"shop_db"}, "a plan of what was there")
    labels = {"backrest.enable": "true", **compose_labels("shop", "web")}
    world.container("shop-web-1", labels, ["shop_data:/data"])
    sidecar.wait(lambda: sidecar.plans() == {"shop_db", "shop_web"}, "a plan of what came")
    sidecar.wait(lambda: sidecar.health() == "healthy", "healthy")
    status, seconds = sidecar.stop()

    assert 0 == status
    assert seconds < STOP_SECONDS


def test_a_command_that_waits_ends_at_sigterm_too(stage: Stage) -> None:
    """The first process of a container would ignore a signal that it does not heed."""
    sidecar = stage.run(["lint", "--compose", "-"])
    sidecar.wait(lambda: sidecar.heeds(signal.SIGTERM), "its own way with the signal")

    status, seconds = sidecar.stop()

    assert 143 == status
    assert seconds < STOP_SECONDS


def test_nothing_is_compiled_when_it_runs(stage: Stage) -> None:
    """Whatever the daemon and the commands import was compiled in the build."""
    sidecar = stage.run(DAEMON, environment={"PYTHONDONTWRITEBYTECODE": ""})
    sidecar.wait(lambda: sidecar.health() == "healthy", "healthy")
    for command in ("doctor", "status", "lint", "schedule", "reconcile"):
        asked = stage.client.exec_create(sidecar.id, ["backrest-sidecar", command])
        stage.client.exec_start(asked)

    assert [] == [path for path in sidecar.written() if "__pycache__" in path]


def test_it_needs_no_shell(stage: Stage) -> None:
    """Entrypoint, command and health check work where no shell is left."""
    image = derive(stage.client, "backrest-sidecar:bare", WITHOUT_SHELL.format(image=stage.image))
    sidecar = stage.run(DAEMON, image)

    sidecar.wait(lambda: sidecar.plans() == {"shop_db"}, "a plan")
    sidecar.wait(lambda: sidecar.health() == "healthy", "healthy")

    status, said = stage.run(DRY_RUN, image, read_only=True).end()
    assert (0, True) == (status, "shop_db" in said)


def test_a_user_in_the_group_of_the_socket_is_enough(stage: Stage) -> None:
    """As the document's owner no privilege is needed at all, and the owner is kept."""
    stage.own(1000)
    sidecar = stage.run(DAEMON, user="1000:1000", group_add=[stage.group], **HARDENED)

    sidecar.wait(lambda: sidecar.plans() == {"shop_db"}, "a plan")
    sidecar.wait(lambda: sidecar.health() == "healthy", "healthy")

    assert 1000 == (stage.folder / "config.json").stat().st_uid
    assert 0 == sidecar.stop()[0]


def test_a_user_outside_the_group_of_the_socket_is_told_so(stage: Stage) -> None:
    """The message names the socket and what membership is missing."""
    stage.own(1000)

    status, said = stage.run(RECONCILE, user="1000:1000").end()

    assert 1 == status
    assert "opening the Docker socket at unix:///var/run/docker.sock is not permitted" in said
    assert "a member of the group that owns the socket" in said


def test_a_user_that_is_not_the_owner_of_the_document_is_told_so(stage: Stage) -> None:
    """The message names the folder, the user that it is, and the one that it should be."""
    status, said = stage.run(RECONCILE, user="1001:1001", group_add=[stage.group]).end()

    assert 1 == status
    assert "no permission to open /etc/backrest as user 1001" in said
    assert "run as the owner of /etc/backrest, or as root" in said


def test_root_without_any_privilege_writes_a_document_of_root(stage: Stage) -> None:
    """Backrest's own image leaves such a one: no capability, no writable root, no tmpfs."""
    sidecar = stage.run(DAEMON, **HARDENED)

    sidecar.wait(lambda: sidecar.plans() == {"shop_db"}, "a plan")
    sidecar.wait(lambda: sidecar.health() == "healthy", "healthy")

    assert 0 == sidecar.stop()[0]


def test_root_with_three_capabilities_writes_anybodys_document(stage: Stage) -> None:
    """It replaces a document of another owner, and hands it over with its owner and mode."""
    stage.own(1000, mode=0o640)
    sidecar = stage.run(DAEMON, **HARDENED, cap_add=PRIVILEGES)

    sidecar.wait(lambda: sidecar.plans() == {"shop_db"}, "a plan")
    sidecar.wait(lambda: sidecar.health() == "healthy", "healthy")

    status = (stage.folder / "config.json").stat()
    assert (1000, 1000, 0o640) == (status.st_uid, status.st_gid, status.st_mode & 0o777)


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        ("DAC_OVERRIDE", "no permission to open /etc/backrest as user 0"),
        ("CHOWN", "the owner 1000:1000 of /etc/backrest/config.json cannot be kept by user 0"),
        ("FOWNER", "no permission to replace /etc/backrest/config.json as user 0"),
    ],
)
def test_each_capability_is_needed_for_a_document_of_another_owner(
    stage: Stage, missing: str, what: str
) -> None:
    """With one fewer nothing is written, and the message says what to add, or whom to run as."""
    stage.own(1000, mode=0o640)
    before = (stage.folder / "config.json").read_bytes()
    added = [name for name in PRIVILEGES if name != missing]

    status, said = stage.run(RECONCILE, **HARDENED, cap_add=added).end()

    assert 1 == status
    assert what in said
    assert ADVICE in said
    assert before == (stage.folder / "config.json").read_bytes()


def test_a_daemon_that_may_not_write_says_so_and_is_unhealthy_to_doctor(stage: Stage) -> None:
    """It waits instead of ending, so that Docker does not start it in a circle."""
    stage.own(1000)
    sidecar = stage.run(DAEMON, **HARDENED, cap_add=["DAC_OVERRIDE"])

    sidecar.wait(lambda: ADVICE in sidecar.logs(), "the advice in the log")
    asked = stage.client.exec_create(sidecar.id, ["backrest-sidecar", "doctor"])
    said = stage.client.exec_start(asked).decode()

    assert "document.writable" in said
    assert ADVICE in said
    assert 1 == stage.client.exec_inspect(asked["Id"])["ExitCode"]
