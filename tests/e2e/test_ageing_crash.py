"""SIGKILL at every system call of a pass that disables a plan, or enables it again.

Three files change in such a pass: the state, the document and the names of workloads. Whenever the
process is killed, the next pass brings the plan where it belongs, the schedule that it had is
never lost, and names are those of before or of after.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.backrest.workloads import parse_workloads
from sidecar.reconciler.state import Memory
from tests.fakes.one_ageing_pass import run_pass

ROOT = Path(__file__).parents[2]
CHILD = ROOT / "tests" / "fakes" / "one_ageing_pass.py"
NIGHTLY = {"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"}
DISABLED = {"disabled": True}
CALLS = "openat,write,fsync,fchown,fchmod,fsetxattr,rename,renameat,renameat2,unlink,unlinkat,mkdir"


def write_document(config: Path) -> None:
    """Write a document with a scheduled plan of ours."""
    plan = {"id": "backrest_sidecar_web", "repo": "r1", "paths": ["/data"], "schedule": NIGHTLY}
    repo = {"id": "r1", "uri": "/r1", "password": "-", "autoInitialize": True}
    config.parent.mkdir(parents=True)
    config.write_text(
        json.dumps({"version": 6, "instance": "here", "repos": [repo], "plans": [plan]})
    )


def schedule(config: Path) -> object:
    """Return the plan's schedule."""
    return json.loads(config.read_text())["plans"][0]["schedule"]


def run_child(action: str, config: Path, *strace: str) -> int:
    """Make a pass in a child, under strace if that is asked for; give its exit status."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*strace, sys.executable, str(CHILD), action, str(config)]
    return subprocess.run(command, env=environment, check=False, capture_output=True).returncode


def changing_calls(action: str, config: Path) -> list[tuple[str, int]]:
    """List the calls of an undisturbed pass that change something: name, and which of its name."""
    log = config.parent.parent / "strace"
    assert 0 == run_child(
        action,
        config,
        "strace",
        "-y",
        "-o",
        str(log),
        "-e",
        f"trace=?{',?'.join(CALLS.split(','))}",
    )
    seen: Counter[str] = Counter()
    found = []
    for line in log.read_text().splitlines():
        if match := re.match(r"(\w+)\(", line):
            seen[match[1]] += 1
            is_ours = str(config.parent) in line and ("O_CREAT" in line or match[1] != "openat")
            if is_ours:
                found.append((match[1], seen[match[1]]))
    return found


def names(config: Path) -> list[tuple[str, bool]]:
    """Return the names of workloads, and which of them are gone; nothing else is left over."""
    folder = config.parent / ".sidecar"
    assert {"state.json", "workloads.json"} == {path.name for path in folder.iterdir()}
    records = parse_workloads((folder / "workloads.json").read_bytes())
    return [(record.name, record.is_gone) for record in records]


def check_names_are_whole(config: Path) -> None:
    """Whatever a killed pass left is a file of one pass, or none."""
    path = config.parent / ".sidecar" / "workloads.json"
    if path.exists():
        assert len(parse_workloads(path.read_bytes())) <= 1


def scenes(tmp_path: Path, action: str) -> Iterator[Path]:
    """Return for each call a fresh document on which the pass was killed as it entered the call."""
    calls = changing_calls(action, prepared(tmp_path / "whole", action))
    assert len(calls) > 12
    for name, number in calls:
        config = prepared(tmp_path / f"{name}{number}", action)
        kill = f"inject={name}:signal=KILL:when={number}"
        run_child(action, config, "strace", "-o", os.devnull, "-e", kill)
        check_names_are_whole(config)
        yield config


def prepared(folder: Path, action: str) -> Path:
    """Write the document; for a return, disable the plan first."""
    config = folder / "config" / "config.json"
    write_document(config)
    if action == "back":
        run_pass("gone", config)
    return config


def test_a_plan_is_disabled_and_its_schedule_remembered(tmp_path: Path) -> None:
    """Wherever it is killed: the next pass disables, and the return gives the schedule back."""
    for config in scenes(tmp_path, "gone"):
        assert schedule(config) in (NIGHTLY, DISABLED)
        run_pass("gone", config)
        assert DISABLED == schedule(config)
        assert {"backrest_sidecar_web": NIGHTLY} == Memory(
            config.parent / ".sidecar"
        ).state.disabled
        run_pass("back", config)
        assert NIGHTLY == schedule(config)
        assert [("web", False)] == names(config)
        run_pass("gone", config)
        assert [("web", True)] == names(config)


@pytest.mark.timeout(240)
def test_a_plan_is_enabled_again(tmp_path: Path) -> None:
    """Wherever it is killed: the next pass finishes, and nothing is remembered of it."""
    for config in scenes(tmp_path, "back"):
        assert schedule(config) in (NIGHTLY, DISABLED)
        run_pass("back", config)
        assert NIGHTLY == schedule(config)
        assert {} == Memory(config.parent / ".sidecar").state.disabled
        assert [("web", False)] == names(config)
