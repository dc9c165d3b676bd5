"""From a created container to its plan at any pace, alone and beside containers that crash."""

import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.daemon.docker_http import DockerHttp
from benchmarks.daemon.process import Daemon, running_daemon, wait_until
from benchmarks.daemon.scale import Scale
from benchmarks.daemon.stage import Spec, Stage, plain_specs, sample_spec
from benchmarks.daemon.write_watcher import WriteWatcher
from benchmarks.table import Row

GOAL_MEDIAN, GOAL_WORST = 0.3, 1.0
GOAL_WRITES, GOAL_PASSES = 1.05, 1.1
_AT_ONCE = 5
_LOOP_SECONDS = 2.0
_OPENING_SECONDS = 1.5
_WAIT_SECONDS = 90.0


@dataclass
class _Taken:
    """Seconds from each create call to its plan, and what they cost."""

    seconds: list[float] = field(default_factory=list)
    changes: int = 0
    writes: int = 0
    passes: int = 0


def pace_rows(stage: Stage, folder: Path, scale: Scale) -> list[Row]:
    """Measure beside each number of others, and of containers that crash every two seconds."""
    rows: list[Row] = []
    for others in (scale.others[0], scale.others[-1]):
        specs = plain_specs("other", others)
        stage.create_volumes(specs)
        stage.create(specs)
        for looping in scale.looping:
            place = folder / f"others-{others}-looping-{looping}"
            with (
                running_daemon(place, stage.address, has_pages=True) as daemon,
                WriteWatcher(daemon.config) as seen,
                _crashing(stage, looping),
            ):
                wait_until(
                    lambda daemon=daemon, count=others + looping: daemon.plans() == count,  # type: ignore[misc]
                    "all plans",
                )
                time.sleep(_OPENING_SECONDS)
                paces = _Paces(stage, daemon, seen, f"of{others}by{looping}p")
                rows += paces.rows(scale, others, looping)
        stage.remove_containers()
    return rows


class _Paces:
    """Creates containers at one pace after the other."""

    def __init__(self, stage: Stage, daemon: Daemon, seen: WriteWatcher, kind: str) -> None:
        self._stage, self._daemon, self._seen, self._kind = stage, daemon, seen, kind
        self._docker = DockerHttp(stage.address)
        self._number = 0
        self._made: list[str] = []

    def rows(self, scale: Scale, others: int, looping: int) -> list[Row]:
        """Return a row for each pace, one for five at once, and what a change costs."""
        beside = f" beside {looping} that crash" if looping else ""
        rows: list[Row] = []
        for pace in scale.paces:
            taken = self._at_pace(pace, scale.samples)
            rows.append(_row(f"create → plan, one each {pace:g} s{beside}", others, taken))
            if not looping:
                rows += _cost_rows(pace, others, taken)
        at_once = _Taken()
        for _ in range(scale.samples):
            at_once.seconds.append(self._at_once())
            time.sleep(scale.paces[-1])
        rows.append(_row(f"five at once: last create → all plans{beside}", others, at_once))
        self._docker.close()
        self._stage.remove(self._made)
        return rows

    def _at_pace(self, pace: float, count: int) -> _Taken:
        taken = _Taken(changes=count)
        writes, passes = self._seen.writes, self._daemon.passes()
        for _ in range(count):
            (spec,) = self._specs(1)
            began = time.perf_counter()
            taken.seconds.append(self._until_seen([spec]))
            time.sleep(max(0.0, pace - (time.perf_counter() - began)))
        # A sight of our own write would come within a second.
        time.sleep(_OPENING_SECONDS)
        taken.writes = self._seen.writes - writes
        taken.passes = self._daemon.passes() - passes
        return taken

    def _at_once(self) -> float:
        return self._until_seen(self._specs(_AT_ONCE))

    def _specs(self, count: int) -> list[Spec]:
        numbers = range(self._number, self._number + count)
        self._number += count
        specs = [sample_spec(self._kind, number) for number in numbers]
        self._stage.create_volumes(specs)
        return specs

    def _until_seen(self, specs: Sequence[Spec]) -> float:
        """Create them; return the seconds from the last call to the plans of all."""
        self._seen.want(f"{self._kind}{self._number - 1:04d}stack".encode())
        sent = 0.0
        for spec in specs:
            sent = time.perf_counter()
            self._made.append(self._stage.create_one(self._docker, spec))
        return self._seen.wait(_WAIT_SECONDS) - sent


@contextmanager
def _crashing(stage: Stage, count: int) -> Iterator[None]:
    """Let labelled containers end and start again, each every two seconds."""
    specs = [
        replace(spec, more=(("Cmd", ["/bin/sleep", "1"]),))
        for spec in plain_specs("crashing", count)
    ]
    stage.create_volumes(specs)
    ids = stage.create(specs)
    ending = threading.Event()

    def restart() -> None:
        docker = DockerHttp(stage.address)
        while ids and not ending.is_set():
            for one in ids:
                docker.ask("POST", f"/containers/{one}/start")
                ending.wait(_LOOP_SECONDS / len(ids))
        docker.close()

    thread = threading.Thread(target=restart, name="crashing")
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        stage.remove(ids)


def _row(what: str, others: int, taken: _Taken) -> Row:
    median, worst = statistics.median(taken.seconds), max(taken.seconds)
    figure = f"{median:.2f} s median, {worst:.2f} s worst"
    goal = f"≤ {GOAL_MEDIAN:g} s, ≤ {GOAL_WORST:g} s"
    return Row(what, others, figure, "", None, goal, median <= GOAL_MEDIAN and worst <= GOAL_WORST)


def _cost_rows(pace: float, others: int, taken: _Taken) -> list[Row]:
    """Writes for each change and passes for each write; resyncs, one a minute, count too."""
    writes = taken.writes / taken.changes
    passes = taken.passes / max(1, taken.writes)
    spare = (taken.changes * pace / 60 + 1) / max(1, taken.writes)
    return [
        Row(f"writes per change, one each {pace:g} s", others, f"{writes:.2f} writes", "", None,
            f"≤ {GOAL_WRITES:g}", writes <= GOAL_WRITES),
        Row(f"passes per write, one each {pace:g} s", others, f"{passes:.2f} passes",
            f"{spare:.2f} of them may be resyncs", None, f"≤ {GOAL_PASSES:g}",
            passes <= GOAL_PASSES + spare),
    ]  # fmt: skip
