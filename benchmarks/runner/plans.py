"""Plans of one repository with nothing new, one after another: `run --all` beside a bare loop."""

import json
import resource
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.runner.backup import run_runner
from benchmarks.runner.scale import Scale
from benchmarks.runner.stage import INSTANCE, Stage, plan_of
from benchmarks.table import Row

GOAL_FEW, GOAL_MANY = 1.08, 1.05
_KEEP = 2


@dataclass(frozen=True, slots=True)
class _Taken:
    """Seconds that a command took, and of the processors with all that it started."""

    wall: float
    cpu: float


def plans_rows(stage: Stage, scale: Scale) -> list[Row]:
    """Measure ten plans of few files each, and ten of as many as the backup's."""
    return [
        *_rows(stage, scale, scale.few_files, scale.loops, GOAL_FEW),
        *_rows(stage, scale, scale.files, scale.loops_of_many, GOAL_MANY),
    ]


def _rows(stage: Stage, scale: Scale, files: int, loops: int, goal: float) -> list[Row]:
    stage.write_tree(files, scale.small_bytes)
    names = [f"plan-{number}" for number in range(scale.loop_plans)]
    # One for both: in two of them the keys would not take the same time.
    repository = stage.make_repository("repository-plans")
    plans = [
        {**plan_of(name, stage.tree), "retention": {"policyKeepLastN": _KEEP}} for name in names
    ]
    config = stage.write_document("plans", repository, plans)
    variants = {
        "runner": partial(run_runner, stage, config, "--all"),
        "bare": partial(_run_bare, stage, repository, [f"bare-{name}" for name in names]),
    }
    for run in variants.values():
        run()
    pairs = []
    for number in range(loops):
        order = sorted(variants, reverse=bool(number % 2))
        taken = {name: _measure(variants[name]) for name in order}
        pairs.append((taken["runner"], taken["bare"]))
    _check_both(stage, repository, 2 * len(names) * _KEEP)
    for folder in (repository, config.parent, stage.folder / "cache", stage.tree):
        shutil.rmtree(folder)
    what = f"run --all: {len(names)} plans of {files:,} files, nothing new"
    return [
        _row(
            f"{what}, median of {loops} pairs",
            [(one.wall, other.wall) for one, other in pairs],
            goal,
        ),
        # Much the same on a machine that does other work as well.
        _row("same plans: processor time", [(one.cpu, other.cpu) for one, other in pairs], goal),
    ]


def _row(what: str, pairs: list[tuple[float, float]], goal: float) -> Row:
    ours, bare = (statistics.median(figures) for figures in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    floor = f"{bare:.2f} s (bare loop: backup, forget)"
    return Row(what, 0, f"{ours:.2f} s", floor, ratio, f"≤ {goal}", ratio <= goal)


def _measure(run: Callable[[], None]) -> _Taken:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _Taken(wall, cpu)


def _run_bare(stage: Stage, repository: Path, names: list[str]) -> None:
    for name in names:
        tags = (f"plan:{name}", f"created-by:{INSTANCE}")
        words = [word for tag in tags for word in ("--tag", tag)]
        stage.run_restic(
            repository, "backup", "--json", str(stage.tree), "--exclude-caches", *words
        )
        keep = ("--keep-last", str(_KEEP), "--tag", ",".join(tags), "--group-by", "")
        stage.run_restic(repository, "forget", "--json", *keep)


def _check_both(stage: Stage, repository: Path, expected: int) -> None:
    """Raise unless both have done all: so many snapshots are left."""
    left = len(json.loads(stage.run_restic(repository, "snapshots", "--json")))
    if left != expected:
        raise RuntimeError(f"the runner and the bare loop have left {left} snapshots")
