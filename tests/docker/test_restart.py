"""The restart way on a real engine: never while anything works, never for nothing."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
from official_layout import IMAGE, TREE, import_official_layout, run_hook

from private_docker import PrivateEngine
from sidecar.docker.client import DockerClient
from sidecar.labels.policy import Policy
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import InventoryError
from sidecar.reconciler.apply.apply import Applier
from sidecar.reconciler.apply.container import (
    BackrestContainer,
    Process,
    find_backrest,
    find_busy,
    processes_of,
)
from sidecar.reconciler.apply.context import LOADED, ApplyConnections, LastPass
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.settings import Applying, ApplyVia, ReconcilerSettings
from sidecar.reconciler.state import ApplyTrouble, Memory
from world import World

NAME = "applied-runner"
DOCUMENT: dict[str, Any] = {
    "modno": 1,
    "version": 6,
    "instance": "here",
    "repos": [{"id": "r", "uri": "/r", "guid": "a" * 64}],
    "plans": [{"id": "backrest_sidecar_web", "repo": "r", "paths": ["/w"]}],
}


class Refusing(DockerClient):
    """A socket proxy that lets everything be read and nothing be done."""

    def act(
        self, path: str, body: object = None, *, method: str = "POST", timeout: float | None = None
    ) -> bytes | None:
        """Refuse."""
        del body, method, timeout
        raise InventoryError(f"POST {path} was refused with status 403")


class Applied:
    """An applier on the real engine, whose quiet period is over as soon as it has begun."""

    def __init__(self, link: DockerClient, config: Path, memory: Memory, own: str = "") -> None:
        applying = Applying(enabled=True, via=ApplyVia.RESTART, restart_timeout=1.0, wait=600.0)
        policy = Policy(runner_container=NAME, own_container_id=own)
        self.link = link
        self.memory = memory
        self.told: list[str] = []
        self.restarted = 0
        self.monotonic = 0.0
        self.applier = Applier(
            ReconcilerSettings(config, policy=policy, applying=applying),
            PassRecorder(memory),
            ApplyConnections(link),
            LastPass(),
            clocks=Clocks(lambda: self.monotonic, time.time),
        )

    def run(self, steps: int = 12, until: Callable[[], bool] = lambda: False) -> None:
        """Make steps; time passes as they ask for it."""
        for _ in range(steps):
            if until():
                return
            wait, events = self.applier.step()
            self.monotonic += wait
            results = [event.result for event in events]
            self.restarted += results.count("restarted")
            self.told += [result for result in results if result != "restarted"]

    def run_until(self, result: str) -> None:
        """Make steps until this is told."""
        self.run(400, lambda: result in self.told)
        assert result in self.told

    @property
    def runner(self) -> BackrestContainer:
        """The container as it is now."""
        found = find_backrest(self.link, NAME)
        assert found is not None
        return found

    def write(self) -> None:
        """Note a write of the document, as the main loop does."""
        self.memory.change(written_at=time.time())


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A document with a plan of ours, older than any runner."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(DOCUMENT))
    os.utime(path, (1000, 1000))
    return path


@pytest.fixture(scope="module")
def layout(docker_client: docker.APIClient) -> Iterator[str]:
    """Make an image with the processes of Backrest's official one."""
    yield import_official_layout(docker_client)
    docker_client.remove_image(IMAGE, force=True)


@pytest.fixture
def runner(world: World, layout: str) -> str:
    """Run a container in which nothing works."""
    return world.container(NAME, {}, image=layout, running=True)


@pytest.fixture
def applied(engine: PrivateEngine, config: Path, runner: str) -> Iterator[Applied]:
    """Apply to that container."""
    assert runner
    with DockerClient(engine.address) as link:
        yield Applied(link, config, Memory(config.parent / ".sidecar"))


def test_a_resting_runner_is_restarted_once(applied: Applied) -> None:
    """Then it has read the document, and the main loop is told to look again."""
    before = applied.runner
    applied.write()
    applied.run_until("applied")
    after = applied.runner
    assert after.is_running
    assert after.started_at > before.started_at
    assert (applied.restarted, len(applied.memory.state.restarts)) == (1, 1)
    applied.run(40)
    assert applied.runner.started_at == after.started_at
    assert applied.told == ["applied"]


def test_a_document_that_was_read_needs_no_restart(applied: Applied) -> None:
    """It was written before the container started."""
    applied.memory.change(written_at=applied.runner.started_at - 1)
    before = applied.runner.started_at
    applied.run(40)
    assert applied.told == []
    assert applied.runner.started_at == before


def test_a_working_runner_is_never_restarted(
    applied: Applied, docker_client: docker.APIClient, runner: str
) -> None:
    """What hangs on longer than `wait` is told once; when it ends, the restart follows."""
    before = applied.runner.started_at
    made = docker_client.exec_create(runner, ["busybox", "mkfifo", "/tmp/end"])
    docker_client.exec_start(made)
    run_hook(docker_client, runner, "read x </tmp/end")
    wait_until(lambda: busy_in(applied) == ["sh"])
    applied.write()
    applied.run(120)
    assert applied.told == ["waiting"]
    assert applied.runner.started_at == before
    ended = docker_client.exec_create(runner, ["sh", "-c", "echo >/tmp/end"])
    docker_client.exec_start(ended)
    applied.run_until("applied")
    assert applied.runner.started_at > before


