"""Whoever asked for a stop dies while the engine still waits for the container.

The container takes four seconds to end, and ends hard by a second SIGTERM. The engine goes on
with a stop though nobody waits for its answer; so whatever looks after the container has to
wait for it, must not ask for another stop, and has to start the container in the end.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from test_guard import Guarded

from hook_shell import NAME, Hooks, state_of, wait_until
from private_docker import PrivateEngine
from sidecar.docker.client import DockerClient
from sidecar.docker.markers import read_markers
from sidecar.docker.one_shot import OneShotDocker
from sidecar.docker.stopped import parse_moment
from sidecar.runner.hooks.resume import MarkerResumer
from sidecar.runner.job.running import RunningPlans
from sidecar.runner.journal import Journal
from sidecar.runner.quiesce import start_again
from world import IMAGE

ROOT = Path(__file__).parents[2]
STOPPER = ROOT / "tests" / "fakes" / "one_stop.py"
APP = """
trap 'trap "exit 9" TERM; sleep 4 & wait $!; exit 0' TERM
while :; do sleep 1 & wait $!; done
"""


@dataclass
class Slow:
    """A container that takes its time to end, and the hooks that stop and start it."""

    client: docker.APIClient
    id: str
    hooks: Hooks

    @property
    def state(self) -> str:
        """How it stands."""
        return state_of(self.client, self.id)

    def ends(self) -> list[str]:
        """Return the exit status of each end of it, as the engine told them."""
        now = parse_moment(self.client.info()["SystemTime"])
        told = self.client.events(
            since=0, until=now, filters={"container": self.id, "event": "die"}, decode=True
        )
        return [event["Actor"]["Attributes"]["exitCode"] for event in told]

    def stop_and_kill(self, victim: str, how: signal.Signals) -> None:
        """Run START and kill its shell, its `docker stop` or both while the engine waits."""
        shell = subprocess.Popen(["sh"], stdin=subprocess.PIPE, env=self.hooks.environment)
        assert shell.stdin is not None
        shell.stdin.write(self.hooks.scripts[0].encode())
        shell.stdin.close()
        wait_until(lambda: bool(stops_of(shell.pid)), "docker stop")
        wait_until(self.is_stopping, "a stop under way")
        [client] = stops_of(shell.pid)
        for pid in {"shell": [shell.pid], "client": [client], "both": [shell.pid, client]}[victim]:
            os.kill(pid, how)
        assert shell.wait(30) != 0
        assert self.state == "running"

    def is_stopping(self) -> bool:
        """Return whether its first process has got the SIGTERM: then it sleeps for four."""
        processes = self.client.top(self.id)["Processes"] or []
        return any(line[-1] == "sleep 4" for line in processes)


def stops_of(shell: int) -> list[int]:
    """Return the process of `docker stop` that a shell waits for."""
    children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    return [
        int(pid)
        for pid in children
        if b"docker\0stop\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.fixture
def slow(docker_client: docker.APIClient, engine: PrivateEngine, tmp_path: Path) -> Iterator[Slow]:
    """Run one."""
    labels = {"backrest.enable": "true", "backrest.hooks.template": "stop-start"}
    made = docker_client.create_container(
        IMAGE,
        ["/bin/sh", "-c", APP],
        name=NAME,
        labels=labels,
        host_config=docker_client.create_host_config(network_mode="none"),
    )
    docker_client.start(made["Id"])
    hooks = Hooks({"hooks.template": "stop-start"}, engine, tmp_path)
    yield Slow(docker_client, made["Id"], hooks)
    docker_client.remove_container(made["Id"], force=True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("victim", ["shell", "client", "both"])
def test_the_end_waits_for_a_stop_that_is_under_way(
    victim: str, how: signal.Signals, slow: Slow
) -> None:
    """It ended well, runs again, and no marker is left."""
    slow.stop_and_kill(victim, how)

    assert slow.hooks.run(1) == (0, "")

    assert (slow.state, slow.ends()) == ("running", ["0"])
    assert not slow.hooks.marker.exists()


@pytest.mark.parametrize("shell", [("sh",), ("busybox", "sh")], ids=["dash", "busybox"])
def test_the_next_start_asks_for_no_second_stop(shell: tuple[str, ...], slow: Slow) -> None:
    """It finds the container stopped, and its END starts it."""
    slow.stop_and_kill("both", signal.SIGKILL)

    assert slow.hooks.run(0, *shell) == (0, f"{NAME} is exited: left as it is\n")
    assert (slow.state, slow.ends()) == ("exited", ["0"])
    assert slow.hooks.run(1, *shell) == (0, "")

    assert (slow.state, slow.ends()) == ("running", ["0"])


def test_the_guard_waits_too(slow: Slow, engine: PrivateEngine, tmp_path: Path) -> None:
    """A dead Backrest runs no END: what it was about to stop is started by the daemon."""
    slow.stop_and_kill("both", signal.SIGKILL)
    guarded = Guarded(engine, tmp_path / ".quiesced")
    guarded.see()

    assert guarded.run() == []
    [marker] = read_markers(slow.hooks.marker.parent)
    assert marker.stop.finished == ""
    wait_until(lambda: slow.state == "exited", "the end of the container")
    assert guarded.run() == ["resumed"]

    assert (slow.state, slow.ends()) == ("running", ["0"])
    assert not slow.hooks.marker.exists()
    guarded.connection.close()


def test_the_runner_waits_too(slow: Slow, engine: PrivateEngine, tmp_path: Path) -> None:
    """Whatever became of the run, a marker is unfinished work for it."""
    slow.stop_and_kill("both", signal.SIGKILL)
    resumer = MarkerResumer((tmp_path,), lambda: DockerClient(engine.address), RunningPlans())

    assert resumer.resume() == ()
    assert slow.hooks.marker.exists()
    wait_until(lambda: slow.state == "exited", "the end of the container")
    assert resumer.resume() == ()

    assert (slow.state, slow.ends()) == ("running", ["0"])
    assert not slow.hooks.marker.exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restore_that_dies_while_it_stops_a_container_is_put_right(
    how: signal.Signals, slow: Slow, engine: PrivateEngine, tmp_path: Path
) -> None:
    """By the next start of any runner: the journal knows when it was asked to stop."""
    command = [sys.executable, str(STOPPER), engine.address, str(tmp_path / "j"), slow.id]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        wait_until(slow.is_stopping, "a stop under way")
        os.kill(process.pid, how)
    assert process.returncode == -how

    with (
        OneShotDocker(DockerClient(engine.address)) as containers,
        Journal(tmp_path / "j") as journal,
    ):
        assert start_again(containers, journal) == ()
        assert len(journal.containers.still_stopped()) == 1
        assert start_again(containers, journal, time.sleep) == ()
        assert journal.containers.still_stopped() == ()

    assert (slow.state, slow.ends()) == ("running", ["0"])


def test_what_somebody_else_stops_later_stays_stopped(slow: Slow) -> None:
    """The script died before it stopped anything; its marker does not hold for ever."""
    slow.stop_and_kill("both", signal.SIGKILL)
    wait_until(lambda: slow.state == "exited", "the end of the container")
    text = slow.hooks.marker.read_text()
    [marker] = read_markers(slow.hooks.marker.parent)
    earlier = int(marker.stop.at) - 60
    slow.hooks.marker.write_text(text.replace(f"at={int(marker.stop.at)}", f"at={earlier}"))

    status, said = slow.hooks.run(1)

    assert (status, "someone else" in said) == (0, True)
    assert slow.state == "exited"
