"""What the engines beside restic cost, beside the bare command of their programs.

    python -m benchmarks.engines                   rsync of the search path
    python -m benchmarks.engines --rsync PATH      this one
    python -m benchmarks.engines --quick           tiny counts: does it work?

Run it in the project's folder. The whole writes some GB into --folder, which should be on a disk of
its own, and takes some minutes; everything is removed at the end.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.engines.rsync import QUICK, Scale, rsync_rows
from benchmarks.table import machine_row, render_table


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines")
    parser.add_argument("--quick", action="store_true", help="tiny counts, and no goals")
    parser.add_argument("--rsync", default="rsync", help="the rsync to use")
    parser.add_argument("--folder", type=Path, help="where there is space for 4 GB")
    given = parser.parse_args()
    if shutil.which(given.rsync) is None:
        parser.error(f"there is no program {given.rsync}")
    return given


def main() -> None:
    """Measure everything and print one table."""
    given = _parse()
    # As Ctrl-C does, so that nothing stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rows = [machine_row()]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.folder) as folder:
        print(f"rsync: load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
        program = str(shutil.which(given.rsync))
        rows += rsync_rows(Path(folder), program, QUICK if given.quick else Scale())
    rows.append(machine_row())
    if given.quick:
        # The goals are set for the whole sizes.
        rows = [replace(row, goal="", met=None) for row in rows]
    print(render_table(rows))


if __name__ == "__main__":
    main()
