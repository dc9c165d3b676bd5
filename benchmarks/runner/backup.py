"""A backup by the runner beside bare restic: same files, flags and cache, a repository each."""

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.runner.scale import Scale
from benchmarks.runner.stage import INSTANCE, PLAN, Stage, plan_of
from benchmarks.table import Row

GOAL = 1.05


def backup_rows(stage: Stage, scale: Scale) -> list[Row]:
    """Measure first backups into fresh repositories, and second ones that find nothing new."""
    stage.write_tree(scale.files, scale.file_bytes)
    first, second = [], []
    for number in range(scale.pairs):
        found = _pair(stage, runner_begins=bool(number % 2))
        first.append(found[0])
        second.append(found[1])
    shutil.rmtree(stage.tree)
    size = f"{scale.files:,} files of {scale.files * scale.file_bytes / 1e9:.1f} GB"
    return [
        _row(f"run: backup of {size} into a fresh repository", first, GOAL),
        _row(f"run: second backup of {size}, nothing new", second, None),
    ]


def _row(what: str, pairs: list[tuple[float, float]], goal: float | None) -> Row:
    ours, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return Row(
        f"{what}, median of {len(pairs)} pairs",
        0,
        f"{ours:.2f} s",
        f"{bare:.2f} s (bare restic backup)",
        ratio,
        "" if goal is None else f"≤ {goal}",
        None if goal is None else ratio <= goal,
    )


def _pair(stage: Stage, *, runner_begins: bool) -> list[tuple[float, float]]:
    """Time ours and the bare one, in that or the other order: first backups, then second ones."""
    ours = stage.make_repository("repository-runner")
    bare = stage.copy_repository(ours, "repository-bare")
    beside = replace(stage, cache="cache-bare")
    config = stage.write_document("pair", ours, [plan_of(PLAN, stage.tree)])
    variants: dict[str, Callable[[], None]] = {
        "runner": lambda: run_runner(stage, config, PLAN),
        "bare": lambda: _run_bare(beside, bare),
    }
    order = sorted(variants, reverse=runner_begins)
    found = []
    for _ in range(2):
        taken = {name: _seconds(variants[name]) for name in order}
        found.append((taken["runner"], taken["bare"]))
    caches = (one.folder / one.cache for one in (stage, beside))
    for folder in (ours, bare, config.parent, *caches):
        shutil.rmtree(folder)
    return found


def _seconds(run: Callable[[], None]) -> float:
    # What the one before has written is no burden of the next.
    subprocess.run(["sync"], check=True)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def run_runner(stage: Stage, config: Path, *what: str) -> None:
    """Run plans as a whole command; raises RuntimeError if one fails."""
    # --force: no engine is asked for a Backrest of this machine's.
    given = ("--config", str(config), "--restic", stage.restic, "--force")
    done = subprocess.run(
        [sys.executable, "-m", "sidecar.runner", "run", *what, *given],
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the runner has failed: {done.stdout}{done.stderr}")


def _run_bare(stage: Stage, repository: Path) -> None:
    tags = ("--tag", f"plan:{PLAN}", "--tag", f"created-by:{INSTANCE}")
    stage.run_restic(repository, "backup", str(stage.tree), "--exclude-caches", *tags)
