"""What the daemon costs when nothing happens: processor time and memory."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.daemon.docker_http import DockerHttp, render_filters
from benchmarks.daemon.process import Memory, Process, running, running_daemon, wait_until
from benchmarks.daemon.scale import Scale
from benchmarks.daemon.stage import Stage, checked_specs, plain_specs
from benchmarks.table import Row

GOAL_PERCENT, GOAL_IDLE, GOAL_FULL = 0.1, 70, 110
CPU = "idle: processor time of the daemon"
EMPTY = "memory with nothing labelled"
FULL = "memory with that many workloads"


def cpu_row(stage: Stage, folder: Path, scale: Scale) -> Row:
    """Measure beside running containers that check their health each second."""
    specs = checked_specs(scale.running, scale.checks)
    stage.create_volumes(specs)
    stage.start(stage.create(specs))
    with ExitStack() as stack:
        daemon = stack.enter_context(running_daemon(folder / "idle", stage.address))
        wait_until(lambda: daemon.plans() == scale.running, f"{scale.running} plans")
        bare = stack.enter_context(_bare(stage.address, folder / "idle"))
        time.sleep(scale.rest_seconds)
        rate = _Rate(stage.address, scale.idle_seconds)
        percents = _percents([daemon, bare], scale.idle_seconds)
        checks = rate.per_second()
    stage.remove_containers()
    figure, floor = percents
    return Row(
        f"{CPU}, {scale.checks} of them with a health check each second",
        scale.running,
        f"{figure:.3f} % of a core ({checks:.0f} checks ran a second)",
        f"{floor:.3f} % (bare stream, a list a minute)",
        figure / floor if floor else None,
        f"≤ {GOAL_PERCENT} %",
        figure <= GOAL_PERCENT,
    )


@contextmanager
def _bare(address: str, folder: Path) -> Iterator[Process]:
    """Run the bare chain, which no container of this engine wakes."""
    given = (address, "bare.enable", str(folder / "config.json"), str(folder / "target"))
    with running("-m", "benchmarks.daemon.bare", *given, log=folder / "bare.log") as pid:
        yield Process(pid)


def _percents(processes: list[Process], seconds: float) -> list[float]:
    """Take the processor time of processes over the same stretch, in percent of a core."""
    before, start = [process.cpu() for process in processes], time.monotonic()
    time.sleep(seconds)
    wall = time.monotonic() - start
    pairs = zip(processes, before, strict=True)
    return [100 * (process.cpu() - then) / wall for process, then in pairs]


class _Rate:
    """Counts health checks in a thread, for so many seconds of the engine's time."""

    def __init__(self, address: str, seconds: float) -> None:
        now = time.time()
        stretch = f"since={now:.3f}&until={now + seconds:.3f}"
        # The engine tells of a health check as of any exec, with the command in the action.
        checks = render_filters(type=["container"], event=["exec_start"])
        self._seconds = seconds
        self._lines = DockerHttp(address).lines(f"/events?{stretch}&{checks}")
        self._count = 0
        self._thread = threading.Thread(target=self._run, name="rate")
        self._thread.start()

    def per_second(self) -> float:
        """Wait for the end; give how many there were a second."""
        self._thread.join()
        return self._count / self._seconds

    def _run(self) -> None:
        self._count = sum(1 for _ in self._lines)


def memory_rows(stage: Stage, folder: Path, scale: Scale) -> list[Row]:
    """Measure a daemon with nothing labelled, and one that starts with many workloads."""
    rows = [_memory_row(EMPTY, 0, GOAL_IDLE, _rest(stage, folder / "empty", 0, scale))]
    count = scale.others[-1]
    specs = plain_specs("other", count)
    stage.create_volumes(specs)
    stage.create(specs)
    rows.append(_memory_row(FULL, count, GOAL_FULL, _rest(stage, folder / "full", count, scale)))
    stage.remove_containers()
    return rows


def _rest(stage: Stage, folder: Path, count: int, scale: Scale) -> tuple[Memory, Memory]:
    """The memory of the daemon and of the bare chain, after a rest."""
    with ExitStack() as stack:
        daemon = stack.enter_context(running_daemon(folder, stage.address))
        wait_until(lambda: daemon.plans() == count, f"{count} plans")
        bare = stack.enter_context(_bare(stage.address, folder))
        time.sleep(scale.rest_seconds)
        return daemon.memory(), bare.memory()


def _memory_row(what: str, count: int, goal: int, taken: tuple[Memory, Memory]) -> Row:
    figure, floor = taken
    return Row(
        what,
        count,
        str(figure),
        f"{floor.resident / 1e6:.1f} MB (bare stream, a list a minute)",
        figure.resident / floor.resident,
        f"< {goal} MB",
        figure.resident < goal * 1e6,
    )
