"""What a reconcile costs, against floors measured in the same run.

    python -m benchmarks.reconcile                          needs no engine
    python -m benchmarks.reconcile --engine unix:///PATH    and 1,000 real containers
    python -m benchmarks.reconcile --quick                  small sizes, one round: does it work?

Run it in the project's folder. Figures are medians of rounds in which everything takes
turns: processor time for what runs in this process alone, else time on the wall. The
engine's containers are created, never started, and removed at the end.
"""

import argparse
import gc
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.reconcile.commands import command_rows
from benchmarks.reconcile.docker import docker_rows, rows_without_docker
from benchmarks.reconcile.planner import planner_rows
from benchmarks.table import Row, machine_row, render_table


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reconcile")
    parser.add_argument("--quick", action="store_true", help="small sizes and one round")
    parser.add_argument("--engine", metavar="ADDRESS", help="a Docker engine to use")
    parser.add_argument("--rounds", type=int, default=7, help="rounds to take medians of")
    return parser.parse_args()


def _measure(given: argparse.Namespace, folder: Path) -> list[Row]:
    rounds = 1 if given.quick else given.rounds
    sizes = (10, 100) if given.quick else (10, 100, 1_000, 10_000)
    rows = command_rows(folder, sizes[-1], rounds)
    rows += planner_rows(sizes, rounds)
    if given.engine is None:
        rows += rows_without_docker()
    else:
        rows += docker_rows(given.engine, folder, 10 if given.quick else 1_000, 3 * rounds)
    # The goals are set for the whole sizes.
    return [replace(row, goal="", met=None) for row in rows] if given.quick else rows


def main() -> None:
    """Measure everything and print one table."""
    given = _parse()
    # As the command itself does; what was measured is collected between two measurements.
    gc.disable()
    before = machine_row()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        rows = _measure(given, Path(folder))
    print(render_table([before, *rows, machine_row()]))


if __name__ == "__main__":
    main()
