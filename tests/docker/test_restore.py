"""Restoring under real containers, and what is known of these."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from private_docker import PrivateEngine
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.backrest.workloads import NAME, MountRecord, WorkloadRecord, render_workloads
from sidecar.docker.client import DockerClient
from sidecar.docker.containers import Containers
from sidecar.docker.failures import DockerError, NoDocker
from sidecar.docker.models import PROJECT, SERVICE, Container
from sidecar.engines.restic import ResticEngine, ResticOptions
from sidecar.lib.process import ProcessRunner
from sidecar.runner.journal import Journal, RunOutcome
from sidecar.runner.quiesce import start_again, while_stopped
from sidecar.runner.restore.choose import RestoreError, RestoreRequest
from sidecar.runner.restore.restore import Restorer
from tests.fakes.cheap_key import replace_key
from world import World

PASSWORD = "correct horse"
DEPENDS_ON = "com.docker.compose.depends_on"
_UNSCHEDULED = {"schedule": {"disabled": True}, "retention": {"policyKeepAll": True}}


@pytest.fixture
def containers(engine: PrivateEngine) -> Iterator[Containers]:
    """Speak to the engine as the runner does."""
    with Containers(DockerClient(engine.address)) as opened:
        yield opened


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return an empty journal."""
    with Journal(tmp_path / "state" / "journal.sqlite") as opened:
        yield opened


class Saved:
    """A volume that was backed up and spoilt since."""

    def __init__(self, world: World, folder: Path) -> None:
        self.volume = world.volume()
        self.data = Path(world.client.inspect_volume(self.volume)["Mountpoint"])
        (self.data / "page").write_text("first")
        self.data.chmod(0o750)
        self.plan = RunPlan("web", "store", (str(self.data),))
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        repo = Repo("store", uri=str(folder / "repo"), password=PASSWORD)
        self.engine = ResticEngine(repo, ProcessRunner(environ), ResticOptions(environ))
        self.engine.initialise()
        replace_key(folder / "repo", PASSWORD)
        done = self.engine.capture(self.plan, "here", lambda _: None)
        assert done.snapshot
        (self.data / "page").write_text("second")

    def restore(self, journal: Journal, containers: Containers, **wanted: object) -> RunOutcome:
        """Restore the volume in place."""
        request = RestoreRequest(self.plan, "here", in_place=True, **wanted)  # type: ignore[arg-type]
        restorer = Restorer(self.engine, journal, containers, stop_seconds=2)
        return restorer.run(restorer.prepare(request)).outcome

    @property
    def page(self) -> str:
        """What stands in it."""
        return (self.data / "page").read_text()


@pytest.fixture
def saved(world: World, tmp_path: Path) -> Saved:
    """Give a volume that was backed up."""
    return Saved(world, tmp_path / "bench")


def started(client: docker.APIClient, container: str) -> str:
    """Return when a container was started."""
    return str(client.inspect_container(container)["State"]["StartedAt"])


def is_running(client: docker.APIClient, container: str) -> bool:
    """Tell whether a container runs."""
    return bool(client.inspect_container(container)["State"]["Running"])


def test_a_volume_in_use_is_left_alone(
    saved: Saved, world: World, journal: Journal, containers: Containers
) -> None:
    """Who uses it is named; what uses another volume is not in the way."""
    user = world.container("r5-user", {}, [f"{saved.volume}:/data"], running=True)
    world.container("r5-other", {}, ["/tmp:/data"], running=True)
    before = started(world.client, user)

    with pytest.raises(RestoreError, match="in use by r5-user: nothing was touched"):
        saved.restore(journal, containers)

    assert ("second", before) == (saved.page, started(world.client, user))


def test_with_stop_what_uses_it_is_started_again(
    saved: Saved, world: World, journal: Journal, containers: Containers
) -> None:
    """Only what ran; and it sees what was restored."""
    user = world.container("r5-user", {}, [f"{saved.volume}:/data"], running=True)
    idle = world.container("r5-idle", {}, [f"{saved.volume}:/data"])
    before = started(world.client, user)

    assert RunOutcome.SUCCESS is saved.restore(journal, containers, stop=True)

    assert ("first", 0o750) == (saved.page, saved.data.stat().st_mode & 0o7777)
    assert is_running(world.client, user)
    assert before != started(world.client, user)
    assert not is_running(world.client, idle)
    assert () == journal.containers.still_stopped()


