"""From a created container to its plan in the file, beside the bare chain."""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.daemon.docker_http import DockerHttp
from benchmarks.daemon.process import Daemon, running, running_daemon, wait_until
from benchmarks.daemon.scale import Scale
from benchmarks.daemon.stage import Spec, Stage, plain_specs, sample_spec
from benchmarks.daemon.write_watcher import WriteWatcher
from benchmarks.table import Row

GOAL_RATIO, GOAL_MILLISECONDS = 3.0, 40.0
_BARE_LABEL = "bare.enable"
_OPENING_SECONDS = 1.5
_WAIT_SECONDS = 30.0
SENT = "create sent → plan in the file"
RETURNED = "create returned → plan in the file"


@dataclass(frozen=True, slots=True)
class _Taken:
    """Seconds of each sample, from when the call was sent and from when it returned."""

    sent: list[float] = field(default_factory=list)
    returned: list[float] = field(default_factory=list)


def latency_rows(stage: Stage, folder: Path, scale: Scale) -> list[Row]:
    """Measure with each number of other labelled containers present."""
    there = 0
    rows: list[Row] = []
    specs = plain_specs("other", scale.others[-1])
    stage.create_volumes(specs)
    for count in scale.others:
        stage.create(specs[there:count])
        there = count
        with _racing(stage, folder / f"others-{count}", count) as race:
            figure, floor = race.run(scale)
        rows += _rows(count, figure, floor)
    stage.remove_containers()
    return rows


@contextmanager
def _racing(stage: Stage, folder: Path, count: int) -> Iterator["_Race"]:
    """Run the daemon and the bare chain beside each other."""
    with ExitStack() as stack:
        daemon = stack.enter_context(running_daemon(folder, stage.address))
        wait_until(lambda: daemon.plans() == count, f"{count} plans")
        target = folder / "bare" / "target"
        target.parent.mkdir()
        bare = (stage.address, _BARE_LABEL, str(daemon.config), str(target))
        log = folder / "bare.log"
        stack.enter_context(running("-m", "benchmarks.daemon.bare", *bare, log=log))
        seen = stack.enter_context(WriteWatcher(daemon.config))
        seen_bare = stack.enter_context(WriteWatcher(target))
        time.sleep(_OPENING_SECONDS)
        yield _Race(stage, daemon, seen, seen_bare, count)


class _Race:
    """Creates containers in turns, one for the daemon and one for the bare chain."""

    def __init__(
        self, stage: Stage, daemon: Daemon, seen: WriteWatcher, seen_bare: WriteWatcher, count: int
    ) -> None:
        self._stage = stage
        self._daemon = daemon
        self._seen, self._seen_bare = seen, seen_bare
        self._kind = f"of{count}n"
        self._talk = DockerHttp(stage.address)
        self._made: list[str] = []

    def run(self, scale: Scale) -> tuple[_Taken, _Taken]:
        """Return the daemon's times and those of the bare chain."""
        figure, floor = _Taken(), _Taken()
        for number in range(scale.samples):
            spec = sample_spec(self._kind, number)
            bare = _bare_spec(spec)
            self._stage.create_volumes([spec])
            time.sleep(scale.pause / 2)
            self._take(bare, bare.name.encode(), self._seen_bare, floor)
            time.sleep(scale.pause / 2)
            plan = f"{self._kind}{number:04d}stack".encode()
            self._take(spec, plan, self._seen, figure)
        self._talk.close()
        self._stage.remove(self._made)
        return figure, floor

    def _take(self, spec: Spec, text: bytes, seen: WriteWatcher, taken: _Taken) -> None:
        seen.want(text)
        sent = time.perf_counter()
        made = self._stage.create_one(self._talk, spec)
        returned = time.perf_counter()
        self._made.append(made)
        there = seen.wait(_WAIT_SECONDS)
        taken.sent.append(there - sent)
        taken.returned.append(there - returned)


def _bare_spec(spec: Spec) -> Spec:
    """The same container for the bare chain: as many labels, none of them the daemon's."""
    labels = {key.replace("backrest.", "bare."): value for key, value in spec.labels.items()}
    return replace(spec, name=f"{spec.name}-bare", labels=labels)


def _rows(count: int, figure: _Taken, floor: _Taken) -> list[Row]:
    return [
        _row(SENT, count, figure.sent, floor.sent),
        _row(RETURNED, count, figure.returned, floor.returned),
    ]


def _row(what: str, count: int, figure: list[float], floor: list[float]) -> Row:
    taken, bare = (statistics.median(times) * 1000 for times in (figure, floor))
    ratio = taken / bare
    return Row(
        what,
        count,
        f"{taken:.1f} ms",
        f"{bare:.1f} ms (bare chain)",
        ratio,
        f"≤ {GOAL_RATIO:.0f} and ≤ {GOAL_MILLISECONDS:.0f} ms",
        ratio <= GOAL_RATIO and taken <= GOAL_MILLISECONDS,
    )
