"""What the image costs: its size, a cold start, the way to healthy, and memory at rest.

    python -m benchmarks.image                          as root: an engine and an image of its own
    python -m benchmarks.image --engine unix:///PATH    uses this engine
    python -m benchmarks.image --engine unix:///PATH --image NAME --base NAME
                                                        and these images, which are there

Run it in the project's folder; it takes about two minutes, and the image of its own two
more. That one stands on a small Debian with Python made here, since nothing is pulled.
Everything made but the images is removed at the end.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.image.rows import memory_row, plan_and_health_rows, size_row, start_rows
from benchmarks.image.stage import Stage
from benchmarks.measure import ROOT
from benchmarks.table import Row, machine_row, render_table

_LIB, _WORLD = ROOT / "scripts" / "lib", ROOT / "tests" / "engine" / "image_world.py"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.image")
    parser.add_argument("--engine", metavar="ADDRESS", help="a Docker engine to use")
    parser.add_argument("--image", metavar="NAME", help="an image of the sidecar to measure")
    parser.add_argument("--base", metavar="NAME", help="the base that it was built on")
    parser.add_argument("--rounds", type=int, default=15, help="starts of each kind")
    given = parser.parse_args()
    if bool(given.image) != bool(given.base):
        parser.error("--image and --base belong together")
    return given


@contextmanager
def _engine(address: str | None, folder: Path) -> Iterator[str]:
    """Return the address of an engine: that one, or one of our own in `folder`."""
    if address is not None:
        yield address
        return
    own = [sys.executable, str(_LIB / "private_docker.py")]
    done = subprocess.run([*own, "start", str(folder)], stdout=subprocess.PIPE, check=True)
    try:
        yield done.stdout.decode().strip()
    finally:
        subprocess.run([*own, "stop", str(folder)], check=True)


def _images(given: argparse.Namespace, address: str) -> tuple[str, str]:
    """Return the names of the image and its base, building both where none are named."""
    if given.image:
        return given.image, given.base
    command = [sys.executable, str(_WORLD), address]
    environment = os.environ | {"PYTHONPATH": str(_LIB)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    image, base = done.stdout.split()
    return image, base


def _measure(stage: Stage, rounds: int) -> list[Row]:
    return [
        size_row(stage),
        *start_rows(stage, rounds),
        *plan_and_health_rows(stage, rounds),
        memory_row(stage),
    ]


def main() -> None:
    """Measure everything and print one table."""
    given = _parse()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        _engine(given.engine, Path(folder) / "engine") as address,
    ):
        stage = Stage(address, *_images(given, address), Path(folder))
        before = machine_row()
        rows = _measure(stage, given.rounds)
    print(render_table([before, *rows, machine_row()]))


if __name__ == "__main__":
    main()
