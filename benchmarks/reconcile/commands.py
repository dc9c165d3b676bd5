"""Whole commands, each a process of its own, beside a bare `import docker`."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Child, median_child, run_child
from benchmarks.reconcile.stack import document, saved_list
from benchmarks.table import Row

_BARE = ("-c", "import docker")
GOAL_MICROSECONDS, GOAL_MEGABYTES, GOAL_MILLISECONDS = 250, 200, 450
_FEW = 10


def command_rows(folder: Path, count: int, rounds: int) -> list[Row]:
    """Measure a reconcile that writes `count` plans, and a cold dry run over ten containers.

    `folder` is empty and may be filled.
    """
    list_file, config = folder / "list.json", folder / "config.json"
    list_file.write_bytes(saved_list(count))
    arguments = ("--inventory", str(list_file), "--config", str(config))

    def start() -> None:
        config.write_text(document())

    bare, write = _in_turns(("-m", "sidecar", "reconcile", *arguments), start, rounds)
    return [*_write_rows(count, bare, write), _cold_row(folder, rounds)]


def _in_turns(
    arguments: tuple[str, ...], prepare: Callable[[], None], rounds: int
) -> tuple[Child, Child]:
    """Run a bare import and a command in turns; give the medians of both."""
    floors: list[Child] = []
    figures: list[Child] = []
    for _ in range(rounds):
        prepare()
        floors.append(run_child(_BARE))
        figures.append(run_child(arguments))
    return median_child(floors), median_child(figures)


def _write_rows(count: int, bare: Child, write: Child) -> list[Row]:
    micro = write.seconds / count * 1e6
    above = (write.peak - bare.peak) / 1e6
    return [
        Row(
            "reconcile that writes all plans, whole command",
            count,
            f"{micro:.0f} µs a container",
            f"{bare.seconds / count * 1e6:.0f} (bare import docker)",
            write.seconds / bare.seconds,
            f"≤ {GOAL_MICROSECONDS} µs",
            micro <= GOAL_MICROSECONDS,
        ),
        Row(
            "its peak memory above a bare import docker",
            count,
            f"{above:.0f} MB above",
            f"{bare.peak / 1e6:.0f} MB",
            write.peak / bare.peak,
            f"≤ {GOAL_MEGABYTES} MB",
            above <= GOAL_MEGABYTES,
        ),
    ]


def _cold_row(folder: Path, rounds: int) -> Row:
    list_file, config = folder / "few.json", folder / "few-config.json"
    list_file.write_bytes(saved_list(_FEW))
    config.write_text(document())
    arguments = ("--dry-run", "--inventory", str(list_file), "--config", str(config))
    bare, cold = _in_turns(("-m", "sidecar", "reconcile", *arguments), lambda: None, rounds)
    above = (cold.seconds - bare.seconds) * 1000
    return Row(
        "cold reconcile --dry-run above a bare import docker",
        _FEW,
        f"{above:.0f} ms above",
        f"{bare.seconds * 1000:.0f} ms",
        cold.seconds / bare.seconds,
        f"≤ {GOAL_MILLISECONDS} ms",
        above <= GOAL_MILLISECONDS,
    )
