"""The scripts that our hooks consist of, run by real shells against a real engine.

The runner renders a hook as a Go template before its shell gets it; what is put back
here is the one escape that we write, `{{"{{"}}`.
"""

from collections.abc import Mapping
from pathlib import Path

import docker
import pytest

from hook_shell import NAME, Hooks, put_before_docker, state_of
from private_docker import PrivateEngine
from sidecar.docker.markers import read_markers
from sidecar.docker.stopped import StopVerb, parse_moment
from world import World


@pytest.fixture
def web(world: World) -> str:
    """Run one container."""
    return world.container(NAME, {}, running=True, stop_timeout=1)


@pytest.mark.parametrize("shell", [("sh",), ("busybox", "sh")], ids=["dash", "busybox"])
@pytest.mark.parametrize(
    ("template", "quiet"),
    [("stop-start", "exited"), ("quiesce-stop-start", "exited"), ("pause-unpause", "paused")],
)
def test_what_ran_is_quiesced_and_resumed(
    template: str,
    quiet: str,
    shell: tuple[str, ...],
    web: str,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    tmp_path: Path,
) -> None:
    """START leaves a marker and quiesces, END resumes and clears the marker."""
    hooks = Hooks({"hooks.template": template}, engine, tmp_path)
    assert hooks.run(0, *shell) == (0, "")
    assert state_of(docker_client, web) == quiet
    [marker] = read_markers(hooks.marker.parent)
    assert (marker.plan, marker.container, marker.state) == ("plan_web", web, "running")
    is_pause = quiet == "paused"
    assert (marker.stop.verb, marker.stop.seconds) == (
        (StopVerb.PAUSE, 0) if is_pause else (StopVerb.STOP, 1)
    )
    ended = docker_client.inspect_container(web)["State"]["FinishedAt"]
    assert marker.stop.finished == ended
    assert is_pause or int(marker.stop.at) <= parse_moment(ended) <= marker.stop.until
    assert hooks.run(1, *shell) == (0, "")
    assert state_of(docker_client, web) == "running"
    assert not hooks.marker.exists()


def test_a_second_start_keeps_the_marker_of_a_dead_run(
    web: str, engine: PrivateEngine, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    """A run that died between START and END is made good by the next one."""
    hooks = Hooks({"hooks.template": "stop-start"}, engine, tmp_path)
    assert hooks.run(0)[0] == 0
    assert hooks.run(0) == (0, f"{NAME} is exited: left as it is\n")
    assert hooks.run(1) == (0, "")
    assert state_of(docker_client, web) == "running"


@pytest.mark.parametrize("template", ["stop-start", "quiesce-stop-start", "pause-unpause"])
def test_what_was_off_stays_off(
    template: str,
    web: str,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    tmp_path: Path,
) -> None:
    """A container that nobody runs is not started by its backup."""
    docker_client.stop(web, timeout=1)
    hooks = Hooks({"hooks.template": template}, engine, tmp_path)
    assert hooks.run(0) == (0, f"{NAME} is exited: left as it is\n")
    assert not hooks.marker.exists()
    assert hooks.run(1) == (0, "")
    assert state_of(docker_client, web) == "exited"


@pytest.mark.parametrize("template", ["stop-start", "pause-unpause"])
def test_what_was_paused_stays_paused(
    template: str,
    web: str,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    tmp_path: Path,
) -> None:
    """Nor is one that somebody paused let run again."""
    docker_client.pause(web)
    hooks = Hooks({"hooks.template": template}, engine, tmp_path)
    assert hooks.run(0) == (0, f"{NAME} is paused: left as it is\n")
    assert hooks.run(1) == (0, "")
    assert state_of(docker_client, web) == "paused"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("template", "verb", "quiet"),
    [("stop-start", "stop", "exited"), ("pause-unpause", "pause", "paused")],
)
def test_a_start_that_died_halfway_is_made_good(
    template: str,
    verb: str,
    quiet: str,
    moment: str,
    web: str,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    tmp_path: Path,
) -> None:
    """Killed right before or after its stop or pause: the marker is there, and END resumes.

    Killed before it, END waits until no stop can be under way any more.
    """
    hooks = Hooks({"hooks.template": template}, engine, tmp_path)
    path = put_before_docker(tmp_path, verb, moment)
    assert hooks.run(0, PATH=path)[0] == -9
    assert state_of(docker_client, web) == ("running" if moment == "before" else quiet)
    [marker] = read_markers(hooks.marker.parent)
    assert (marker.container, marker.stop.finished) == (web, "")
    assert hooks.run(1)[0] == 0
    assert state_of(docker_client, web) == "running"
    assert not hooks.marker.exists()


