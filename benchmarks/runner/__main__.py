"""What the bundled runner costs: runs beside bare restic, a daemon with many plans, a long journal.

    python -m benchmarks.runner                    restic of the search path
    python -m benchmarks.runner --restic PATH      this one
    python -m benchmarks.runner --quick            tiny counts: does it work?
    python -m benchmarks.runner --only look rest   these parts alone

Run it in the project's folder. The whole writes 2 GB of files and as much again for each of two
repositories into --folder, and takes half an hour; everything is removed at the end. No
container engine is asked for anything.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.runner.backup import backup_rows
from benchmarks.runner.journal import journal_rows
from benchmarks.runner.plans import plans_rows
from benchmarks.runner.rest import look_rows, rest_rows
from benchmarks.runner.scale import QUICK, Scale
from benchmarks.runner.stage import Stage
from benchmarks.runner.verify import verify_rows
from benchmarks.table import Row, machine_row, render_table

_PARTS: dict[str, Callable[[Stage, Scale], list[Row]]] = {
    "backup": backup_rows,
    "plans": plans_rows,
    "look": look_rows,
    "rest": rest_rows,
    "journal": journal_rows,
    "verify": verify_rows,
}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runner")
    parser.add_argument("--quick", action="store_true", help="tiny counts, and no goals")
    parser.add_argument("--restic", default="restic", help="the restic to use")
    parser.add_argument("--other-restic", default="", help="one beside which verify is measured")
    parser.add_argument("--folder", type=Path, help="where there is space for 6 GB")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=list(_PARTS), help="parts")
    given = parser.parse_args()
    for program in filter(None, (given.restic, given.other_restic)):
        if shutil.which(program) is None:
            parser.error(f"there is no program {program}")
    return given


def main() -> None:
    """Measure everything and print one table."""
    given = _parse()
    # As Ctrl-C does, so that nothing stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scale = QUICK if given.quick else Scale()
    rows = [machine_row()]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.folder) as folder:
        other = shutil.which(given.other_restic) if given.other_restic else None
        stage = Stage(Path(folder), str(shutil.which(given.restic)), other or "")
        for part in given.only:
            print(f"{part}: load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
            rows += _PARTS[part](stage, scale)
    rows.append(machine_row())
    if given.quick:
        # The goals are set for the whole sizes.
        rows = [replace(row, goal="", met=None) for row in rows]
    print(render_table(rows))


if __name__ == "__main__":
    main()
