"""The runner's images, built on a real engine from stand-ins of their bases, run beside ours."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from image_world import REVISION, VERSION, runner_all_image, runner_image, sidecar_image
from private_docker import PrivateEngine
from sample_stack import compose_labels
from sidecar_container import HARDENED, SidecarContainer, run_container
from world import World

# All images are built from the Dockerfile first.
pytestmark = pytest.mark.timeout(600)

SAMPLE = Path(__file__).parents[2] / "testdata" / "example-sidecar.config.json"
PLAN = "backrest_sidecar_shop_db"
STOP_SECONDS = 5.0
MOST_BYTES = 100 << 20
"""What the packages of the image may take."""
MOST_MORE_BYTES = 230 << 20
"""What those of the image with more programs may take beside them."""
MORE_PROGRAMS = {
    "dar": "dar --version",
    "duplicity": "duplicity --version",
    "par2": "par2 --version",
    "PostgreSQL": "pg_dump --version",
    "MariaDB": "mariadb-dump --version",
    "redis-cli": "redis-cli --version",
    "3.": "sqlite3 --version",
}
"""What each of those programs says of itself, by how it is asked."""
REPO = {
    "id": "default",
    "uri": "/repository",
    "password": "swordfish",
    "autoInitialize": True,
    "guid": "",
}


@dataclass
class Stage:
    """One labelled workload on the engine, both images, and a document with one repository."""

    engine: PrivateEngine
    client: docker.APIClient
    folder: Path
    _made: list[str] = field(default_factory=list)

    def sidecar(self) -> SidecarContainer:
        """Start the sidecar as its image starts it."""
        return self._run(sidecar_image(self.client), [])

    def runner(self, *command: str, image: str = "", **host: Any) -> SidecarContainer:
        """Start the runner's image where it sees the volumes and a folder for the repository."""
        volumes = f"{self.engine.data_root}/volumes"
        repository = self.folder.parent / "repository"
        repository.mkdir(exist_ok=True)
        binds = [f"{volumes}:{volumes}:ro", f"{repository}:/repository"]
        image = image or runner_image(self.client)
        return self._run(image, list(command), more=binds, **host)

    def await_plan(self, runner: SidecarContainer, plan: str) -> None:
        """Wait until a runner's daemon listens, and its document has a plan."""
        socket = self.folder / ".runner" / "control.sock"
        runner.wait(socket.is_socket, "a daemon")
        plans = ("backrest-runner", "plans", "--wide")
        runner.wait(lambda: plan in self.said_in(runner, *plans), "the plan")

    def _run(self, image: str, command: list[str], **host: Any) -> SidecarContainer:
        made = run_container(self.engine, self.client, image, self.folder, command, **host)
        self._made.append(made.id)
        return made

    def said_in(self, container: SidecarContainer, *command: str, status: int = 0) -> str:
        """Run a command in a container; give what it said on both streams."""
        asked = self.client.exec_create(container.id, list(command))
        said = str(self.client.exec_start(asked).decode())
        assert status == self.client.exec_inspect(asked["Id"])["ExitCode"], said
        return said

    def clear(self) -> None:
        """Remove what was started."""
        for container in self._made:
            self.client.remove_container(container, v=True, force=True)


@pytest.fixture
def stage(
    engine: PrivateEngine, docker_client: docker.APIClient, world: World, tmp_path: Path
) -> Iterator[Stage]:
    """Return a stage with a volume that holds a file."""
    labels = {"backrest.enable": "true", **compose_labels("shop", "db")}
    world.container("shop-db-1", labels, ["shop_data:/data"])
    data = engine.data_root / "volumes" / "shop_data" / "_data"
    (data / "table").write_text("rows\n")
    folder = tmp_path / "config"
    folder.mkdir()
    document = json.loads(SAMPLE.read_text())
    document["repos"], document["plans"] = [REPO], []
    (folder / "config.json").write_text(json.dumps(document))
    made = Stage(engine, docker_client, folder)
    yield made
    made.clear()


