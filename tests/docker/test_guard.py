"""The guard and the hook scripts together: what a dead run left stopped runs again."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import docker
import pytest
from official_layout import import_official_layout, run_hook

from hook_shell import NAME, Hooks, state_of
from private_docker import PrivateEngine
from sidecar.backrest.document import DocumentView
from sidecar.docker.client import DockerClient
from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import Inventory
from sidecar.labels.policy import Policy
from sidecar.lib.clocks import Clocks
from sidecar.planner.plan import Pass, RenderedWorkload
from sidecar.planner.plans import render
from sidecar.planner.propose import DesiredState
from sidecar.reconciler.apply.context import GoodPass, LastPass
from sidecar.reconciler.apply.idle import PlanActivity
from sidecar.reconciler.resume.resume import ResumeGuard
from sidecar.reconciler.settings import Applying, ReconcilerSettings
from sidecar.reconciler.state import Memory
from world import World

RUNNER = "guarded-runner"


class Guarded:
    """A guard on the real engine, which takes every marker for old enough."""

    def __init__(self, engine: PrivateEngine, directory: Path) -> None:
        self.address = engine.address
        self.connection = DockerClient(engine.address)
        self.told: list[str] = []
        self.now = 0.0
        self.last_pass = LastPass()
        settings = ReconcilerSettings(
            directory.parent / "config.json",
            Policy(runner_container=RUNNER),
            applying=Applying(guard_after=0.0),
            runner_named=True,
        )
        self.guard = ResumeGuard(
            settings,
            self.connection,
            PlanActivity(settings, Memory(None), self.connection, None),
            self.last_pass,
            Clocks(monotonic=lambda: self.now),
        )

    def see(self) -> None:
        """Observe the engine and render, as a pass does."""
        with DockerInventory(self.address) as engine:
            inventory = engine.observe().inventory
            desired = DesiredState(inventory, Policy(), datetime.now(UTC))
            self.last_pass.set(GoodPass(desired, self.now, render_all(inventory)))

    def run(self) -> list[str]:
        """Make some steps; return what was told."""
        for _ in range(4):
            wait, events = self.guard.step()
            self.now += wait
            self.told += [event.result for event in events]
        return self.told


def render_all(inventory: Inventory) -> tuple[RenderedWorkload, ...]:
    """Render the workloads of an inventory."""
    return render(Pass(inventory, DocumentView((), ()), Policy(), datetime.now(UTC))).workloads


@dataclass
class House:
    """An engine with one labelled container, its hooks, and a guard over their markers."""

    world: World
    engine: PrivateEngine
    client: docker.APIClient
    folder: Path
    guarded: Guarded
    web: str = ""

    def run_web(self, template: str) -> Hooks:
        """Run a container whose labels ask for that template; return its hooks."""
        labels = {"backrest.enable": "true", "backrest.hooks.template": template}
        self.web = self.world.container(NAME, labels, running=True)
        return Hooks({"hooks.template": template}, self.engine, self.folder)

    def abandon_web(self, template: str) -> Hooks:
        """Run it and its START hook, as a run that dies right after does."""
        hooks = self.run_web(template)
        assert hooks.run(0)[0] == 0
        assert self.state != "running"
        return hooks

    @property
    def state(self) -> str:
        """How the container stands."""
        return state_of(self.client, self.web)


@pytest.fixture
def house(
    world: World, engine: PrivateEngine, docker_client: docker.APIClient, tmp_path: Path
) -> Iterator[House]:
    """Return an empty one, with the markers of a configuration in the test's folder."""
    guarded = Guarded(engine, tmp_path / ".quiesced")
    yield House(world, engine, docker_client, tmp_path, guarded)
    guarded.connection.close()


@pytest.mark.parametrize("template", ["stop-start", "pause-unpause"])
def test_what_a_dead_run_left_quiesced_runs_again(template: str, house: House) -> None:
    """The START hook has run, and no END hook ever will."""
    hooks = house.abandon_web(template)
    house.guarded.see()
    assert house.guarded.run() == ["resumed"]
    assert house.state == "running"
    assert not hooks.marker.exists()


@pytest.mark.parametrize("template", ["stop-start", "pause-unpause"])
def test_a_script_that_died_right_after_the_stop_is_made_good(template: str, house: House) -> None:
    """It could not write down when that was: the marker's own time is what counts."""
    hooks = house.run_web(template)
    dying = house.folder / "bin" / "docker"
    dying.parent.mkdir()
    dying.write_text(
        '#!/bin/sh\ncase $* in *FinishedAt*) exit 9 ;; esac\nexec /usr/bin/docker "$@"\n'
    )
    dying.chmod(0o755)
    assert hooks.run(0, PATH=f"{dying.parent}:{os.environ['PATH']}")[0] == 9
    assert "finished" not in hooks.marker.read_text()
    house.guarded.see()
    assert house.guarded.run() == ["resumed"]
    assert house.state == "running"


def test_what_somebody_stopped_since_stays_stopped(house: House) -> None:
    """Started and stopped by hand after the run died: the hand has the last word."""
    hooks = house.abandon_web("stop-start")
    house.client.start(house.web)
    house.client.stop(house.web, timeout=1)
    house.guarded.see()
    assert house.guarded.run() == ["discarded"]
    assert house.state == "exited"
    assert not hooks.marker.exists()


def test_what_runs_again_only_loses_its_marker(house: House) -> None:
    """Nothing is told of that."""
    hooks = house.abandon_web("stop-start")
    house.client.start(house.web)
    house.guarded.see()
    assert house.guarded.run() == []
    assert not hooks.marker.exists()


def test_a_working_runner_keeps_everything_stopped(house: House) -> None:
    """Without an API nobody can tell which plan it is that runs; a dead runner runs none."""
    layout = import_official_layout(house.client)
    runner = house.world.container(RUNNER, {}, image=layout, running=True)
    house.abandon_web("stop-start")
    run_hook(house.client, runner, "sleep 777")
    house.guarded.see()
    assert house.guarded.run() == []
    assert house.state == "exited"
    house.client.kill(runner)
    assert house.guarded.run() == ["resumed"]
    assert house.state == "running"
