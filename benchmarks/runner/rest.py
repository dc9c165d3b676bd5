"""The runner at rest with many plans: a look of the scheduler, processor time, memory."""

import statistics
import time
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from benchmarks.daemon.process import Process, running, wait_until
from benchmarks.runner.scale import Scale
from benchmarks.runner.stage import Stage, heartbeat, many_plans
from benchmarks.table import Row
from sidecar.lib.zones import local_zone
from sidecar.runner.due import Scheduler, timings
from sidecar.runner.journal import Journal
from sidecar.runner.loader import parse_config

GOAL_LOOK, GOAL_PERCENT, GOAL_MEMORY = 5.0, 0.1, 80
_BARE = "import threading\nwhile True: threading.Event().wait(60)"


def look_rows(stage: Stage, scale: Scale) -> list[Row]:
    """Time a look at all plans: what is recorded of each, and whether it is due."""
    path = _document(stage, scale)
    start = time.perf_counter()
    config = parse_config(path.read_bytes(), path, date.today())  # noqa: DTZ011 - as the loader
    read = time.perf_counter() - start
    wanted, scheduler, now = timings(config), Scheduler(local_zone()[0]), time.time()
    with Journal(path.parent / "journal.sqlite") as journal:
        journal.first_seen(wanted, now)
        taken = []
        for number in range(scale.looks):
            start = time.perf_counter()
            found = scheduler.find_due(wanted, journal.history().moments, now + number, now)
            taken.append(time.perf_counter() - start)
            if found.due:
                raise RuntimeError("a plan of the benchmark is due")
    # The first one finds out when each fires next.
    cold, *warm = (1000 * seconds for seconds in taken)
    figure = statistics.median(warm)
    return [
        Row(
            f"scheduler: a look at {scale.plans:,} plans",
            0,
            f"{figure:.2f} ms",
            f"{cold:.1f} ms (the first one)",
            None,
            f"< {GOAL_LOOK:.0f} ms",
            figure < GOAL_LOOK,
        ),
        Row(
            f"reading and checking a document of {scale.plans:,} plans", 0, f"{1000 * read:.0f} ms"
        ),
    ]


def rest_rows(stage: Stage, scale: Scale) -> list[Row]:
    """Measure a daemon with many plans of which none is due, beside a Python that sleeps."""
    config = _document(stage, scale)
    given = ("--config", str(config), "--restic", stage.restic, "--force", "--log-level", "error")
    with ExitStack() as stack:
        log = stage.folder / "daemon.log"
        pid = stack.enter_context(running("-m", "sidecar.runner", "daemon", *given, log=log))
        daemon = Process(pid)
        wait_until(lambda: _beats(daemon, config), "a heartbeat")
        bare = Process(stack.enter_context(running("-c", _BARE, log=stage.folder / "bare.log")))
        time.sleep(scale.rest_seconds)
        before, start = (daemon.cpu(), bare.cpu()), time.monotonic()
        time.sleep(scale.idle_seconds)
        wall = time.monotonic() - start
        figure, floor = (
            100 * (daemon.cpu() - before[0]) / wall,
            100 * (bare.cpu() - before[1]) / wall,
        )
        memory, least = daemon.memory(), bare.memory()
    return [
        Row(
            f"idle: processor time of the daemon with {scale.plans:,} plans",
            0,
            f"{figure:.3f} % of a core",
            f"{floor:.3f} % (python that sleeps)",
            None,
            f"< {GOAL_PERCENT} %",
            figure < GOAL_PERCENT,
        ),
        Row(
            f"memory of the daemon with {scale.plans:,} plans",
            0,
            str(memory),
            f"{least.resident / 1e6:.1f} MB (python that sleeps)",
            memory.resident / least.resident,
            f"< {GOAL_MEMORY} MB",
            memory.resident < GOAL_MEMORY * 1e6,
        ),
    ]


def _document(stage: Stage, scale: Scale) -> Path:
    stage.tree.mkdir(exist_ok=True)
    repository = stage.folder / "repository-rest"
    if not repository.exists():
        stage.make_repository(repository.name)
    return stage.write_document("rest", repository, many_plans(scale.plans, stage.tree))


def _beats(daemon: Process, config: Path) -> bool:
    daemon.ensure_running()
    return heartbeat(config) is not None
