"""compose.runner.yaml, unchanged, on a real engine: labels alone give backups, without Backrest."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import docker
import pytest

from private_docker import PrivateEngine
from stack_world import PLAN, WEB, Stack, provide_runner, services_with_socket, wait_until

# Three images are built from the Dockerfile first.
pytestmark = pytest.mark.timeout(900)

FILE, RESTORE = "compose.runner.yaml", "compose.runner-restore.yaml"
PROXY = "compose.runner-socket-proxy.yaml"
WEB_PLAN = f"{PLAN}shop_web"
EVERY_MINUTE = WEB.replace(
    'backrest.enable: "true"',
    'backrest.enable: "true"\n      backrest.schedule: "* * * * *"\n      backrest.keep: "last=1"',
)


UNLABELLED = """
services:
  redis:
    image: busybox:stable
    command: ["sleep", "86400"]
    stop_signal: SIGKILL
    network_mode: none
    volumes: ["memory:/data"]
volumes: {memory: {}}
"""


@pytest.fixture(scope="module")
def stack(
    networked_engine: PrivateEngine,
    stack_client: docker.APIClient,
    docker_client: docker.APIClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Run the stack from nothing, and beside it a workload of somebody else."""
    provide_runner(stack_client, docker_client, FILE, "runner")
    made = Stack(networked_engine, tmp_path_factory.mktemp("stack") / "backup", files=(FILE,))
    try:
        made.compose("up", "--detach")
        made.add("shop", EVERY_MINUTE)
        yield made
    finally:
        made.down()


def runner(stack: Stack, *arguments: str, status: int = 0) -> str:
    """Run a command in the runner's container; give its output."""
    given = ["exec", "-T", "runner", "backrest-runner", *arguments]
    return stack.compose(*given, status=status).stdout


def restic(stack: Stack, arguments: str, *, in_another: bool = False) -> str:
    """Ask restic about the repository, in the runner's container or in another one like it."""
    [repo] = stack.document()["repos"]
    secret = f"RESTIC_PASSWORD={repo['password']} RESTIC_REPOSITORY={repo['uri']}"
    # A run of the daemon may hold the repository at any moment.
    script = f"{secret} restic --no-lock {arguments}"
    given = ["exec", "-T", "runner", "sh"]
    if in_another:
        given = ["run", "--rm", "--no-deps", "-T", "--entrypoint", "sh", "runner"]
    return stack.compose(*given, "-c", script).stdout


def snapshots(stack: Stack, *, in_another: bool = False) -> list[str]:
    """List the ids of the snapshots of the workload's plan, oldest first."""
    tags = f"plan:{WEB_PLAN},created-by:backrest"
    said = restic(stack, f"snapshots --json --tag {tags}", in_another=in_another)
    return [str(one["id"]) for one in json.loads(said)]


def await_plan(stack: Stack, plan: str = WEB_PLAN) -> None:
    """Wait until the runner has made the repository and taken up the plan of the workload."""
    repository = stack.folder / "repository" / "config"
    wait_until(repository.exists, "the repository")
    given = [*stack.tool, "-f", FILE, "exec", "-T", "runner", "backrest-runner", "plans"]
    given += ["--wide"]
    wait_until(lambda: plan in stack.run(given, stack.folder).stdout, "the plan")


def data_of(stack: Stack, project: str = "shop") -> Path:
    """Return a workload's data, as the host sees it."""
    return stack.engine.data_root / "volumes" / f"{project}_www" / "_data"


def test_labels_alone_give_a_scheduled_backup_with_hooks_and_retention(
    stack: Stack, stack_client: docker.APIClient
) -> None:
    """Nobody asks for the first snapshot; the dump of its START hook is in it; one is kept."""
    await_plan(stack)
    wait_until(lambda: len(snapshots(stack)) == 1, "a snapshot by the schedule")
    [first] = snapshots(stack)

    assert "success" in runner(stack, "backup", WEB_PLAN)

    wait_until(lambda: len(snapshots(stack)) == 1, "retention")
    assert first not in snapshots(stack)
    data = data_of(stack)
    saved = restic(stack, f"ls latest --tag plan:{WEB_PLAN}").splitlines()
    assert {f"{data}/index.html", f"{data}/dump.txt"} <= set(saved)
    assert f"{data}/cache" not in saved
    wait_until(lambda: is_left_alone(stack, stack_client), "the workload at work")


