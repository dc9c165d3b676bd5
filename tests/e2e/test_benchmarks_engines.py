"""The benchmark of the engines works: every row holds numbers, which people judge and no test does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.engines", "--quick", "--folder", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    head, _, first, *body, last = rows

    assert ["what", "containers", "figure", "floor beside it", "ratio", "goal", "met"] == head
    assert first[0].startswith("calibration")
    assert last[0] == first[0]
    assert EXPECTED == [(row[0], row[2].split()[1]) for row in body]
    assert [] == [row for row in body if not re.fullmatch(r"\d+(\.\d+)?", row[2].split()[0])]
    assert {("", "")} == {(row[5], row[6]) for row in body}
    assert [] == list(tmp_path.iterdir())
