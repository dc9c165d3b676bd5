"""compose.yaml and its overrides, unchanged, on a real engine: they really back up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from private_docker import PrivateEngine
from stack_world import PLAN, WEB, Stack, compose_tools, running_stack, wait_until

# The image is built from the Dockerfile first.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", params=compose_tools(), ids=" ".join)
def stack(
    request: pytest.FixtureRequest,
    networked_engine: PrivateEngine,
    stack_client: docker.APIClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Run the stack from nothing, and beside it a workload of somebody else."""
    del stack_client
    folder = tmp_path_factory.mktemp("stack") / "backup"
    with running_stack(networked_engine, folder, request.param) as made:
        made.add("shop", WEB)
        yield made


def state_of(client: docker.APIClient, container: str) -> dict[str, Any]:
    """Ask the engine for a container's state."""
    state: dict[str, Any] = client.inspect_container(container)["State"]
    return state


def health_of(client: docker.APIClient, container: str) -> str:
    """Ask the engine what a container's health check says."""
    return str(state_of(client, container)["Health"]["Status"])


def container_of(client: docker.APIClient, project: str, service: str) -> str:
    """Find a service's container, whatever this version of Compose calls it."""
    wanted = [f"com.docker.compose.project={project}", f"com.docker.compose.service={service}"]
    [found] = client.containers(all=True, filters={"label": wanted})
    return str(found["Id"])


def test_the_stack_as_pasted_backs_up(stack: Stack, stack_client: docker.APIClient) -> None:
    """A repository, a plan for a workload, its hooks, a snapshot of its data."""
    stack.await_plans("backup_backrest", "shop_web")
    [repo] = stack.document()["repos"]
    assert 64 == len(repo["guid"])
    web = container_of(stack_client, "shop", "web")
    before = state_of(stack_client, web)

    said = stack.sidecar("backup", "shop/web")

    assert "success" in said
    data = f"{stack.engine.data_root}/volumes/shop_www/_data"
    saved = stack.restic(f"ls latest --tag plan:{PLAN}shop_web").splitlines()
    assert {f"{data}/index.html", f"{data}/dump.txt"} <= set(saved)
    assert f"{data}/cache" not in saved
    assert "hello\n" == stack.restic(f"dump latest {data}/index.html")
    after = state_of(stack_client, web)
    assert ("running", "running") == (before["Status"], after["Status"])
    assert before["StartedAt"] < after["StartedAt"]
    assert [] == list((stack.config.parent / ".quiesced").iterdir())


def test_backrests_own_configuration_is_saved(stack: Stack) -> None:
    """Its directory and nothing else, above all not the repository."""
    stack.await_plans("backup_backrest", "shop_web")

    assert "success" in stack.sidecar("backup", "backup/backrest")

    saved = stack.restic(f"ls latest --tag plan:{PLAN}backup_backrest").splitlines()
    assert "/config/config.json" in saved
    assert not [path for path in saved if path.startswith(("/repository", "/data"))]


def test_the_doctor_finds_nothing_wrong_and_the_health_is_good(
    stack: Stack, stack_client: docker.APIClient
) -> None:
    """Each command in the sidecar's container knows what the daemon knows."""
    stack.await_plans("backup_backrest", "shop_web")

    said = stack.sidecar("doctor", "--all")

    assert " 0 warning, 0 failure" in said
    assert "both are in Europe/Berlin" in said
    for name in ("shop/web", "backup/backrest"):
        stack.sidecar("backup", name)
    assert "2 of 2 services protected" in stack.sidecar("status")
    sidecar = container_of(stack_client, "backup", "sidecar")
    wait_until(lambda: health_of(stack_client, sidecar) == "healthy", "a healthy sidecar")
    wait_until(lambda: health_of(stack_client, "backrest") == "healthy", "a healthy Backrest")


def test_backrest_is_open_to_this_machine_only(
    stack: Stack, stack_client: docker.APIClient
) -> None:
    """It asks for no login yet."""
    del stack
    assert [{"HostIp": "127.0.0.1", "HostPort": "9898"}] == stack_client.port("backrest", 9898)


def test_a_second_start_leaves_the_document_as_it_is(stack: Stack) -> None:
    """Nobody's password is replaced by a new one."""
    stack.await_plans("backup_backrest", "shop_web")
    before = stack.document()["repos"]

    stack.compose("up", "--detach")

    assert before == stack.document()["repos"]
    assert "is there already and stays as it is" in stack.compose("logs", "init").stdout


def test_data_is_written_only_under_the_override_for_a_restore(stack: Stack) -> None:
    """Before and after it is read-only, the folder of bind mounts too."""
    data = f"{stack.engine.data_root}/volumes/shop_www/_data/restored"
    script = f"echo restored >{stack.folder}/srv/file && echo restored >{data}"

    assert "Read-only file system" in stack.in_backrest(script, 2)
    stack.compose("-f", "compose.restore.yaml", "up", "--detach")
    stack.in_backrest(script)
    stack.compose("up", "--detach")
    assert "Read-only file system" in stack.in_backrest(script, 2)
    assert "restored\n" == Path(data).read_text()