def test_what_the_official_image_always_runs_is_no_work(
    applied: Applied, docker_client: docker.APIClient, runner: str
) -> None:
    """Nor is a shell of `docker exec`; whatever Backrest starts is."""
    made = docker_client.exec_create(runner, ["sh", "-c", "sleep 300; true"])
    docker_client.exec_start(made, detach=True)
    wait_until(lambda: any("sleep 300" in one.line for one in listed(applied)))
    assert TREE == [one.line for one in listed(applied)][:3]
    assert [] == busy_in(applied)
    run_hook(docker_client, runner, "sleep 301; true")
    wait_until(lambda: busy_in(applied) == ["sh", "sleep"])


def listed(applied: Applied) -> list[Process]:
    """What runs in the container."""
    return processes_of(applied.link, applied.runner) or []


def busy_in(applied: Applied) -> list[str]:
    """Name what works in it."""
    return find_busy(listed(applied), applied.runner)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait ten seconds at most."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_marker_of_a_hook_puts_a_restart_off(applied: Applied, config: Path) -> None:
    """Something is stopped, so a run is going on or the guard has to act first."""
    marker = config.parent / ".quiesced" / "web"
    marker.parent.mkdir()
    marker.write_text("plan=p\n")
    applied.write()
    applied.run(60)
    assert applied.memory.state.restarts == ()
    marker.unlink()
    applied.run_until("applied")


def test_a_plan_that_is_due_puts_a_restart_off(applied: Applied, config: Path) -> None:
    """It would begin right when the runner is killed."""
    due = {**DOCUMENT["plans"][0], "schedule": {"cron": "* * * * *"}}
    config.write_text(json.dumps({**DOCUMENT, "plans": [due]}))
    applied.write()
    applied.run(60)
    assert applied.memory.state.restarts == ()
    config.write_text(json.dumps(DOCUMENT))
    applied.run_until("applied")


def test_the_fifth_restart_of_an_hour_waits(applied: Applied) -> None:
    """That is told; the pending document is not forgotten."""
    now = time.time()
    applied.memory.change(restarts=(now - 3590, now - 30, now - 20, now - 10))
    applied.write()
    applied.run(30)
    assert applied.told == ["limited"]
    applied.memory.change(restarts=(now - 3601, now - 30, now - 20, now - 10))
    applied.run_until("applied")
    assert len(applied.memory.state.restarts) == 4


def test_the_sidecars_own_container_is_never_restarted(
    engine: PrivateEngine, config: Path, runner: str
) -> None:
    """The operator named the wrong one; a short id is enough to notice."""
    with DockerClient(engine.address) as link:
        applied = Applied(link, config, Memory(None), own=runner[:12])
        applied.write()
        applied.run(40)
        assert applied.told == ["refused"]
        assert applied.memory.state.restarts == ()


def test_a_stopped_runner_is_left_alone(
    applied: Applied, docker_client: docker.APIClient, runner: str
) -> None:
    """It reads the document when it starts."""
    docker_client.stop(runner, timeout=1)
    applied.write()
    applied.run(40)
    assert applied.told == []
    assert not applied.runner.is_running


def test_a_lost_state_leads_to_one_restart_at_most(applied: Applied, config: Path) -> None:
    """The file is newer than the process and holds plans of ours: perhaps it was not read."""
    # In so many words: the clock of file times lags behind the engine's by some milliseconds.
    saved = applied.runner.started_at + 0.1
    os.utime(config, (saved, saved))
    applied.run_until("applied")
    after = applied.runner.started_at
    # Backrest saves now and then; that is none of our writes.
    os.utime(config, (after + 1, after + 1))
    applied.run(40)
    assert applied.runner.started_at == after


def test_a_lost_state_without_a_doubt_leads_to_none(applied: Applied) -> None:
    """The file is older than the process; that is settled for good."""
    applied.run(40)
    assert applied.told == []
    assert applied.memory.state.written_at == LOADED


def test_a_refused_restart_is_remembered_and_tried_again(
    engine: PrivateEngine, config: Path, runner: str
) -> None:
    """Also by the next process of ours, which keeps to the pause."""
    assert runner
    directory = config.parent / ".sidecar"
    with Refusing(engine.address) as link:
        refused = Applied(link, config, Memory(directory))
        refused.write()
        refused.run_until("failed")
        assert refused.runner.is_running
    state = Memory(directory).state
    assert (state.trouble.failures, len(state.restarts)) == (1, 1)
    assert 25 < state.trouble.not_before - time.time() <= 30
    with DockerClient(engine.address) as link:
        again = Applied(link, config, Memory(directory))
        again.run(3)
        assert again.told == []
        again.memory.change(trouble=replace(state.trouble, not_before=time.time()))
        again.run_until("applied")
        assert again.memory.state.trouble == ApplyTrouble()


def test_a_runner_that_our_restart_left_stopped_is_started(
    applied: Applied, docker_client: docker.APIClient, runner: str
) -> None:
    """The restart failed half-way; what others stopped is not touched by that."""
    applied.memory.change(restarts=(time.time(),), trouble=ApplyTrouble(1, time.time(), "x"))
    docker_client.stop(runner, timeout=1)
    applied.write()
    applied.run_until("applied")
    assert applied.runner.is_running
    assert applied.memory.state.trouble == ApplyTrouble()


def test_a_restart_by_others_is_told_to_the_main_loop(
    applied: Applied, docker_client: docker.APIClient, runner: str
) -> None:
    """The runner may have rewritten the document while it started."""
    applied.run(3)
    docker_client.restart(runner, timeout=1)
    applied.run(3)
    assert (applied.restarted, applied.told) == (1, [])
