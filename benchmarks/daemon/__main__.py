"""What the daemon costs, and how soon it sees, on a real engine.

    python -m benchmarks.daemon                          starts an engine of its own, as root
    python -m benchmarks.daemon --engine unix:///PATH    uses this one, with nothing labelled on it
    python -m benchmarks.daemon --quick                  tiny counts: does it work?
    python -m benchmarks.daemon --only storm latency     these parts alone

Run it in the project's folder; the whole takes about 45 minutes. The daemon runs as a
process of its own with its default flags, but for those that a row names. Containers are
created, and started where a row says so; everything made is removed at the end. The flood of
events comes from a fake engine, and the saves are counted by a fake Backrest.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.daemon.events import event_row
from benchmarks.daemon.idle import cpu_row, memory_rows
from benchmarks.daemon.latency import latency_rows
from benchmarks.daemon.pace import pace_rows
from benchmarks.daemon.scale import QUICK, Scale
from benchmarks.daemon.stage import Stage, staged
from benchmarks.daemon.storm import storm_rows
from benchmarks.measure import ROOT
from benchmarks.table import Row, machine_row, render_table

_PARTS: dict[str, Callable[[Stage, Path, Scale], list[Row]]] = {
    "latency": latency_rows,
    "pace": pace_rows,
    "storm": storm_rows,
    "idle": lambda stage, folder, scale: [cpu_row(stage, folder, scale)],
    "memory": memory_rows,
    "events": lambda _, folder, scale: [event_row(folder, scale)],
}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.daemon")
    parser.add_argument("--quick", action="store_true", help="tiny counts, and no goals")
    parser.add_argument("--engine", metavar="ADDRESS", help="a Docker engine to use")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=list(_PARTS), help="parts")
    checks = "how many of the running containers check their health each second"
    parser.add_argument("--checks", type=int, help=checks)
    return parser.parse_args()


@contextmanager
def _engine(address: str | None, folder: Path) -> Iterator[str]:
    """Return the address of an engine: that one, or one of our own in `folder`."""
    if address is not None:
        yield address
        return
    own = [sys.executable, str(ROOT / "scripts" / "lib" / "private_docker.py")]
    done = subprocess.run([*own, "start", str(folder)], stdout=subprocess.PIPE, check=True)
    try:
        yield done.stdout.decode().strip()
    finally:
        subprocess.run([*own, "stop", str(folder)], check=True)


def _measure(address: str, folder: Path, scale: Scale, parts: list[str]) -> list[Row]:
    rows: list[Row] = []
    with staged(address) as stage:
        for part in parts:
            print(f"{part}: load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
            (folder / part).mkdir()
            rows += _PARTS[part](stage, folder / part, scale)
    return rows


def main() -> None:
    """Measure everything and print one table."""
    given = _parse()
    # As Ctrl-C does, so that nothing stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scale = QUICK if given.quick else Scale()
    scale = scale if given.checks is None else replace(scale, checks=given.checks)
    before = machine_row()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        _engine(given.engine, Path(folder) / "engine") as address,
    ):
        rows = _measure(address, Path(folder), scale, given.only)
    if given.quick:
        # The goals are set for the whole sizes.
        rows = [replace(row, goal="", met=None) for row in rows]
    print(render_table([before, *rows, machine_row()]))


if __name__ == "__main__":
    main()
