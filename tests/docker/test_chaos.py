"""A bounded part of scripts/chaos: kills around backups leave every container as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_kills_at_some_moments_leave_every_container_as_it_was() -> None:
    """Runner, hook shell, docker client and dockerd, at each policy at least once."""
    command = [sys.executable, str(ROOT / "scripts/lib/chaos.py"), "--moments", "3", "--seed", "3"]
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *_, last = done.stdout.splitlines()
    assert last.split()[0] == "all"
    assert int(last.split()[1]) >= 10
