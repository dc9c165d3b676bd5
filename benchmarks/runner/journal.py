"""Commands that read a journal of a million runs, beside the same commands with an empty one."""

import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.runner.scale import Scale
from benchmarks.runner.stage import REPO, Stage, many_plans
from benchmarks.table import Row
from sidecar.runner.journal import Journal

GOAL_MS = 150.0
_HOUR = 3600.0
_RUNS = (
    "INSERT INTO runs (kind, subject, repo, cause, phase, resume, outcome, started, ended) "
    "VALUES ('backup', ?, ?, 'schedule', 'forgetting', '', 'success', ?, ?)"
)
_MISSED = "INSERT INTO missed VALUES ('backup', ?, ?, ?, ?, 1, ?)"
_WORKS = "INSERT INTO works (kind, subject, repo, first_seen) VALUES ('backup', ?, ?, 0)"


def journal_rows(stage: Stage, scale: Scale) -> list[Row]:
    """Time each command that only reads, in turns with a full and an empty journal."""
    configs = {name: _document(stage, scale, name) for name in ("full", "empty")}
    count = _fill(configs["full"].parent / ".runner" / "journal.sqlite", scale)
    without_runs = f"plan-{scale.journal_plans}"
    commands = (["plans"], ["history"], ["history", "plan-0"], ["history", without_runs])
    return [_row(stage, scale, command, configs, count) for command in commands]


def _row(
    stage: Stage, scale: Scale, command: list[str], configs: dict[str, Path], count: int
) -> Row:
    for config in configs.values():
        _seconds(stage, command, config)
    pairs = [
        tuple(_seconds(stage, command, configs[name]) for name in ("full", "empty"))
        for _ in range(scale.commands)
    ]
    full, empty = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
    more = 1000 * statistics.median(one - other for one, other in pairs)
    return Row(
        f"backrest-runner {' '.join(command)}: {count:,} runs in the journal",
        0,
        f"{full:.0f} ms",
        f"{empty:.0f} ms (none in it)",
        statistics.median(one / other for one, other in pairs),
        f"≤ {GOAL_MS:.0f} ms more",
        more <= GOAL_MS,
    )


def _document(stage: Stage, scale: Scale, name: str) -> Path:
    stage.tree.mkdir(exist_ok=True)
    repository = stage.folder / "repository-journal"
    if not repository.exists():
        stage.make_repository(repository.name)
    plans = many_plans(scale.journal_plans + 1, stage.tree)
    return stage.write_document(f"journal-{name}", repository, plans)


def _fill(path: Path, scale: Scale) -> int:
    """Write runs and missed fires of all plans as they would follow each other; count the runs."""
    Journal(path).close()
    plans = [f"plan-{number}" for number in range(scale.journal_plans)]

    def moments() -> Iterator[tuple[str, float]]:
        now = time.time()
        for number in range(scale.runs_of_plan, 0, -1):
            yield from ((plan, now - number * _HOUR) for plan in plans)

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(_WORKS, [(plan, REPO) for plan in plans])
        runs = ((plan, REPO, at, at + 5) for plan, at in moments())
        connection.executemany(_RUNS, runs)
        connection.executemany(_MISSED, ((plan, REPO, at, at, at) for plan, at in moments()))
    return scale.journal_plans * scale.runs_of_plan


def _seconds(stage: Stage, command: list[str], config: Path) -> float:
    given = [sys.executable, "-m", "sidecar.runner", *command, "--config", str(config)]
    start = time.perf_counter()
    subprocess.run(
        given,
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start
