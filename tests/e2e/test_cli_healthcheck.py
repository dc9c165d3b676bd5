"""`backrest-sidecar healthcheck` as it is run: exit status, speed, and what it leaves out."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecar.service.health import Health
from sidecar.service.heartbeat import Heartbeat

ROOT = Path(__file__).parents[2]


def run(*flags: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, *options, "-m", "sidecar", "healthcheck", *flags],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def state(tmp_path: Path) -> str:
    """A state directory with a heartbeat of now."""
    Heartbeat(tmp_path, 60.0).beat(time.time(), Health())
    return str(tmp_path)


def test_a_daemon_that_is_well_is_status_0(state: str) -> None:
    """With words on standard output, for who looks at the container's health log."""
    done = run("--state-dir", state)
    assert (0, "") == (done.returncode, done.stderr)
    assert "all is well\n" == done.stdout


def test_no_daemon_is_status_1(tmp_path: Path) -> None:
    """So is a wrong flag."""
    done = run("--config", str(tmp_path / "config.json"))
    assert (1, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith(f"no heartbeat in {tmp_path}/.sidecar")
    assert 1 == run("--wrong").returncode


def test_help_works() -> None:
    """Like that of the other commands."""
    done = run("--help")
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("Usage: backrest-sidecar healthcheck")


def test_the_check_costs_little_more_than_an_interpreter(state: str) -> None:
    """Counted in processor time, which other work on the machine does not stretch."""
    bare = min(_seconds("-c", "pass") for _ in range(5))
    check = min(_seconds("-m", "sidecar", "healthcheck", "--state-dir", state) for _ in range(5))
    assert check < max(0.1, 6 * bare)


def _seconds(*arguments: str) -> float:
    before = os.times()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def test_other_commands_still_reach_the_command_line() -> None:
    """The quick way is for the one word only."""
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.strip()
