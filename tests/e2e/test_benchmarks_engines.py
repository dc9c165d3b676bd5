"""The benchmark of the engines works: every row holds numbers, which people judge and no test does."""

from pathlib import Path

import pytest

from tests.e2e.benchmark_table import run_quick

EXPECTED = [
    *(
        (f"rsync: 30 files of 0.0 GB, {what}{more}, median of 1 pairs", "s")
        for more in ("", ", with excludes")
        for what in ("first", "nothing new", "1 % changed")
    ),
    ("rsync: memory of our process, 30 files with excludes", "MB"),
]


@pytest.mark.timeout(200)
def test_quick_benchmark_of_the_engines_prints_every_row(tmp_path: Path) -> None:
    """One table, between two calibrations; each figure begins with a number; nothing stays."""
    body = run_quick("benchmarks.engines", "--folder", str(tmp_path))

    assert EXPECTED == [(row[0], row[2].split()[1]) for row in body]
    assert [] == list(tmp_path.iterdir())