def is_left_alone(stack: Stack, client: docker.APIClient) -> bool:
    """Return whether the workload's container runs, and no backup has anything stopped."""
    web = {"label": ["com.docker.compose.project=shop", "com.docker.compose.service=web"]}
    states = [str(one["State"]) for one in client.containers(all=True, filters=web)]
    return states == ["running"] and not list((stack.config.parent / ".quiesced").iterdir())


def test_both_programs_tell_whether_everything_is_backed_up(stack: Stack) -> None:
    """A service that was saved, one whose night has yet to come, and data that is in no plan."""
    await_plan(stack)
    assert "success" in runner(stack, "backup", WEB_PLAN)
    stack.add("media", UNLABELLED)
    given = [*stack.tool, "-f", FILE, "exec", "-T", "runner", "backrest-runner", "status"]
    wait_until(lambda: "media/redis" in stack.run(given, stack.folder).stdout, "its name")

    said = [
        json.loads(command("status", "--output", "json", status=3))
        for command in (stack.sidecar, partial(runner, stack))
    ]

    states = {"backup/runner": "never_saved", "media/redis": "no_plan", "shop/web": "protected"}
    unsaved = [{"service": "media/redis", "path": "/data", "why": "not labelled"}]
    for one in said:
        assert states == {row["service"]: row["state"] for row in one["services"]}
        assert (unsaved, 1, 3) == (one["in_no_plan"], one["protected"], one["total"])
    last = runner(stack, "status", status=3).splitlines()[-1]
    assert last.startswith("1 of 3 services protected, newest ")
    assert last.endswith("; in no plan: media/redis /data")


def test_a_backup_is_verified_and_restored_where_it_was(stack: Stack) -> None:
    """Byte for byte in scratch, then in place, by a container that may write there.

    The sidecar has told the runner what the plan is called.
    """
    await_plan(stack)
    assert "backup shop/web: success" in runner(stack, "backup", "shop/web")

    assert "shop/web: verified (" in runner(stack, "verify", "web")

    page = data_of(stack) / "index.html"
    page.write_text("defaced\n")
    stack.compose("stop", "runner")
    given = ("run", "--rm", "--no-deps", "-T", "runner", "restore", WEB_PLAN)
    stack.files = (FILE, RESTORE)
    said = stack.compose(*given, "--in-place", "--stop").stdout
    stack.files = (FILE,)
    stack.compose("start", "runner")
    assert "hello\n" == page.read_text(), said


def started(client: docker.APIClient) -> str:
    """Return when the container of notes/web was started, which has to run."""
    web = {"label": ["com.docker.compose.project=notes", "com.docker.compose.service=web"]}
    [found] = client.containers(filters=web)
    return str(client.inspect_container(found["Id"])["State"]["StartedAt"])


def test_one_command_restores_beside_the_daemon(
    stack: Stack, stack_client: docker.APIClient
) -> None:
    """By names and paths of the container; the data can be written for that, and by nobody else."""
    # One that is not saved each minute.
    stack.add("notes", WEB)
    await_plan(stack, f"{PLAN}notes_web")
    assert "success" in runner(stack, "backup", "notes/web")
    data, before = data_of(stack, "notes"), started(stack_client)
    names = {one["Id"] for one in stack_client.containers(all=True)}
    (data / "index.html").write_text("defaced\n")
    (data / "more").write_text("more")

    told = runner(stack, "restore", "notes/web", "/srv/www/index.html", "--dry-run")
    assert "done by a container of its own, which may write there" in told
    assert "defaced\n" == (data / "index.html").read_text()
    said = runner(stack, "restore", "notes/web", "/srv/www/index.html", "--yes")
    assert f"/srv/www/index.html  → {data}/index.html  a file is there: replaces it" in said
    assert ("hello\n", "more") == tuple((data / n).read_text() for n in ("index.html", "more"))
    assert before == started(stack_client)

    (data / "index.html").write_text("defaced\n")
    said = runner(stack, "restore", "notes/", "--at", "today", "--yes")
    assert "stops and starts notes" in said
    assert "hello\n" == (data / "index.html").read_text()
    assert not (data / "more").exists()
    assert before != started(stack_client)
    assert names == {one["Id"] for one in stack_client.containers(all=True)}

    runner(stack, "restore", "notes/web", "--to")
    there = stack.folder / "restored" / "notes_web" / "srv" / "www" / "index.html"
    assert "hello\n" == there.read_text()
    script = f"echo x >{data}/x"
    stack.compose("exec", "-T", "runner", "sh", "-c", script, status=2)


