"""Writers of a journal and runs that are killed at any moment, again and again."""

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.runner.journal import Journal

ROOT = Path(__file__).parents[2]
WRITER = ROOT / "tests" / "fakes" / "one_journal.py"
RUN = ROOT / "tests" / "fakes" / "one_sealed_run.py"
TIMES = 30


def killed_writer(path: Path, chance: random.Random) -> tuple[set[int], set[int]]:
    """Let a process write and kill it; give the runs that it told as begun, and as ended."""
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(WRITER), str(path)], env=environ, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        output = process.stdout.readline()
        select.select([], [], [], chance.uniform(0.0, 0.05))
        process.kill()
        output += process.stdout.read()
    # A line that the kill cut off was written after the record, like all others.
    lines = output.decode().splitlines(keepends=True)
    told = [int(line) for line in lines if line.endswith("\n")]
    return {one for one in told if one > 0}, {-one for one in told if one < 0}


@pytest.mark.timeout(120)
def test_what_was_recorded_is_there_whenever_its_writer_dies(tmp_path: Path) -> None:
    """Every run that was told as begun or ended is so, in a file that is sound."""
    path = tmp_path / ".runner" / "journal.sqlite"
    chance = random.Random(5)  # noqa: S311 - moments, not secrets
    begun, ended = set[int](), set[int]()
    for _ in range(TIMES):
        more = killed_writer(path, chance)
        begun |= more[0]
        ended |= more[1]
        with Journal(path, keep=1_000_000) as journal:
            runs = {run.id: run for run in journal.runs.list(limit=1_000_000)}
            unfinished = {one.run.id: one for one in journal.runs.unfinished()}
            checked = journal._database._connection.execute("PRAGMA integrity_check").fetchall()

        assert begun <= runs.keys()
        assert {number for number in ended if runs[number].ended is None} == set()
        assert all(run.ended is None or run.ended.snapshot == str(run.id) for run in runs.values())
        assert all(one.resume.startswith("resume ") for one in unfinished.values())
        assert unfinished.keys() == {run.id for run in runs.values() if run.ended is None}
        assert checked == [("ok",)]
    assert len(begun) >= TIMES
    assert [] == [file.name for file in path.parent.iterdir() if "broken" in file.name]


def sealed_run(folder: Path, die_at: int = 0) -> tuple[int, dict[str, Any]]:
    """Put right what was left, run the plan, and die at a step; give the status and what was told."""
    completed = subprocess.run(
        [sys.executable, str(RUN), str(folder), "--die", str(die_at)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    lines = map(json.loads, completed.stdout.splitlines())
    return completed.returncode, {key: value for line in lines for key, value in line.items()}


@pytest.mark.timeout(300)
def test_a_run_killed_before_it_is_sealed_is_put_right(tmp_path: Path) -> None:
    """At each step: what was stopped runs, it is told, and nothing half made counts."""
    template = tmp_path / "template"
    (template / "source").mkdir(parents=True)
    (template / "source" / "file").write_text("content")
    (template / "store").mkdir()
    (template / "state").write_text("running")
    whole = tmp_path / "whole"
    shutil.copytree(template, whole)
    _, told = sealed_run(whole)
    assert ("success", "", "running") == (told["outcome"], told["reason"], told["sealed_while"])
    snapshots_after = set[int]()
    for die_at in range(1, told["steps"] + 1):
        folder = tmp_path / str(die_at)
        shutil.copytree(template, folder)
        status, before = sealed_run(folder, die_at)
        sealed = len(list((folder / "store").glob("snapshot-*")))
        _, after = sealed_run(folder)

        assert (-signal.SIGKILL, None) == (status, before.get("outcome")), die_at
        assert after["resumed"] in ([], ["interrupted"]), die_at
        assert "running" == after["state"], die_at
        assert ("success", "running") == (after["outcome"], after["sealed_while"]), die_at
        assert sealed + 1 == len(list((folder / "store").glob("snapshot-*"))), die_at
        assert not (folder / "store" / ".partial").exists(), die_at
        snapshots_after.add(sealed)
        shutil.rmtree(folder)
    assert {0, 1} == snapshots_after
