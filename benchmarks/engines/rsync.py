"""A backup by the engine of rsync beside the bare command that copies the same.

The bare one has the flags of the engine, and its links from the same snapshot; with excludes it has
rsync's own patterns. Both write beside each other on one file system, in turns.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import run_child
from benchmarks.table import Row
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.rsync import RsyncEngine, RsyncOptions
from sidecar.lib.process import ProcessRunner

GOAL = 1.10
_FOLDERS = 200
_FLAGS = ("-aHAXS", "--numeric-ids", "--relative")
_EXCLUDES = ("*.tmp", "cache-[0-9]*", "/nowhere/at/all")
_INSTANCE = "bench"


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts and bytes."""

    files: int = 20_000
    file_bytes: int = 10_000
    pairs: int = 5


QUICK = Scale(30, 100, 1)


def rsync_rows(folder: Path, program: str, scale: Scale) -> list[Row]:
    """Measure first backups, such that find nothing new, and such that find 1 % changed."""
    tree = folder / "tree"
    _write_tree(tree, scale)
    rows = []
    for is_excluding in (False, True):
        pairs = [
            _round(folder, program, number, is_excluding=is_excluding)
            for number in range(scale.pairs)
        ]
        size = f"{scale.files:,} files of {scale.files * scale.file_bytes / 1e9:.1f} GB"
        more = ", with excludes" if is_excluding else ""
        for index, what in enumerate(("first", "nothing new", "1 % changed")):
            rows.append(_row(f"rsync: {size}, {what}{more}", [one[index] for one in pairs]))
    rows.append(_memory_row(folder, program, scale))
    return rows


def _write_tree(tree: Path, scale: Scale) -> None:
    """Write files of random bytes, the same in each run; one of a hundred is left out by name."""
    source = random.Random(7)  # noqa: S311 - no secret
    for number in range(scale.files):
        place = tree / str(number % _FOLDERS)
        place.mkdir(parents=True, exist_ok=True)
        ending = ".tmp" if number % 100 == 50 else ""
        (place / f"{number}{ending}").write_bytes(source.randbytes(scale.file_bytes))


def _change(tree: Path, number: int) -> None:
    """Change a file of a hundred."""
    for index, file in enumerate(sorted(tree.rglob("*"))):
        if index % 100 == 0 and file.is_file():
            file.write_bytes(f"{number} changed".encode() + file.read_bytes())


def _round(
    folder: Path, program: str, number: int, *, is_excluding: bool
) -> list[tuple[float, float]]:
    """Time three backups by both, in turns; return the seconds of ours and of the bare one."""
    ours, bare, tree = folder / "ours", folder / "bare", folder / "tree"
    bare.mkdir()
    engine = make_engine(ours, program)
    engine.initialise()
    excludes = _EXCLUDES if is_excluding else ()
    plan = RunPlan("bench", "store", (str(tree),), excludes)
    found = []
    for step in range(3):
        if step == 2:
            _change(tree, number)
        variants: dict[str, Callable[[], None]] = {
            "bare": partial(_copy, program, tree, bare, step, excludes),
            "ours": partial(back_up, engine, plan),
        }
        order = sorted(variants, reverse=bool(number % 2))
        taken = {which: _seconds(variants[which]) for which in order}
        found.append((taken["ours"], taken["bare"]))
    for place in (ours, bare):
        shutil.rmtree(place)
    return found


def make_engine(repository: Path, program: str) -> RsyncEngine:
    """Return the engine of a repository."""
    options = RsyncOptions(os.environ, rsync=program)
    repo = Repo("store", f"rsync:{repository}")
    return RsyncEngine(repo, ProcessRunner(dict(os.environ)), options)


def back_up(engine: RsyncEngine, plan: RunPlan) -> None:
    """Back up; raises RuntimeError if that fails."""
    done = engine.capture(plan, _INSTANCE, lambda _: None)
    if not done.reason:
        done = engine.seal(plan, done, lambda _: None)
    if done.reason:
        raise RuntimeError(done.reason)


def _copy(program: str, tree: Path, bare: Path, step: int, excludes: tuple[str, ...]) -> None:
    link = [f"--link-dest={bare / str(step - 1)}"] if step else []
    words = [f"--exclude={pattern}" for pattern in excludes]
    command = [program, *_FLAGS, *link, *words, str(tree), f"{bare / str(step)}/"]
    subprocess.run(command, check=True)
    # A snapshot of ours counts when it is on the disk.
    subprocess.run(["sync", "-f", str(bare)], check=True)


def _seconds(run: Callable[[], None]) -> float:
    # What the one before has written is no burden of the next.
    subprocess.run(["sync"], check=True)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _row(what: str, pairs: list[tuple[float, float]]) -> Row:
    ours, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return Row(
        f"{what}, median of {len(pairs)} pairs",
        0,
        f"{ours:.3f} s",
        f"{bare:.3f} s (bare rsync)",
        ratio,
        f"≤ {GOAL:.2f}",
        ratio <= GOAL,
    )


def _memory_row(folder: Path, program: str, scale: Scale) -> Row:
    """Measure the peak of a process that makes one backup with excludes; rsync's is its own."""
    arguments = ["-m", "benchmarks.engines.rsync", str(folder), program]
    peak = run_child([*arguments, "backup"]).peak
    floor = run_child([*arguments, "nothing"]).peak
    what = f"rsync: memory of our process, {scale.files:,} files with excludes"
    megabytes = (f"{one / 1e6:.1f} MB" for one in (peak, floor))
    return Row(what, 0, next(megabytes), f"{next(megabytes)} (without a backup)", peak / floor)


def _main(folder: str, program: str, what: str) -> None:
    place = Path(folder)
    engine = make_engine(place / "ours", program)
    engine.initialise()
    if what == "backup":
        back_up(engine, RunPlan("bench", "store", (str(place / "tree"),), _EXCLUDES))
        shutil.rmtree(place / "ours")


if __name__ == "__main__":
    _main(*sys.argv[1:])