def test_the_repository_is_pruned_and_found_sound(stack: Stack) -> None:
    """By commands of the runner, which its daemon carries out."""
    await_plan(stack)
    [repo] = stack.document()["repos"]

    assert "success" in runner(stack, "prune", repo["id"])
    assert "success" in runner(stack, "check", repo["id"])


def test_the_doctor_finds_nothing_wrong(stack: Stack) -> None:
    """The sidecar sees the runner's mounts, its document and its zone."""
    await_plan(stack)

    said = stack.sidecar("doctor", "--all")

    assert " 0 failure" in said
    assert "both are in Europe/Berlin" in said
    of_runner = runner(stack, "doctor", "--all")
    assert " 0 failure" in of_runner
    assert "it answers, and its password is right" in of_runner


def test_the_pages_are_open_to_this_machine_only(
    stack: Stack, stack_client: docker.APIClient
) -> None:
    """They tell the names of plans."""
    del stack
    ports = stack_client.port("backrest-runner", 9899)
    assert [{"HostIp": "127.0.0.1", "HostPort": "9899"}] == ports


def test_what_is_saved_can_only_be_read(stack: Stack) -> None:
    """A mistake in a hook damages nothing."""
    script = f"echo x >{data_of(stack)}/x"
    said = stack.compose("exec", "-T", "runner", "sh", "-c", script, status=2)
    assert "Read-only file system" in said.stderr


def test_the_same_goes_through_a_socket_proxy(stack: Stack, stack_client: docker.APIClient) -> None:
    """Hooks that stop, run a command and start; a restore that stops; and nothing is missing."""
    await_plan(stack)
    stack.compose("down")
    stack.files = (FILE, PROXY)
    try:
        stack.compose("up", "--detach")
        assert {"socket-proxy"} == services_with_socket(stack, stack_client)
        await_plan(stack)
        dump = data_of(stack) / "dump.txt"
        dump.unlink(missing_ok=True)
        assert "success" in runner(stack, "backup", WEB_PLAN)
        # That may have been a run whose hooks had run before.
        wait_until(dump.exists, "a dump")
        said = stack.sidecar("doctor", "--all")
        assert " 0 failure" in said
        assert "tcp://socket-proxy:2375 lets hooks" in said
        (data_of(stack) / "index.html").write_text("defaced\n")
        stack.compose("stop", "runner")
        stack.files = (FILE, PROXY, RESTORE)
        given = ("run", "--rm", "--no-deps", "-T", "runner", "restore", WEB_PLAN)
        said = stack.compose(*given, "--in-place", "--stop").stdout
        assert "hello\n" == (data_of(stack) / "index.html").read_text(), said
    finally:
        stack.files = (FILE, PROXY)
        stack.compose("down")
        stack.files = (FILE,)
        stack.compose("up", "--detach")


def test_backrest_takes_over_and_gives_back(stack: Stack) -> None:
    """The same document and repository, the other file: both find each other's snapshots."""
    await_plan(stack)
    # Another run may be between its snapshot and its retention at any moment.
    stack.compose("stop", "runner")
    before = snapshots(stack, in_another=True)
    stack.compose("down")
    stack.files = ("compose.yaml",)
    try:
        stack.compose("up", "--detach")
        wait_until(lambda: "shop_web" in stack.loaded(), "Backrest with the plan")
        tag = f"--tag plan:{WEB_PLAN},created-by:backrest"
        found = json.loads(stack.restic(f"snapshots --json {tag}"))
        assert before == [one["id"] for one in found]
        assert "success" in stack.sidecar("backup", "shop/web")
        both = {one["id"] for one in json.loads(stack.restic(f"snapshots --json {tag}"))}
        assert set(before) < both
    finally:
        stack.compose("down")
        stack.files = (FILE,)
        stack.compose("up", "--detach")
    await_plan(stack)
    assert "success" in runner(stack, "backup", WEB_PLAN)
    wait_until(lambda: len(snapshots(stack)) == 1, "retention over everybody's snapshots")
    assert both.isdisjoint(snapshots(stack))