def test_what_uses_it_starts_again_if_the_restore_fails(
    saved: Saved,
    world: World,
    journal: Journal,
    containers: Containers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the file system says."""
    user = world.container("r5-user", {}, [f"{saved.volume}:/data"], running=True)

    def refuse(_: int) -> None:
        raise OSError(5, "the disk is broken")

    monkeypatch.setattr("sidecar.runner.restore.staging.sync_file_system", refuse)
    with pytest.raises(RestoreError, match="the disk is broken"):
        saved.restore(journal, containers, stop=True)

    assert ("second", True) == (saved.page, is_running(world.client, user))
    assert () == journal.containers.still_stopped()


def test_a_container_that_would_vanish_is_not_stopped(
    saved: Saved, world: World, journal: Journal, containers: Containers
) -> None:
    """One of `docker run --rm` goes when it stops."""
    bind = f"{saved.volume}:/data"
    user = world.container("r5-user", {}, [bind], running=True, auto_remove=True)

    with pytest.raises(RestoreError, match="would be removed when it stops"):
        saved.restore(journal, containers, stop=True)

    assert ("second", True) == (saved.page, is_running(world.client, user))


def test_a_volume_that_stands_for_a_folder_is_known_by_that(
    world: World, containers: Containers, tmp_path: Path
) -> None:
    """Its data lies there, and not below the engine's folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    bound = world.volume(type="none", o="bind", device=str(folder))
    world.container("r5-bound", {"backrest.quiesce": "true"}, [f"{bound}:/data"])

    (found,) = (one for one in containers.all() if one.name == "r5-bound")

    assert [(str(folder), "/data", bound)] == [
        (held.source, held.destination, held.name) for held in found.mounts
    ]
    assert (found,) == containers.labelled("backrest.quiesce=true")
    assert (found,) == containers.labelled("backrest.quiesce")
    assert () == containers.labelled("backrest.quiesce=false")
    alone = containers.find("r5-bound")
    assert alone == containers.find(found.id)
    assert alone == Container(found.id, found.name, labels=found.labels, state=found.state)
    assert not containers.is_running("r5-bound")


def test_stopping_and_starting_say_what_became_of_it(
    world: World, containers: Containers, engine: PrivateEngine
) -> None:
    """What is gone is as good as stopped, and cannot be started."""
    user = world.container("r5-user", {}, running=True)

    containers.stop(user, 2)
    assert not containers.is_running(user)
    assert containers.start(user)
    assert containers.start(user)
    assert containers.is_running("r5-user")
    containers.stop("none")
    assert not containers.start("none")
    assert not containers.goes_when_stopped(user)
    assert str(engine.data_root) == containers.data_root()


def test_what_the_engine_refuses_is_told(world: World, containers: Containers) -> None:
    """In its own words, without a trace of the library."""
    world.container("r5-broken", {}, ["/proc/r5-nothing:/data"])

    with pytest.raises(DockerError, match="POST /containers/r5-broken/start"):
        containers.start("r5-broken")


def test_an_engine_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A socket that does not exist is another thing than one that nobody answers at."""
    with Containers(DockerClient(str(tmp_path / "none.sock"))) as none, pytest.raises(NoDocker):
        none.all()
    (tmp_path / "file.sock").touch()
    with (
        Containers(DockerClient(environ={"DOCKER_HOST": f"unix://{tmp_path}/file.sock"})) as deaf,
        pytest.raises(DockerError) as caught,
    ):
        deaf.all()
    assert not isinstance(caught.value, NoDocker)


_STOPS = """
import os, signal, sys
from pathlib import Path
from sidecar.docker.client import DockerClient
from sidecar.docker.containers import Containers
from sidecar.runner.journal import Journal
from sidecar.runner.quiesce import while_stopped

with Containers(DockerClient(sys.argv[1])) as engine, Journal(Path(sys.argv[2])) as journal:
    with while_stopped(engine, [engine.find(sys.argv[3])], journal, seconds=2):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_has_stopped_is_started_by_the_next(
    world: World, journal: Journal, containers: Containers, engine: PrivateEngine
) -> None:
    """Its lock goes with it, and the journal knows the rest."""
    user = world.container("r5-user", {}, running=True)
    command = [sys.executable, "-c", _STOPS, engine.address, str(journal.path), user]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    ended = subprocess.run(command, env=environ, check=False)

    assert -signal.SIGKILL == ended.returncode
    assert not is_running(world.client, user)
    with while_stopped(containers, [], journal):
        assert () == start_again(containers, journal)
        assert not is_running(world.client, user)
    assert () == start_again(containers, journal)
    assert is_running(world.client, user)
    assert () == journal.containers.still_stopped()


class Shop:
    """Two services that run, saved and spoilt since; `shop/web` depends on `shop/db`."""

    def __init__(self, world: World, engine: PrivateEngine, folder: Path) -> None:
        self.client, self.config = world.client, folder / "config.json"
        self.environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self.flags = ["--config", str(self.config), "--docker-sock", engine.address]
        self.data, plans, records = dict[str, Path](), [], []
        for service, needs in (("db", ""), ("web", "db:service_started:true")):
            volume = world.volume()
            data = self.data[service] = Path(world.client.inspect_volume(volume)["Mountpoint"])
            (data / "page").write_text("first")
            labels = {PROJECT: "shop", SERVICE: service, DEPENDS_ON: needs}
            world.container(f"shop-{service}-1", labels, [f"{volume}:/data"], running=True)
            plans.append({"id": service, "repo": "store", "paths": [str(data)], **_UNSCHEDULED})
            mount = MountRecord("/data", seen=str(data), plan=service)
            records.append(
                WorkloadRecord(f"shop/{service}", service, "shop", plan=service, mounts=(mount,))
            )
        repo = {"id": "store", "uri": f"rsync:{folder}/repo", "autoInitialize": True}
        head = {"modno": 1, "version": 6, "instance": "here"}
        document = {**head, "repos": [repo], "plans": plans}
        self.config.with_name("runner.json").write_text(json.dumps(document))
        (folder / ".sidecar").mkdir()
        (folder / ".sidecar" / NAME).write_bytes(render_workloads(records))
        assert 0 == self.run(["-m", "sidecar.runner", "run", "web", "db"])
        for data in self.data.values():
            (data / "page").write_text("second")

    def run(self, words: list[str]) -> int:
        """Run a command of ours; return its exit status."""
        command = [sys.executable, *words, *self.flags]
        return subprocess.run(command, env=self.environ, check=False).returncode

    def pages(self) -> set[str]:
        """Return what stands in both volumes."""
        return {(data / "page").read_text() for data in self.data.values()}


@pytest.mark.parametrize("moment", [2, 4, 6])
def test_a_kill_while_services_stand_still_leaves_none_stopped(
    world: World, engine: PrivateEngine, tmp_path: Path, moment: int
) -> None:
    """The same command starts them again, in their order, and ends the work."""
    shop = Shop(world, engine, tmp_path)
    words = ["restore", "shop/", "--yes", "--stop-timeout", "2s"]
    killed = str(Path(__file__).parents[1] / "fakes" / "one_restore.py")

    assert -signal.SIGKILL == shop.run([killed, str(moment), *words])
    names = ("shop-db-1", "shop-web-1")
    assert not any(is_running(shop.client, name) for name in names)
    assert 0 == shop.run(["-m", "sidecar.runner", *words])

    assert {"first"} == shop.pages()
    assert all(is_running(shop.client, name) for name in names)
    assert started(shop.client, "shop-db-1") < started(shop.client, "shop-web-1")
    with Journal(tmp_path / ".runner" / "journal.sqlite") as journal:
        assert () == journal.containers.still_stopped()
