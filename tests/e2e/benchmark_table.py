"""Run a benchmark with tiny counts, and read the table that it prints."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
_HEAD = ["what", "containers", "figure", "floor beside it", "ratio", "goal", "met"]


def run_quick(module: str, *arguments: str) -> Sequence[Sequence[str]]:
    """Return the cells of each row between the two calibrations.

    Each figure has to begin with a number, and no row may have a goal: those are set for the
    whole counts.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, "--quick", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    head, _, first, *body, last = rows
    assert _HEAD == head
    assert first[0].startswith("calibration")
    assert last[0] == first[0]
    assert [] == [row for row in body if not re.fullmatch(r"[+-]?\d+(\.\d+)?", row[2].split()[0])]
    assert {("", "")} == {(row[5], row[6]) for row in body}
    return body
