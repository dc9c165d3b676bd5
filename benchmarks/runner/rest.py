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
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from sidecar.runner.loader import parse_config

GOAL_LOOK, GOAL_PERCENT, GOAL_MEMORY = 5.0, 0.05, 80
_BARE = "import threading\nwhile True: threading.Event().wait(60)"


def look_rows(stage: Stage, scale: Scale) -> list[Row]:
    """Time a look at all plans: what is recorded of each, and whether it is due.

    It waits for nothing, so that its processor time is what it takes on a machine at rest.
    """
    path = _document(stage, "look", scale.look_plans)
    start = time.perf_counter()
    config = parse_config(path.read_bytes(), path, date.today())  # noqa: DTZ011 - as the loader
    read = time.perf_counter() - start
    wanted, scheduler, now = timings(config), Scheduler(local_zone()[0]), time.time()
    with Journal(path.parent / "journal.sqlite") as journal:
        journal.past.first_seen(wanted, now)

        def look(number: int) -> float:
            """Return the milliseconds of processor time of a look some seconds later."""
            start = time.thread_time()
            found = scheduler.find_due(wanted, journal.past.history().moments, now + number, now)
            taken = time.thread_time() - start
            if found.due:
                raise RuntimeError("a plan of the benchmark is due")
            return 1000 * taken

        # The first one finds out when each fires next.
        cold = look(0)
        quiet = [look(number) for number in range(scale.looks)]
        after_a_run = []
        for number, job in zip(range(scale.looks), wanted, strict=False):
            run = journal.runs.begin(job, RunCause.MANUAL, now + number, "")
            after_a_run.append(look(number))
            journal.runs.end(run, Ended(RunOutcome.SUCCESS, now + number))
    of = f"a look at {scale.look_plans:,} plans"
    floor = f"{cold:.1f} ms (the first one)"
    document = f"reading and checking a document of {scale.look_plans:,} plans"
    return [
        _look_row(f"scheduler: {of}", quiet, floor),
        _look_row(f"scheduler: {of}, of which one has begun", after_a_run, floor),
        Row(document, 0, f"{1000 * read:.0f} ms"),
    ]


def _look_row(what: str, taken: list[float], floor: str) -> Row:
    figure = statistics.median(taken)
    goal = f"≤ {GOAL_LOOK:.0f} ms"
    return Row(what, 0, f"{figure:.2f} ms", floor, None, goal, figure <= GOAL_LOOK)


def rest_rows(stage: Stage, scale: Scale) -> list[Row]:
    """Measure a daemon with many plans of which none is due, beside a Python that sleeps."""
    config = _document(stage, "rest", scale.plans)
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
            f"≤ {GOAL_PERCENT} %",
            figure <= GOAL_PERCENT,
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


def _document(stage: Stage, name: str, plans: int) -> Path:
    stage.tree.mkdir(exist_ok=True)
    repository = stage.folder / "repository-rest"
    if not repository.exists():
        stage.make_repository(repository.name)
    return stage.write_document(name, repository, many_plans(plans, stage.tree))


def _beats(daemon: Process, config: Path) -> bool:
    daemon.ensure_running()
    return heartbeat(config) is not None
