"""compose.engines.yaml over compose.yaml, on a real engine: a companion beside Backrest."""

import json
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from private_docker import PrivateEngine
from stack_world import PLAN, WEB, Stack, provide_runner, wait_until

# Three images are built from the Dockerfile first.
pytestmark = pytest.mark.timeout(900)

FILES = ("compose.yaml", "compose.engines.yaml")
WEB_PLAN, OWN_PLAN = f"{PLAN}shop_web", f"{PLAN}backup_backrest"
TO_FILES = WEB.replace(
    'backrest.enable: "true"', 'backrest.enable: "true"\n      backrest.repo: files'
)


@pytest.fixture(scope="module")
def stack(
    networked_engine: PrivateEngine,
    stack_client: docker.APIClient,
    docker_client: docker.APIClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Run the stack, and beside it a workload that is to go to the companion."""
    provide_runner(stack_client, docker_client, "compose.engines.yaml", "companion")
    made = Stack(networked_engine, tmp_path_factory.mktemp("stack") / "backup", files=FILES)
    try:
        made.compose("up", "--detach")
        made.add("shop", TO_FILES)
        yield made
    finally:
        made.down()


def companion(stack: Stack, *arguments: str, status: int = 0) -> str:
    """Run a command in the companion's container; give its output and its errors."""
    given = ["exec", "-T", "companion", "backrest-runner", *arguments]
    done = stack.compose(*given, status=status)
    return done.stdout + done.stderr


def plans_of(stack: Stack, document: str) -> set[str]:
    """Return the ids of the plans in a document."""
    found: dict[str, Any] = json.loads(stack.config.with_name(document).read_text())
    return {plan["id"] for plan in found.get("plans", [])}


def await_plan(stack: Stack) -> None:
    """Wait until the companion has taken up the plan of the workload, and Backrest its own."""
    given = [*stack.tool, *(word for file in FILES for word in ("-f", file)), "exec", "-T"]
    given += ["companion", "backrest-runner", "plans", "--wide"]
    wait_until(lambda: WEB_PLAN in stack.run(given, stack.folder).stdout, "the plan")
    stack.await_plans("backup_backrest")


def test_each_runs_the_plans_of_its_own_document(
    stack: Stack, stack_client: docker.APIClient
) -> None:
    """The companion saves with its hooks, and starts again what it has stopped."""
    await_plan(stack)
    assert {OWN_PLAN} == plans_of(stack, "config.json")
    assert {WEB_PLAN} == plans_of(stack, "runner.json")

    assert "success" in companion(stack, "backup", WEB_PLAN)

    data = stack.engine.data_root / "volumes" / "shop_www" / "_data"
    saved = [*(stack.folder / "files").rglob("dump.txt")]
    assert {"dumped\n"} == {file.read_text() for file in saved}
    assert str(data) in companion(stack, "snapshots", WEB_PLAN)
    assert ": verified (" in companion(stack, "verify", WEB_PLAN)
    assert "success" in stack.sidecar("backup", "backup/backrest")
    web = {"label": ["com.docker.compose.project=shop", "com.docker.compose.service=web"]}
    [state] = [str(one["State"]) for one in stack_client.containers(all=True, filters=web)]
    assert "running" == state
    wait_until(lambda: "healthy" == health(stack_client), "a companion that is well")


def health(client: docker.APIClient) -> str:
    """Return what the health check of the companion's container says."""
    state = client.inspect_container("backrest-companion")["State"]
    return str(state["Health"]["Status"])


def test_what_backrest_runs_the_companion_only_reads(stack: Stack) -> None:
    """It verifies and restores it by name, and says why it does not save it."""
    await_plan(stack)
    assert "success" in stack.sidecar("backup", "backup/backrest")

    assert "--documents runner" in companion(stack, "backup", OWN_PLAN, status=1)
    assert "by Backrest" in companion(stack, "plans")
    assert ": verified (" in companion(stack, "verify", OWN_PLAN)
    companion(stack, "restore", OWN_PLAN, "--target", "/tmp/restored")
    script = "cat $(find /tmp/restored -name config.json)"
    restored = stack.compose("exec", "-T", "companion", "sh", "-c", script).stdout
    assert "backrest" == json.loads(restored)["instance"]


def test_the_sidecar_prints_the_line_that_restores_what_backrest_has_saved(stack: Stack) -> None:
    """By the companion, which shows that a file would come back where Backrest has it."""
    await_plan(stack)
    assert "success" in stack.sidecar("backup", "backup/backrest")
    stack.config.with_name("kept").write_text("kept")

    line = stack.sidecar("restore", "backup/backrest", "/config/config.json", "--dry-run")

    told = ["docker", "exec", "--interactive", "--tty", "backrest-companion", "backrest-runner"]
    assert [*told, "restore", "backup/backrest", "/config/config.json", "--dry-run"] == line.split()
    said = companion(stack, *line.split()[6:])
    assert "/config/config.json  → /config/config.json  a file is there: replaces it" in said
    assert "nothing was restored: this was a dry run" in said


def test_a_changed_label_moves_a_plan_to_backrest(stack: Stack) -> None:
    """It is in one of the documents in the end, and Backrest has loaded it."""
    await_plan(stack)
    folder = stack.folder / "shop"
    (folder / "compose.yaml").write_text(WEB)
    text = WEB.replace(
        'backrest.enable: "true"', 'backrest.enable: "true"\n      backrest.repo: default'
    )
    (folder / "compose.yaml").write_text(text)
    stack.compose("up", "--detach", folder=folder)

    stack.await_plans("backup_backrest", "shop_web")

    wait_until(lambda: plans_of(stack, "runner.json") == set(), "the end of the move")
    assert {OWN_PLAN, WEB_PLAN} == plans_of(stack, "config.json")
    assert "--documents runner" in companion(stack, "backup", WEB_PLAN, status=1)
    assert "success" in stack.sidecar("backup", "shop/web")