def test_the_image_says_what_it_is_and_holds_what_hooks_need(stage: Stage) -> None:
    """An init, programs of all its repositories, a docker client, curl and a shell; the runner starts."""
    image = stage.client.inspect_image(runner_image(stage.client))["Config"]
    labels = {key.rpartition(".")[2]: value for key, value in image["Labels"].items()}

    assert ("backrest-runner", VERSION, REVISION) == tuple(
        labels[name] for name in ("title", "version", "revision")
    )
    assert ["tini", "--", "backrest-runner"] == image["Entrypoint"]
    assert ["CMD", "backrest-runner", "healthcheck"] == image["Healthcheck"]["Test"]
    runner = stage.runner("daemon")
    found = stage.said_in(
        runner,
        "sh",
        "-c",
        "for p in restic rclone rsync docker curl ssh tini sh; do command -v $p; done",
    )
    assert 8 == len(found.split())
    assert "apprise" in stage.said_in(runner, "python3", "-c", "import apprise; print(apprise)")


def test_a_labelled_volume_is_backed_up_verified_and_restored(stage: Stage) -> None:
    """The sidecar writes the plan, the daemon beside it sees the new document and backs up."""
    sidecar, runner = stage.sidecar(), stage.runner()
    sidecar.wait(lambda: sidecar.plans() == {"shop_db"}, "a plan")
    stage.await_plan(runner, PLAN)

    said = stage.said_in(runner, "backrest-runner", "backup", PLAN)

    assert "success" in said
    assert "backup shop/db" in stage.said_in(runner, "backrest-runner", "history", "shop/db")
    assert "shop/db: verified (" in stage.said_in(runner, "backrest-runner", "verify", "db")
    restored = ("restore", PLAN, "--target", "/tmp/restored")
    stage.said_in(runner, "backrest-runner", *restored)
    found = stage.said_in(runner, "sh", "-c", "cat $(find /tmp/restored -name table)")
    assert "rows\n" == found
    runner.wait(lambda: runner.health() == "healthy", "healthy")


def test_a_repository_behind_rclone_is_used(stage: Stage) -> None:
    """As in Backrest; where it is comes from rclone's own file or variables."""
    document = json.loads((stage.folder / "config.json").read_text())
    document["repos"] = [{**REPO, "uri": "rclone:disk:/repository"}]
    (stage.folder / "config.json").write_text(json.dumps(document))
    sidecar = stage.sidecar()
    runner = stage.runner(environment={"RCLONE_CONFIG_DISK_TYPE": "local"})
    sidecar.wait(lambda: sidecar.plans() == {"shop_db"}, "a plan")
    stage.await_plan(runner, PLAN)

    assert "success" in stage.said_in(runner, "backrest-runner", "backup", PLAN)
    assert ": verified (" in stage.said_in(runner, "backrest-runner", "verify", PLAN)


def test_it_stays_small(stage: Stage) -> None:
    """The packages that it adds to its base, with rclone, which is the largest by far."""
    [packages] = package_layers(stage.client, runner_image(stage.client))
    assert packages < MOST_BYTES


def package_layers(client: docker.APIClient, image: str) -> list[int]:
    """Return how many bytes each layer of packages of an image has, the newest first."""
    layers = client.history(image)
    return [layer["Size"] for layer in layers if "apt-get install" in layer["CreatedBy"]]


def test_the_image_with_more_programs_is_a_child_of_the_runners(stage: Stage) -> None:
    """It starts as its parent does, says another name, and each of its programs can be started."""
    child, parent = (
        stage.client.inspect_image(build(stage.client))["Config"]
        for build in (runner_all_image, runner_image)
    )
    for key in ("Cmd", "Entrypoint", "Env", "Healthcheck", "User"):
        assert parent.get(key) == child.get(key)
    differs = {key for key in parent["Labels"] if parent["Labels"][key] != child["Labels"][key]}
    assert {"title", "description"} == {key.rpartition(".")[2] for key in differs}
    more, packages = package_layers(stage.client, runner_all_image(stage.client))
    assert [packages] == package_layers(stage.client, runner_image(stage.client))
    assert more < MOST_MORE_BYTES
    runner = stage.runner("daemon", image=runner_all_image(stage.client))
    for name, question in MORE_PROGRAMS.items():
        assert name in stage.said_in(runner, "sh", "-c", question)


