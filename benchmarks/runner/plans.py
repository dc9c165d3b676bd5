"""Plans of one repository with nothing new, one after another: `run --all` beside a bare loop."""

import json
import shutil
import statistics
import time
from functools import partial
from pathlib import Path

from benchmarks.runner.backup import run_runner
from benchmarks.runner.scale import Scale
from benchmarks.runner.stage import INSTANCE, Stage, plan_of
from benchmarks.table import Row

GOAL_FEW, GOAL_MANY = 1.08, 1.05
_KEEP = 2


def plans_rows(stage: Stage, scale: Scale) -> list[Row]:
    """Measure ten plans of few files each, and ten of as many as the backup's."""
    return [
        _row(stage, scale, scale.few_files, scale.loops, GOAL_FEW),
        _row(stage, scale, scale.files, scale.loops_of_many, GOAL_MANY),
    ]


def _row(stage: Stage, scale: Scale, files: int, loops: int, goal: float) -> Row:
    stage.write_tree(files, scale.small_bytes)
    names = [f"plan-{number}" for number in range(scale.loop_plans)]
    ours, bare = (stage.make_repository(f"repository-{kind}") for kind in ("runner", "bare"))
    plans = [
        {**plan_of(name, stage.tree), "retention": {"policyKeepLastN": _KEEP}} for name in names
    ]
    config = stage.write_document("plans", ours, plans)
    variants = {
        "runner": partial(run_runner, stage, config, "--all"),
        "bare": partial(_run_bare, stage, bare, names),
    }
    for run in variants.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(loops):
        for name in sorted(variants, reverse=bool(number % 2)):
            start = time.perf_counter()
            variants[name]()
            taken[name].append(time.perf_counter() - start)
    _check_both(stage, ours, bare)
    for folder in (ours, bare, config.parent, stage.folder / "cache", stage.tree):
        shutil.rmtree(folder)
    pairs = list(zip(taken["runner"], taken["bare"], strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return Row(
        f"run --all: {len(names)} plans of {files:,} files, nothing new, median of {loops} pairs",
        0,
        f"{statistics.median(taken['runner']):.2f} s",
        f"{statistics.median(taken['bare']):.2f} s (bare loop: backup, forget)",
        ratio,
        f"≤ {goal}",
        ratio <= goal,
    )


def _run_bare(stage: Stage, repository: Path, names: list[str]) -> None:
    for name in names:
        tags = (f"plan:{name}", f"created-by:{INSTANCE}")
        words = [word for tag in tags for word in ("--tag", tag)]
        stage.run_restic(
            repository, "backup", "--json", str(stage.tree), "--exclude-caches", *words
        )
        keep = ("--keep-last", str(_KEEP), "--tag", ",".join(tags), "--group-by", "")
        stage.run_restic(repository, "forget", "--json", *keep)


def _check_both(stage: Stage, *repositories: Path) -> None:
    """Raise unless both have done the same: as many snapshots are left."""
    counts = [len(json.loads(stage.run_restic(one, "snapshots", "--json"))) for one in repositories]
    if len(set(counts)) != 1:
        raise RuntimeError(f"the runner and the bare loop have left {counts} snapshots")
