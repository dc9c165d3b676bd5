"""The doctor in front of a real engine, and behind socket proxies that grant too little."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from doctor_world import WITH_CLIENT, Stack, with_client
from private_docker import PrivateEngine
from sidecar.reconciler.doctor.run import CHECKS
from sidecar.reconciler.settings import InventorySource
from sidecar.service.check_result import CheckStatus
from tests.fakes.socket_proxy import PERMISSIONS, SocketProxy
from world import World

WITHOUT_SHELL = "doctors-shell-less-image"


def without_shell() -> bytes:
    """Return a root file system that has nothing but a sleep."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add("/bin/busybox", "bin/sleep")
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


@pytest.fixture
def stack(images: None, world: World, engine: PrivateEngine, tmp_path: Path) -> Stack:
    """Return a stack whose runner is still to be started."""
    del images
    return Stack(tmp_path, world, engine)


def test_a_healthy_stack_has_nothing_wrong(stack: Stack) -> None:
    """Nothing is left out but what concerns the API and the runner's document: neither is there."""
    stack.run_runner()
    found = stack.examine()
    assert {check.id: "ok" for check in CHECKS} == {
        check: one.verdict.value if one.verdict is not CheckStatus.NOT_CHECKED else "ok"
        for check, one in found.items()
    }
    left_out = {check for check, one in found.items() if one.verdict is CheckStatus.NOT_CHECKED}
    of_the_api = {"api.reachable", "api.login", "api.document", "apply.edits", "repos.known"}
    assert {"document.runner", *of_the_api} == left_out
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
    assert {"runner.found": CheckStatus.FAILURE, "pass": CheckStatus.WARNING} == stack.wrong()


def test_a_stopped_runner_fails(stack: Stack, docker_client: docker.APIClient) -> None:
    """What is in it can be told all the same."""
    docker_client.kill(stack.run_runner())
    assert {"runner.running": CheckStatus.FAILURE} == stack.wrong()


def test_a_runner_without_the_mount_fails(stack: Stack) -> None:
    """The path of the plan is named."""
    stack.binds.pop(1)
    stack.run_runner(WITH_CLIENT)
    # The image has an empty folder of that name, which is nothing of the host.
    assert {"runner.paths": CheckStatus.WARNING} == stack.wrong()
    assert ("plan mine: /data",) == stack.examine()["runner.paths"].details


def test_a_directory_that_is_gone_fails(stack: Stack) -> None:
    """A mount alone makes no path."""
    stack.run_runner()
    document = json.loads(stack.config.read_text())
    document["plans"][0]["paths"] = ["/data", "/data/gone"]
    stack.config.write_text(json.dumps(document))
    assert {"runner.paths": CheckStatus.FAILURE} == stack.wrong()
    assert ("plan mine: /data/gone",) == stack.examine()["runner.paths"].details


def test_a_runner_without_a_shell_fails(stack: Stack) -> None:
    """It has no docker client either."""
    stack.run_runner(WITHOUT_SHELL)
    assert {
        "hooks.shell": CheckStatus.FAILURE,
        "hooks.client": CheckStatus.FAILURE,
    } == stack.wrong()


def test_a_runner_without_the_socket_fails(stack: Stack) -> None:
    """Its hooks call docker."""
    stack.binds.pop()
    stack.run_runner()
    assert {"hooks.socket": CheckStatus.FAILURE} == stack.wrong()


@pytest.mark.parametrize("path", ["", "/config/other.json", "/data/config.json", "/x/config.json"])
def test_a_runner_that_reads_another_document_fails(path: str, stack: Stack) -> None:
    """Or that is told none, which its hooks need."""
    stack.environment["BACKREST_CONFIG"] = path
    stack.run_runner()
    assert {"runner.config": CheckStatus.FAILURE} == stack.wrong()


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
    assert {"runner.config": CheckStatus.FAILURE} == stack.wrong(own_id=other, **inside)


def test_another_time_zone_is_told(stack: Stack) -> None:
    """Schedules run by the runner's."""
    stack.environment["TZ"] = "America/New_York"
    stack.run_runner()
    assert {"zones": CheckStatus.WARNING} == stack.wrong()


def test_to_name_oneself_as_the_runner_fails(stack: Stack) -> None:
    """By the id that the engine gave."""
    runner = stack.run_runner()
    assert {"runner.self": CheckStatus.FAILURE} == stack.wrong(own_id=runner)


def test_a_proxy_that_grants_all_changes_nothing(stack: Stack) -> None:
    """The doctor cannot tell it from the engine."""
    stack.run_runner()
    with SocketProxy(stack.engine.socket) as proxy:
        stack.settings = replace(stack.settings, source=InventorySource(docker_sock=proxy.address))
        assert {} == stack.wrong()
        assert [] == proxy.refused


@pytest.mark.parametrize("permission", sorted(PERMISSIONS))
def test_each_permission_that_a_proxy_keeps_back_is_one_line(permission: str, stack: Stack) -> None:
    """It names the variable; without INFO one can live, so that is a warning."""
    stack.run_runner()
    with SocketProxy(stack.engine.socket, [permission]) as proxy:
        stack.settings = replace(stack.settings, source=InventorySource(docker_sock=proxy.address))
        found = stack.examine()
    well = {CheckStatus.OK, CheckStatus.NOT_CHECKED}
    [wrong] = [one for one in found.values() if one.verdict not in well]
    assert f"{permission} is not granted" in wrong.message
    assert f"set {permission}=1" in wrong.hint
    expected = CheckStatus.WARNING if permission == "INFO" else CheckStatus.FAILURE
    assert expected is wrong.verdict
    assert proxy.refused
