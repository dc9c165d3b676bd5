"""The doctor in front of a real engine, and behind socket proxies that grant too little."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from private_engine import PrivateEngine
from sample_stack import busybox_tar
from sidecar.core.policy import Policy
from sidecar.settings import Applying, Settings, Source
from sidecar.watch.doctor.finding import Finding, Verdict
from sidecar.watch.doctor.patient import Patient, admit
from sidecar.watch.doctor.run import CHECKS, examine
from tests.fakes.socket_proxy import PERMISSIONS, SocketProxy
from tests.unit.test_doctor import PAUSE, SCALE, STOP
from world import World

NAME = "doctors-runner"
WITH_CLIENT, WITHOUT_SHELL = "doctors-runner-image", "doctors-shell-less-image"


def without_shell() -> bytes:
    """Return a root file system that has nothing but a sleep."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add("/bin/busybox", "bin/sleep")
    return packed.getvalue()


def with_client() -> bytes:
    """Return a root file system with a shell and something called docker."""
    packed = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=packed, mode="a") as tar:
        entry = tarfile.TarInfo("usr/bin/docker")
        entry.mode = 0o755
        tar.addfile(entry)
    return packed.getvalue()


@pytest.fixture(scope="module")
def images(docker_client: docker.APIClient) -> Iterator[None]:
    """Make the runners' images."""
    changes = ['CMD ["/bin/sleep", "86400"]', 'LABEL "org.opencontainers.image.version"="v1.14.1"']
    for name, packed in ((WITH_CLIENT, with_client()), (WITHOUT_SHELL, without_shell())):
        docker_client.import_image_from_data(packed, repository=name, tag="latest", changes=changes)
    yield
    for name in (WITH_CLIENT, WITHOUT_SHELL):
        docker_client.remove_image(name, force=True)


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
        self.settings = Settings(
            self.config,
            Policy(runner_container=NAME),
            Source(docker_sock=engine.address),
            runner_named=True,
            applying=Applying(enabled=True),
        )
        self._write()

    def _write(self) -> None:
        hooks = [{"actionCommand": {"command": command}} for command in (STOP, PAUSE, SCALE)]
        document = {
            "modno": 1,
            "version": 6,
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

    def patient(self, **changed: Any) -> Patient:
        """Give the one who is examined, who does not run in a container."""
        patient = admit(self.settings, {"TZ": "Europe/Berlin"}, fix=False)
        patient.own_id, patient.is_contained = "", False
        for name, value in changed.items():
            setattr(patient, name, value)
        return patient

    def examine(self, **changed: Any) -> dict[str, Finding]:
        """Run all checks."""
        return {one.check: one for one in examine(self.patient(**changed)).findings}

    def wrong(self, **changed: Any) -> dict[str, Verdict]:
        """Run all checks; return what is neither well nor left out."""
        well = {Verdict.OK, Verdict.NOT_CHECKED}
        found = self.examine(**changed).items()
        return {check: one.verdict for check, one in found if one.verdict not in well}


@pytest.fixture
def stack(images: None, world: World, engine: PrivateEngine, tmp_path: Path) -> Stack:
    """Give a stack whose runner is still to be started."""
    del images
    return Stack(tmp_path, world, engine)


def test_a_healthy_stack_has_nothing_wrong(stack: Stack) -> None:
    """Nothing is left out but what concerns the API, which is not there."""
    stack.run_runner()
    found = stack.examine()
    assert {check.id: "ok" for check in CHECKS} == {
        check: one.verdict.value if one.verdict is not Verdict.NOT_CHECKED else "ok"
        for check, one in found.items()
    }
    left_out = {check for check, one in found.items() if one.verdict is Verdict.NOT_CHECKED}
    assert {"api.reachable", "api.login", "api.document", "repos.known"} == left_out
    assert "Backrest v1.14.1" == found["runner.version"].message


def test_the_examination_does_nothing(stack: Stack, docker_client: docker.APIClient) -> None:
    """Containers run as before, and the document is the same file."""
    runner = stack.run_runner()
    before = docker_client.inspect_container(runner)["State"]
    names = sorted(os.listdir(stack.config.parent))
    status = stack.config.stat()
    stack.examine()
    assert before == docker_client.inspect_container(runner)["State"]
    assert names == sorted(os.listdir(stack.config.parent))
    assert (status.st_ino, status.st_mtime_ns) == (
        stack.config.stat().st_ino,
        stack.config.stat().st_mtime_ns,
    )


def test_an_absent_runner_fails(stack: Stack) -> None:
    """So do new plans wait for it."""
    assert {"runner.found": Verdict.FAILURE, "pass": Verdict.WARNING} == stack.wrong()


def test_a_stopped_runner_fails(stack: Stack, docker_client: docker.APIClient) -> None:
    """What is in it can be told all the same."""
    docker_client.kill(stack.run_runner())
    assert {"runner.running": Verdict.FAILURE} == stack.wrong()


def test_a_runner_without_the_mount_fails(stack: Stack) -> None:
    """The path of the plan is named."""
    stack.binds.pop(1)
    stack.run_runner(WITH_CLIENT)
    # The image has an empty folder of that name, which is nothing of the host.
    assert {"runner.paths": Verdict.WARNING} == stack.wrong()
    assert ("plan mine: /data",) == stack.examine()["runner.paths"].details


def test_a_directory_that_is_gone_fails(stack: Stack) -> None:
    """A mount alone makes no path."""
    stack.run_runner()
    document = json.loads(stack.config.read_text())
    document["plans"][0]["paths"] = ["/data", "/data/gone"]
    stack.config.write_text(json.dumps(document))
    assert {"runner.paths": Verdict.FAILURE} == stack.wrong()
    assert ("plan mine: /data/gone",) == stack.examine()["runner.paths"].details


def test_a_runner_without_a_shell_fails(stack: Stack) -> None:
    """It has no docker client either."""
    stack.run_runner(WITHOUT_SHELL)
    assert {"hooks.shell": Verdict.FAILURE, "hooks.client": Verdict.FAILURE} == stack.wrong()


def test_a_runner_without_the_socket_fails(stack: Stack) -> None:
    """Its hooks call docker."""
    stack.binds.pop()
    stack.run_runner()
    assert {"hooks.socket": Verdict.FAILURE} == stack.wrong()


@pytest.mark.parametrize("path", ["", "/config/other.json", "/data/config.json", "/x/config.json"])
def test_a_runner_that_reads_another_document_fails(path: str, stack: Stack) -> None:
    """Or that is told none, which its hooks need."""
    stack.environment["BACKREST_CONFIG"] = path
    stack.run_runner()
    assert {"runner.config": Verdict.FAILURE} == stack.wrong()


def test_in_a_container_both_containers_mounts_are_compared(stack: Stack) -> None:
    """Our path of the document may be another than the host's and the runner's."""
    stack.run_runner()
    binds = [f"{stack.folder}/config:{stack.config.parent}"]
    same = stack.world.container("doctors-self", {}, binds)
    elsewhere = [f"{stack.folder}/data:{stack.config.parent}"]
    other = stack.world.container("doctors-other-self", {}, elsewhere)
    mountinfo = stack.folder / "mountinfo"
    mountinfo.write_text(f"1 2 0:3 / {stack.config.parent} rw - ext4 /dev/x rw\n")
    inside = {"is_contained": True, "mountinfo": mountinfo}
    assert {} == stack.wrong(own_id=same, **inside)
    assert {"runner.config": Verdict.FAILURE} == stack.wrong(own_id=other, **inside)


def test_another_time_zone_is_told(stack: Stack) -> None:
    """Schedules run by the runner's."""
    stack.environment["TZ"] = "America/New_York"
    stack.run_runner()
    assert {"zones": Verdict.WARNING} == stack.wrong()


def test_to_name_oneself_as_the_runner_fails(stack: Stack) -> None:
    """By the id that the engine gave."""
    runner = stack.run_runner()
    assert {"runner.self": Verdict.FAILURE} == stack.wrong(own_id=runner)


def test_a_proxy_that_grants_all_changes_nothing(stack: Stack) -> None:
    """The doctor cannot tell it from the engine."""
    stack.run_runner()
    with SocketProxy(stack.engine.socket) as proxy:
        stack.settings = replace(stack.settings, source=Source(docker_sock=proxy.address))
        assert {} == stack.wrong()
        assert [] == proxy.refused


@pytest.mark.parametrize("permission", sorted(PERMISSIONS))
def test_each_permission_that_a_proxy_keeps_back_is_one_line(permission: str, stack: Stack) -> None:
    """It names the variable; without INFO one can live, so that is a warning."""
    stack.run_runner()
    with SocketProxy(stack.engine.socket, [permission]) as proxy:
        stack.settings = replace(stack.settings, source=Source(docker_sock=proxy.address))
        found = stack.examine()
    well = {Verdict.OK, Verdict.NOT_CHECKED}
    [wrong] = [one for one in found.values() if one.verdict not in well]
    assert f"{permission} is not granted" in wrong.message
    assert f"set {permission}=1" in wrong.hint
    expected = Verdict.WARNING if permission == "INFO" else Verdict.FAILURE
    assert expected is wrong.verdict
    assert proxy.refused