def test_a_hook_dumps_by_a_program_of_the_runners_image(stage: Stage, world: World) -> None:
    """A label's command runs beside the runner, where the client is, and its dump is saved."""
    dump = (
        "mkdir -p /repository/dumps && "
        "sqlite3 /repository/app.db 'create table if not exists t(a)' .dump "
        ">/repository/dumps/app.sql"
    )
    labels = {
        "backrest.enable": "true",
        "backrest.paths.include": "host:/repository/dumps",
        "backrest.snapshot-start": dump,
        **compose_labels("shop", "app"),
    }
    world.container("shop-app-1", labels, ["shop_data:/data"])
    sidecar = stage.sidecar()
    runner = stage.runner(image=runner_all_image(stage.client))
    sidecar.wait(lambda: "shop_app" in sidecar.plans(), "a plan")
    plan = "backrest_sidecar_shop_app"
    stage.await_plan(runner, plan)

    stage.said_in(runner, "backrest-runner", "backup", plan)

    stage.said_in(runner, "backrest-runner", "restore", plan, "--target", "/tmp/restored")
    restored = ("sh", "-c", "cat $(find /tmp/restored -name app.sql)")
    assert "CREATE TABLE t(a);" in stage.said_in(runner, *restored)


def test_the_daemon_needs_no_more_than_to_read_what_it_saves(stage: Stage) -> None:
    """Nothing of its image is writable, and of root's rights one is left."""
    sidecar = stage.sidecar()
    sidecar.wait(lambda: sidecar.plans() == {"shop_db"}, "a plan")
    data = stage.engine.data_root / "volumes" / "shop_data" / "_data"
    shutil.chown(data / "table", 999, 999)
    (data / "table").chmod(0o600)
    spare = {"/tmp": "", "/cache": ""}
    runner = stage.runner(**HARDENED, cap_add=["DAC_OVERRIDE"], tmpfs=spare)
    runner.wait(lambda: runner.health() == "healthy", "a daemon")

    assert "success" in stage.said_in(runner, "backrest-runner", "backup", PLAN)

    status, seconds = runner.stop()
    assert 0 == status
    assert seconds < STOP_SECONDS


def test_it_goes_on_as_another_user(stage: Stage) -> None:
    """Root's rights are for becoming that user, and for the health check; it writes as that user."""
    user = 1000
    repository = stage.folder.parent / "repository"
    repository.mkdir()
    for path in (repository, stage.folder, stage.folder / "config.json"):
        shutil.chown(path, user, user)
    sidecar = stage.sidecar()
    sidecar.wait(lambda: sidecar.plans() == {"shop_db"}, "a plan")
    runner = stage.runner(
        **HARDENED,
        cap_add=["DAC_OVERRIDE", "SETUID", "SETGID"],
        environment={"PUID": str(user)},
        tmpfs={"/tmp": "", "/cache": ""},
    )
    runner.wait(lambda: runner.health() == "healthy", "a daemon")

    assert "success" in stage.said_in(runner, "backrest-runner", "backup", PLAN)

    written = [*repository.rglob("*"), *(stage.folder / ".runner").rglob("*")]
    assert {user} == {path.stat().st_uid for path in written}


def test_nothing_is_compiled_when_it_runs(stage: Stage) -> None:
    """Whatever the daemon and the commands import was compiled in the build."""
    runner = stage.runner("daemon")
    runner.wait(lambda: runner.health() == "healthy", "healthy")
    for command in ("plans", "history", "version"):
        stage.said_in(runner, "backrest-runner", command)

    assert [] == [path for path in runner.written() if "__pycache__" in path]
