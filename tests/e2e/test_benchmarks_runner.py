"""The runner's benchmark works: every row holds numbers, which people judge and no test does."""

from pathlib import Path

import pytest

from tests.e2e.benchmark_table import run_quick

EXPECTED = [
    ("run: backup of 30 files of 0.0 GB into a fresh repository, median of 1 pairs", "s"),
    ("run: second backup of 30 files of 0.0 GB, nothing new, median of 1 pairs", "s"),
    ("run --all: 2 plans of 5 files, nothing new, median of 1 pairs", "s"),
    ("same plans: processor time", "s"),
    ("run --all: 2 plans of 30 files, nothing new, median of 1 pairs", "s"),
    ("same plans: processor time", "s"),
    ("scheduler: a look at 20 plans", "ms"),
    ("scheduler: a look at 20 plans, of which one has begun", "ms"),
    ("reading and checking a document of 20 plans", "ms"),
    ("idle: processor time of the daemon with 20 plans", "%"),
    ("memory of the daemon with 20 plans", "MB"),
    ("backrest-runner plans: 100 runs in the journal", "ms"),
    ("backrest-runner history: 100 runs in the journal", "ms"),
    ("backrest-runner history plan-0: 100 runs in the journal", "ms"),
    ("backrest-runner history plan-10: 100 runs in the journal", "ms"),
    ("verify: 3 of 30 files, beside one file, median of 1 rounds", "s"),
]


@pytest.mark.timeout(400)
def test_quick_benchmark_of_the_runner_prints_every_row(tmp_path: Path) -> None:
    """One table, between two calibrations; each figure begins with a number; nothing stays."""
    body = run_quick("benchmarks.runner", "--folder", str(tmp_path))

    assert EXPECTED == [(row[0], row[2].split()[1]) for row in body]
    assert [] == list(tmp_path.iterdir())
