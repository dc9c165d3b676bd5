"""Verifying a sample of many files, beside one of a single file, and beside a current restic."""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.runner.backup import run_runner
from benchmarks.runner.scale import Scale
from benchmarks.runner.stage import PLAN, Stage, plan_of
from benchmarks.table import Row

GOAL = 1.5


def verify_rows(stage: Stage, scale: Scale) -> list[Row]:
    """Verify in turns: many files, one file, and many by the other restic if there is one."""
    stage.write_tree(scale.files, scale.small_bytes)
    repository = stage.make_repository("repository-verify")
    config = stage.write_document("verify", repository, [plan_of(PLAN, stage.tree)])
    run_runner(stage, config, PLAN)
    many = scale.sample
    variants = {"many": (stage.restic, many), "one": (stage.restic, 1)}
    if stage.other:
        variants["other"] = (stage.other, many)
    rounds = [
        {name: _seconds(stage, config, *what) for name, what in variants.items()}
        for _ in range(scale.verifications)
    ]
    for folder in (repository, config.parent, stage.folder / "cache", stage.tree):
        shutil.rmtree(folder)
    what = f"verify: {many} of {scale.files:,} files"
    rows = [_row(what, rounds, "one", "one file", None)]
    if stage.other:
        version = subprocess.run(
            [stage.other, "version"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.split()[1]
        rows.append(_row(what, rounds, "other", f"restic {version}", GOAL))
    return rows


def _row(
    what: str, rounds: list[dict[str, float]], floor: str, words: str, goal: float | None
) -> Row:
    ratio = statistics.median(one["many"] / one[floor] for one in rounds)
    return Row(
        f"{what}, beside {words}, median of {len(rounds)} rounds",
        0,
        f"{statistics.median(one['many'] for one in rounds):.2f} s",
        f"{statistics.median(one[floor] for one in rounds):.2f} s ({words})",
        ratio,
        "" if goal is None else f"≤ {goal}",
        None if goal is None else ratio <= goal,
    )


def _seconds(stage: Stage, config: Path, restic: str, sample: int) -> float:
    given = ("--config", str(config), "--restic", restic, "--sample", str(sample), "--seed", "7")
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "sidecar.runner", "verify", PLAN, *given],
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start
