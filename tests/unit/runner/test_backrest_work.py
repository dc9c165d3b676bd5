"""Whether Backrest is at work, before locks of its repositories are removed."""

import fcntl
import os
from pathlib import Path

import pytest

from sidecar.runner.backrest_work import find_work
from sidecar.runner.lock import OPLOG_LOCK
from sidecar.runner.settings import NO_DOCKER, Neighbour, RunnerSettings
from tests.fakes.fake_docker import FakeDocker


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return where a document is, with Backrest's data beside its folder."""
    (tmp_path / "config").mkdir()
    (tmp_path / "data").mkdir()
    return tmp_path / "config" / "config.json"


def settings(config: Path, docker: str, container: str = "", **more: bool) -> RunnerSettings:
    """Return settings by which a Docker is asked."""
    return RunnerSettings(config, neighbour=Neighbour(None, container, docker, **more))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/backrest", ""),
        ("/data/bin/restic-0.18.1 backup --json /x", "Backrest is at work: restic runs in its"),
        ("restic prune", "ask again when it has ended"),
    ],
)
def test_backrest_is_at_work_while_restic_runs_in_its_container(
    config: Path, command: str, expected: str
) -> None:
    """Whatever the number in the name of that program."""
    with FakeDocker() as docker:
        docker.add("backrest")
        docker.processes = [["1", "/backrest"], ["7", command]]
        found = find_work(settings(config, docker.address), {})

    assert expected in found
    assert bool(expected) == bool(found)


def test_where_the_programs_cannot_be_listed_it_counts_as_work(config: Path) -> None:
    """As behind a proxy that does not permit it; whoever knows better says --force."""
    with FakeDocker() as docker:
        mine = docker.add("mine")
        docker.refusals[f"/containers/{mine}/top"] = 403
        refused = find_work(settings(config, docker.address, "mine"), {})
        forced = find_work(settings(config, docker.address, "mine", force=True), {})
        docker.refusals.clear()
        docker.processes = []
        empty = find_work(settings(config, docker.address, "mine"), {})
        docker.set_state(mine, "exited")
        stopped = find_work(settings(config, docker.address, "mine"), {})

    assert "the programs in the container mine cannot be listed" in refused
    assert "" == forced == empty == stopped


@pytest.mark.parametrize("docker", [NO_DOCKER, "unix:///nowhere/docker.sock"])
def test_without_docker_the_lock_of_its_log_tells_that_it_runs(config: Path, docker: str) -> None:
    """Then nobody can tell whether it is at work."""
    lock = os.open(config.parent.parent / "data" / OPLOG_LOCK, os.O_RDWR | os.O_CREAT)
    idle = find_work(settings(config, docker), {})
    fcntl.flock(lock, fcntl.LOCK_EX)
    found = find_work(settings(config, docker), {})
    forced = find_work(settings(config, docker, force=True), {})
    os.close(lock)

    assert "" == idle == forced
    assert "nobody can tell whether it is at work" in found
    assert "--backrest-container" in found
