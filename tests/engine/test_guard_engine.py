"""The guard and the hook scripts together: what a dead run left stopped runs again."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import docker
import pytest

from hook_shell import NAME, Hooks, state_of
from private_engine import PrivateEngine
from sidecar.core.policy import Policy
from sidecar.core.render import RenderedWorkload, render
from sidecar.core.workload import Inventory
from sidecar.model.view import DocumentView
from sidecar.watch.applying.idle import PlanActivity
from sidecar.watch.engine.connection import Connection
from sidecar.watch.guard import Guard
from sidecar.watch.inventory import Engine
from world import World

RUNNER = "guarded-runner"


class Guarded:
    """A guard on the real engine, which takes every marker for old enough."""

    def __init__(self, engine: PrivateEngine, directory: Path) -> None:
        self.address = engine.address
        self.connection = Connection(engine.address)
        self.told: list[str] = []
        self.now = 0.0
        activity = PlanActivity(None, self.connection, RUNNER, lambda: True)
        self.guard = Guard(
            self.connection,
            directory,
            0.0,
            activity,
            lambda result, **_: self.told.append(result),
            clock=lambda: self.now,
        )

    def see(self) -> None:
        """Observe the engine and render, as a pass does."""
        with Engine(self.address) as engine:
            self.guard.see(render_all(engine.observe().inventory))

    def run(self) -> list[str]:
        """Make some steps; return what was told."""
        for _ in range(4):
            self.now += self.guard.step()
        return self.told


def render_all(inventory: Inventory) -> tuple[RenderedWorkload, ...]:
    """Render the workloads of an inventory."""
    return render(inventory, DocumentView((), ()), Policy(), datetime.now(UTC)).workloads


@pytest.fixture
def guarded(engine: PrivateEngine, tmp_path: Path) -> Iterator[Guarded]:
    """Give a guard over the markers of a configuration in the test's folder."""
    made = Guarded(engine, tmp_path / ".quiesced")
    yield made
    made.connection.close()


def run_container(world: World, template: str) -> str:
    """Run a container whose labels ask for that template."""
    labels = {"backrest.enable": "true", "backrest.hooks.template": template}
    return world.container(NAME, labels, running=True)


@pytest.mark.parametrize("template", ["stop-start", "pause-unpause"])
def test_what_a_dead_run_left_quiesced_runs_again(
    template: str,
    world: World,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    guarded: Guarded,
    tmp_path: Path,
) -> None:
    """The START hook has run, and no END hook ever will."""
    web = run_container(world, template)
    hooks = Hooks({"hooks.template": template}, engine, tmp_path)
    assert hooks.run(0)[0] == 0
    assert state_of(docker_client, web) != "running"
    guarded.see()
    assert guarded.run() == ["resumed"]
    assert state_of(docker_client, web) == "running"
    assert not hooks.marker.exists()


@pytest.mark.parametrize("template", ["stop-start", "pause-unpause"])
def test_a_script_that_died_right_after_the_stop_is_made_good(
    template: str,
    world: World,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    guarded: Guarded,
    tmp_path: Path,
) -> None:
    """It could not write down when that was: the marker's own time is what counts."""
    web = run_container(world, template)
    dying = tmp_path / "bin" / "docker"
    dying.parent.mkdir()
    dying.write_text('#!/bin/sh\n[ "$1" != inspect ] || exit 9\nexec /usr/bin/docker "$@"\n')
    dying.chmod(0o755)
    hooks = Hooks({"hooks.template": template}, engine, tmp_path)
    assert hooks.run(0, PATH=f"{dying.parent}:{os.environ['PATH']}")[0] == 9
    assert "finished" not in hooks.marker.read_text()
    guarded.see()
    assert guarded.run() == ["resumed"]
    assert state_of(docker_client, web) == "running"


def test_what_somebody_stopped_since_stays_stopped(
    world: World,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    guarded: Guarded,
    tmp_path: Path,
) -> None:
    """Started and stopped by hand after the run died: the hand has the last word."""
    web = run_container(world, "stop-start")
    hooks = Hooks({"hooks.template": "stop-start"}, engine, tmp_path)
    hooks.run(0)
    docker_client.start(web)
    docker_client.stop(web, timeout=1)
    guarded.see()
    assert guarded.run() == ["discarded"]
    assert state_of(docker_client, web) == "exited"
    assert not hooks.marker.exists()


def test_what_runs_again_only_loses_its_marker(
    world: World,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    guarded: Guarded,
    tmp_path: Path,
) -> None:
    """Nothing is told of that."""
    web = run_container(world, "stop-start")
    hooks = Hooks({"hooks.template": "stop-start"}, engine, tmp_path)
    hooks.run(0)
    docker_client.start(web)
    guarded.see()
    assert guarded.run() == []
    assert not hooks.marker.exists()


def test_a_working_runner_keeps_everything_stopped(
    world: World,
    engine: PrivateEngine,
    docker_client: docker.APIClient,
    guarded: Guarded,
    tmp_path: Path,
) -> None:
    """Without an API nobody can tell which plan it is that runs; a dead runner runs none."""
    runner = world.container(RUNNER, {}, running=True)
    web = run_container(world, "stop-start")
    hooks = Hooks({"hooks.template": "stop-start"}, engine, tmp_path)
    hooks.run(0)
    docker_client.exec_start(docker_client.exec_create(runner, ["sleep", "777"]), detach=True)
    guarded.see()
    assert guarded.run() == []
    assert state_of(docker_client, web) == "exited"
    docker_client.kill(runner)
    assert guarded.run() == ["resumed"]
    assert state_of(docker_client, web) == "running"
