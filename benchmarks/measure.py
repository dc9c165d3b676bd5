"""Timing that stands noise: interleaved rounds, medians, and children measured alone."""

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
_LOOP_STEPS = 300_000


@dataclass(frozen=True, slots=True)
class Step:
    """Something to time, `calls` times a round; `prepare` comes before each call, untimed."""

    run: Callable[[], object]
    calls: int = 1
    prepare: Callable[[], object] = bool


class Child(NamedTuple):
    """What one child process took: wall seconds, peak memory in bytes, processor seconds."""

    seconds: float
    peak: int
    cpu: float = 0.0


def rounds_of(
    steps: Mapping[str, Step], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Time every step in every round; return each one's median seconds a call.

    The steps take turns, so that a change in the machine's load meets all of them.
    """
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            taken[name].append(_seconds(step, clock))
            gc.collect()
    return {name: statistics.median(times) for name, times in taken.items()}


def _seconds(step: Step, clock: Callable[[], float]) -> float:
    total = 0.0
    for _ in range(step.calls):
        step.prepare()
        start = clock()
        step.run()
        total += clock() - start
    return total / step.calls


def loop_seconds() -> float:
    """Time a fixed loop of plain Python: the yardstick between two machines."""
    start = time.process_time()
    total, seen = 0, {"a": 1}
    for number in range(_LOOP_STEPS):
        total += number % 7 * seen["a"]
    return time.process_time() - start


# A process's peak begins with that of the process it was started from, so children
# are started by one that is small.
_LAUNCHER = """
import os, sys, time
null = os.open(os.devnull, os.O_WRONLY)
start = time.perf_counter()
actions = [(os.POSIX_SPAWN_DUP2, null, 1)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=actions)
status, usage = os.wait4(pid, 0)[1:]
seconds = time.perf_counter() - start
cpu = usage.ru_utime + usage.ru_stime
print(seconds, usage.ru_maxrss * 1024, cpu, os.waitstatus_to_exitcode(status))
"""


def compiled(folder: Path) -> dict[str, str]:
    """Return the environment of programs that are compiled, as installed ones are, in `folder`."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(folder)}


def run_child(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Child:
    """Run our Python with `arguments`, output thrown away; raises RuntimeError if it fails."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", _LAUNCHER, sys.executable, *arguments],
        env={**environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, peak, cpu, code = done.stdout.split()
    if code != "0":
        raise RuntimeError(f"{' '.join(arguments)} ended with {code}")
    return Child(float(seconds), int(peak), float(cpu))


def median_child(children: Sequence[Child]) -> Child:
    """Return the medians of several runs of one command."""
    seconds = statistics.median(child.seconds for child in children)
    return Child(seconds, round(statistics.median(child.peak for child in children)))
