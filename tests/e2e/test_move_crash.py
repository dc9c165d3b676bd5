"""SIGKILL at every system call of each pass in which a plan moves between the two documents.

Up to three files change in a move: the state, config.json and the runner's document. Whenever
the process is killed, the plan stands in one of them, nobody runs it twice, and the next passes
bring it where its label says, with its schedule and with all that is not ours.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.one_moving_pass import run_pass
from tests.fakes.two_documents import NIGHTLY, PLAN, TwoDocuments, inventory, plans_in

ROOT = Path(__file__).parents[2]
CHILD = ROOT / "tests" / "fakes" / "one_moving_pass.py"
CALLS = "openat,write,rename,renameat,renameat2,unlink,unlinkat"
STANDING = {"id": PLAN, "repo": "local", "paths": ["/data0"], "schedule": NIGHTLY, "x": [1.5, "y"]}


def prepared(folder: Path, repo: str, passes: int) -> TwoDocuments:
    """Write the documents, and make the passes before the one that is killed."""
    folder.mkdir(parents=True)
    both = TwoDocuments(folder)
    if repo == "nas":
        both.write(STANDING)
    else:
        both.write(runners=({**STANDING, "repo": "nas"},))
    for _ in range(passes):
        run_pass(repo, folder)
    both.restart_backrest()
    return both


def run_child(repo: str, folder: Path, *strace: str) -> int:
    """Make a pass in a child, under strace if that is asked for; give its exit status."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*strace, sys.executable, str(CHILD), repo, str(folder)]
    return subprocess.run(command, env=environment, check=False, capture_output=True).returncode


def changing_calls(repo: str, folder: Path) -> list[tuple[str, int]]:
    """List the calls of an undisturbed pass that change something: name, and which of its name."""
    log = folder.parent / "strace"
    trace = f"trace=?{',?'.join(CALLS.split(','))}"
    assert 0 == run_child(repo, folder, "strace", "-y", "-o", str(log), "-e", trace)
    seen: Counter[str] = Counter()
    found = []
    for line in log.read_text().splitlines():
        if match := re.match(r"(\w+)\(", line):
            seen[match[1]] += 1
            if str(folder) in line and ("O_CREAT" in line or match[1] != "openat"):
                found.append((match[1], seen[match[1]]))
    return found


def scenes(tmp_path: Path, repo: str, passes: int) -> Iterator[TwoDocuments]:
    """Return for each call documents on which the pass was killed as it entered the call."""
    before = prepared(tmp_path / "before", repo, passes)
    calls = changing_calls(repo, shutil.copytree(before.folder, tmp_path / "whole"))
    assert len(calls) > 8
    for name, number in calls:
        folder = shutil.copytree(before.folder, tmp_path / f"{name}{number}")
        kill = f"inject={name}:signal=KILL:when={number}"
        run_child(repo, folder, "strace", "-o", os.devnull, "-e", kill)
        yield TwoDocuments(folder, loaded=before.loaded)


def standing_in(both: TwoDocuments, repo: str) -> dict[str, Any]:
    """Return the plan as it stands where it belongs."""
    return plans_in(both.config if repo == "local" else both.runner)[PLAN]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("repo", "passes"),
    [("nas", 0), ("nas", 1), ("nas", 2), ("local", 0), ("local", 1)],
    ids=["added there", "disabled here", "removed here", "added here", "removed there"],
)
def test_a_plan_is_in_neither_at_no_moment(tmp_path: Path, repo: str, passes: int) -> None:
    """Wherever it is killed, and whatever Backrest has read: it is run by one at the most."""
    for both in scenes(tmp_path, repo, passes):
        assert any(both.places)
        assert len(both.runners_of()) < 2
        both.settle(inventory(repo))
        assert (repo == "local", repo == "nas") == both.places
        assert {**STANDING, "repo": repo} == standing_in(both, repo)
        assert {} == both.memory.state.disabled
