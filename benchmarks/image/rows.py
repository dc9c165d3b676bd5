"""The figures of the image, each with its floor."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.image.stage import Stage, wait_until
from benchmarks.measure import Step, rounds_of
from benchmarks.table import Row

SIZE_GOAL = 120
_REST_SECONDS = 10.0
_HEALTH_ROUNDS = 5
_PREFIX = "backrest_sidecar_"
_BARE = ("python3", "-c", "pass")
_SLEEP = ("python3", "-c", "import time; time.sleep(3600)")
# Removes what Python has compiled, of its own library and of ours.
_UNCOMPILED = """\
FROM {image}
RUN ["python3", "-c", "import pathlib, shutil, sys; [shutil.rmtree(p) for r in {{sys.prefix, \
sys.base_prefix + '/lib'}} for p in list(pathlib.Path(r).rglob('__pycache__'))]"]
"""


def size_row(stage: Stage) -> Row:
    """Compare what the engine says of both images, unpacked."""
    base = stage.inspect(stage.base)["Size"] / 1e6
    beyond = stage.inspect(stage.image)["Size"] / 1e6 - base
    name = "size of the image beyond its base, unpacked"
    met = beyond <= SIZE_GOAL
    return Row(name, 0, f"{beyond:.1f} MB", f"{base:.1f} MB (base)", None, f"≤ {SIZE_GOAL} MB", met)


def start_rows(stage: Stage, rounds: int) -> list[Row]:
    """Time whole `docker run --rm`, in turns, also of the image with nothing compiled."""
    bare = f"{stage.image}-uncompiled"
    stage.docker("build", "-t", bare, "-", given=_UNCOMPILED.format(image=stage.image))
    taken = rounds_of(
        {
            "base": Step(_run(stage, stage.base, *_BARE)),
            "version": Step(_run(stage, stage.image, "version")),
            "uncompiled": Step(_run(stage, bare, "version")),
        },
        rounds,
        time.perf_counter,
    )
    stage.docker("rmi", bare)
    names = {
        "version": "docker run --rm IMAGE version",
        "uncompiled": "docker run --rm IMAGE version, had the build compiled nothing",
    }
    return [_timed(what, taken[key], taken["base"]) for key, what in names.items()]


def plan_and_health_rows(stage: Stage, rounds: int) -> list[Row]:
    """Time from `docker run -d` to the first plan, and to what Docker calls healthy."""
    plans, healths, floors = [], [], []
    with stage.workload():
        for _ in range(min(rounds, _HEALTH_ROUNDS)):
            plan, health = _start_seconds(stage)
            plans.append(plan)
            healths.append(health)
            floors.append(_bare_seconds(stage))
    floor = f"{_shown(floors)} (docker run -d of the base)"
    plan_ratio = statistics.median(plans) / statistics.median(floors)
    return [
        Row("docker run -d IMAGE → plan in the document", 0, _shown(plans), floor, plan_ratio),
        Row("docker run -d IMAGE → healthy, checked each second", 0, _shown(healths)),
    ]


def memory_row(stage: Stage) -> Row:
    """Compare the daemon at rest with a Python that only sleeps."""
    with stage.daemon() as (daemon, _), stage.container(stage.base, *_SLEEP) as bare:
        time.sleep(_REST_SECONDS)
        ours, floor = (stage.process(made).memory() for made in (daemon, bare))
    name = "memory of the daemon's container at rest, nothing labelled"
    return Row(name, 0, str(ours), f"{floor} (python3 that sleeps)", ours.resident / floor.resident)


def _run(stage: Stage, image: str, *arguments: str) -> Callable[[], object]:
    return lambda: stage.docker("run", "--rm", "--network=none", image, *arguments)


def _start_seconds(stage: Stage) -> tuple[float, float]:
    start = time.monotonic()
    with stage.daemon() as (container, config):
        wait_until(lambda: _has_plan(config), "a plan")
        plan = time.monotonic() - start
        wait_until(lambda: _health(stage, container) == "healthy", "a healthy daemon")
        return plan, time.monotonic() - start


def _bare_seconds(stage: Stage) -> float:
    start = time.monotonic()
    with stage.container(stage.base, *_SLEEP):
        return time.monotonic() - start


def _has_plan(config: Path) -> bool:
    return _PREFIX in config.read_text()


def _health(stage: Stage, container: str) -> str:
    return str(stage.inspect(container)["State"]["Health"]["Status"])


def _timed(what: str, figure: float, floor: float) -> Row:
    beside = f"{floor * 1000:.0f} ms (python3 -c pass of the base)"
    return Row(what, 0, f"{figure * 1000:.0f} ms", beside, figure / floor)


def _shown(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms"
