"""One table of figures, as Markdown, so that it can be read here and pasted there."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import loop_seconds

_HEAD = ("what", "containers", "figure", "floor beside it", "ratio", "goal", "met")
_LOOPS = 9


@dataclass(frozen=True, slots=True)
class Row:
    """One figure with its unit, the floor that was measured in the same rounds, and its goal.

    `ratio` is figure over floor where both have one unit; `met` is None without a goal.
    """

    what: str
    containers: int
    figure: str
    floor: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the row's texts in the order of the table's head."""
        met = {None: "", True: "yes", False: "NO"}[self.met]
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        count = f"{self.containers:,}" if self.containers else ""
        return (self.what, count, self.figure, self.floor, ratio, self.goal, met)


def render_table(rows: Sequence[Row]) -> str:
    """Write the rows below a head, in columns."""
    lines = [_HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    rule = "|".join(["", *("-" * (width + 2) for width in widths), ""])
    first, *rest = (_line(cells, widths) for cells in lines)
    return "\n".join([first, rule, *rest])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def machine_row() -> Row:
    """Tell how fast and how busy this machine is, so that figures of two can be compared."""
    loop = statistics.median(loop_seconds() for _ in range(_LOOPS))
    name = f"calibration: 300,000 steps of plain Python {platform.python_version()}"
    busy = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    return Row(name, 0, f"{loop * 1000:.1f} ms", busy)
