"""Either a run of a plan or a restore of it is at work."""

import os
import subprocess
import sys
from pathlib import Path

from sidecar.runner.plan_turns import FILE, PlanTurns

ROOT = Path(__file__).parents[3]
_HOLDS = """
import sys
from pathlib import Path
from sidecar.runner.plan_turns import PlanTurns

with PlanTurns(Path(sys.argv[1])).hold("web") as is_free:
    print(is_free, flush=True)
    sys.stdin.read()
"""


def test_one_at_a_time_holds_a_plan(tmp_path: Path) -> None:
    """In one process too, and others are free meanwhile."""
    locks = PlanTurns(tmp_path)
    assert not locks.is_held("web")

    with locks.hold("web") as first, locks.hold("web") as second, locks.hold("db") as other:
        assert (True, False, True) == (first, second, other)
        assert locks.is_held("web")

    assert not locks.is_held("web")
    assert 0o600 == (tmp_path / FILE).stat().st_mode & 0o777


def test_a_process_that_dies_leaves_no_lock(tmp_path: Path) -> None:
    """Nor does a restore that is killed keep a plan from being saved."""
    locks = PlanTurns(tmp_path)
    command = [sys.executable, "-c", _HOLDS, str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE

    with subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert b"True\n" == process.stdout.readline()
        assert locks.is_held("web")
        with locks.hold("web") as is_free:
            assert not is_free
        process.kill()
        process.wait()

    assert not locks.is_held("web")


def test_where_nothing_can_be_written_nobody_holds_one(tmp_path: Path) -> None:
    """Who restores has lost enough already."""
    locks = PlanTurns(tmp_path / "absent")

    assert not locks.is_held("web")
    with locks.hold("web") as is_free:
        assert is_free