def test_simple_stop_start_stops_and_starts(
    web: str, engine: PrivateEngine, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    """It keeps no state: END, also twice, starts what was off before too."""
    hooks = Hooks({"hooks.template": "simple-stop-start"}, engine, tmp_path)
    for _ in range(2):
        assert hooks.run(0) == (0, f"{NAME}\n")
        assert state_of(docker_client, web) == "exited"
    for _ in range(2):
        assert hooks.run(1) == (0, f"{NAME}\n")
        assert state_of(docker_client, web) == "running"
    assert not hooks.marker.exists()


def test_simple_stop_start_fails_where_nothing_can_be_stopped(
    engine: PrivateEngine, tmp_path: Path
) -> None:
    """Without its container the backup is not made."""
    hooks = Hooks({"hooks.template": "simple-stop-start"}, engine, tmp_path)
    assert hooks.run(0)[0] != 0
    assert hooks.run(1)[0] != 0


def test_what_others_stopped_since_stays_off(
    web: str, engine: PrivateEngine, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    """Started and stopped by hand during the backup: the hand has the last word."""
    hooks = Hooks({"hooks.template": "stop-start"}, engine, tmp_path)
    hooks.run(0)
    docker_client.start(web)
    docker_client.stop(web, timeout=1)
    status, said = hooks.run(1)
    assert status == 0
    assert "someone else" in said
    assert state_of(docker_client, web) == "exited"
    assert not hooks.marker.exists()


def test_a_recreated_container_is_left_alone(
    web: str, world: World, engine: PrivateEngine, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    """The marker speaks of the container that was stopped, not of its successor."""
    hooks = Hooks({"hooks.template": "stop-start"}, engine, tmp_path)
    hooks.run(0)
    docker_client.rename(web, "hooked.old")
    docker_client.remove_container(web, force=True)
    successor = world.container(NAME, {})
    docker_client.start(successor)
    since = docker_client.inspect_container(successor)["State"]["StartedAt"]
    status, said = hooks.run(1)
    assert (status, "another container" in said) == (0, True)
    assert docker_client.inspect_container(successor)["State"]["StartedAt"] == since
    assert not hooks.marker.exists()
    # The fixture's own clean-up must find nothing that is gone already.
    world._made["container"].remove(web)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_was_stopped_and_is_gone_fails_the_end(
    web: str, world: World, engine: PrivateEngine, tmp_path: Path, *, is_replaced: bool
) -> None:
    """Nothing of its name runs: nobody may take that for a good end."""
    hooks = Hooks({"hooks.template": "stop-start"}, engine, tmp_path)
    hooks.run(0)
    world.remove(web)
    if is_replaced:
        world.container(NAME, {})
    status, said = hooks.run(1)
    assert (status, "is gone" in said) == (1, True)
    assert not hooks.marker.exists()


@pytest.mark.parametrize("template", ["stop-start", "quiesce-stop-start"])
def test_what_a_stop_would_remove_is_not_stopped(
    template: str,
    world: World,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    tmp_path: Path,
) -> None:
    """The backup fails before anything is lost, and END has nothing to do."""
    fleeting = world.container(NAME, {}, running=True, auto_remove=True)
    hooks = Hooks({"hooks.template": template}, engine, tmp_path)
    status, said = hooks.run(0)
    assert (status, "would be removed when it stops (--rm)" in said) == (1, True)
    assert state_of(docker_client, fleeting) == "running"
    assert not hooks.marker.exists()
    assert hooks.run(1) == (0, "")


def test_what_a_stop_would_remove_is_paused_all_the_same(
    world: World, engine: PrivateEngine, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    """A pause removes nothing."""
    fleeting = world.container(NAME, {}, running=True, auto_remove=True)
    hooks = Hooks({"hooks.template": "pause-unpause"}, engine, tmp_path)
    assert hooks.run(0) == (0, "")
    assert state_of(docker_client, fleeting) == "paused"
    assert hooks.run(1) == (0, "")
    assert state_of(docker_client, fleeting) == "running"


def test_a_container_that_is_gone_is_no_failure(engine: PrivateEngine, tmp_path: Path) -> None:
    """The data of a removed container is still backed up."""
    hooks = Hooks({"hooks.template": "stop-start"}, engine, tmp_path)
    assert hooks.run(0) == (0, f"{NAME} does not exist: nothing to stop\n")
    assert hooks.run(1) == (0, "")


def test_nothing_is_stopped_without_a_place_for_the_marker(
    web: str, engine: PrivateEngine, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    """The script fails before it stops anything where BACKREST_CONFIG is not set."""
    hooks = Hooks({"hooks.template": "stop-start"}, engine, tmp_path)
    del hooks.environment["BACKREST_CONFIG"]
    status, said = hooks.run(0)
    assert status != 0
    assert "BACKREST_CONFIG" in said
    assert state_of(docker_client, web) == "running"


@pytest.mark.usefixtures("web")
def test_commands_run_in_the_container_as_written(engine: PrivateEngine, tmp_path: Path) -> None:
    """Quotes, dollars and double braces reach the container's shell unchanged."""
    command = """printf '%s' "it's {{ $((1+1)) $SELF"; exit 3"""
    hooks = Hooks({"exec.start": command, "exec.user": "0"}, engine, tmp_path)
    assert hooks.run(0) == (3, "it's {{ 2 " + NAME)


def test_commands_for_a_stopped_container_are_left_out(
    web: str, engine: PrivateEngine, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    """A hook for a container that does not run says so and succeeds."""
    docker_client.stop(web, timeout=1)
    hooks = Hooks({"exec.start": "exit 3"}, engine, tmp_path)
    assert hooks.run(0) == (0, f"{NAME} is not running: its hook is left out\n")


@pytest.mark.parametrize(
    "labels", [{"hooks.template": "stop-start"}, {"exec.start": "true"}], ids=["stop", "exec"]
)
def test_an_absent_engine_fails_the_backup(
    labels: Mapping[str, str], engine: PrivateEngine, tmp_path: Path
) -> None:
    """Unknown is not the same as not running."""
    hooks = Hooks(labels, engine, tmp_path)
    status, _ = hooks.run(0, DOCKER_HOST=f"unix://{tmp_path}/nobody.sock")
    assert status != 0
