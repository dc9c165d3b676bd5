"""Many containers at once: how often the document is written, and the runner bothered."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon.docker_http import DockerHttp, render_filters
from benchmarks.daemon.process import Daemon, Memory, running_daemon, wait_until
from benchmarks.daemon.scale import Scale
from benchmarks.daemon.stage import MARK, Spec, Stage, plain_specs
from benchmarks.daemon.write_watcher import WriteWatcher
from benchmarks.reconcile.stack import document
from benchmarks.table import Row
from tests.fakes.fake_backrest import FakeBackrest

GOAL_APPLIES, GOAL_MEGABYTES = 1, 110
GOAL_WRITES, GOAL_WRITES_A_SECOND, GOAL_DELAY = 2, 2, 1.0
WRITES = "storm of creations: writes of the document"
RESTARTS = "same storm: restarts of the runner (--apply-via restart)"
DELAY = "same storm: last create returned → all plans in the file"
GROWN = "same storm: memory of the daemon half a minute after it"
GONE = "all removed at once: writes of the document"
SAVES = "storm with --apply-via api: saves by Backrest (SetConfig)"
_LONG = 900.0


@dataclass(frozen=True, slots=True)
class _Storm:
    """What one storm came to: `seconds` it took to make, `after` until everything was told."""

    seconds: float
    after: float
    writes: int
    passes: int
    applies: int
    memory: Memory


def storm_rows(stage: Stage, folder: Path, scale: Scale) -> list[Row]:
    """Raise two storms, one for each way to tell the runner, and remove one at once."""
    specs = plain_specs("storm", scale.storm)
    stage.create_volumes(specs)
    made, gone = _by_restart(stage, folder / "restart", specs, scale)
    saved = _by_api(stage, folder / "api", specs, scale)
    count = scale.storm
    pace = f"made in {made.seconds:.0f} s"
    most = GOAL_WRITES + int(GOAL_WRITES_A_SECOND * (made.seconds + made.after))
    return [
        _count_row(WRITES, count, made.writes, f"{made.passes} passes; {pace}", most),
        Row(
            DELAY,
            count,
            f"{made.after:.1f} s",
            "",
            None,
            f"≤ {GOAL_DELAY:g} s",
            made.after <= GOAL_DELAY,
        ),
        _count_row(RESTARTS, count, made.applies, "", GOAL_APPLIES),
        _memory_row(count, made.memory),
        Row(GONE, count, f"{gone.writes} writes", f"{gone.passes} passes; in {gone.seconds:.0f} s"),
        _count_row(
            SAVES,
            count,
            saved.applies,
            f"{saved.passes} passes; made in {saved.seconds:.0f} s",
            GOAL_APPLIES,
        ),
    ]


def _by_restart(
    stage: Stage, folder: Path, specs: list[Spec], scale: Scale
) -> tuple[_Storm, _Storm]:
    """A storm that the daemon writes itself, after which it restarts a runner; and its end."""
    with _runner(stage) as (name, restarts):
        flags = ("--apply", "--apply-via", "restart", "--backrest-container", name)
        settle = ("--apply-settle", scale.apply_settle)
        with (
            running_daemon(folder, stage.address, *flags, *settle, has_pages=True) as daemon,
            WriteWatcher(daemon.config) as writes,
        ):
            # The runner has not read the document that was just made for it.
            watch = _Watch(daemon, writes, restarts)
            watch.settle(scale.calm_seconds)
            watch.begin()
            created = stage.create(specs)
            watch.made()
            wait_until(lambda: daemon.plans() == len(specs), "all plans", _LONG)
            watch.told()
            wait_until(lambda: watch.applies() > 0, "a restart", _LONG)
            watch.settle(2 * scale.calm_seconds)
            made = watch.end()
            watch.begin()
            stage.remove(created)
            watch.made()
            watch.settle(2 * scale.calm_seconds)
            return made, watch.end()


def _by_api(stage: Stage, folder: Path, specs: list[Spec], scale: Scale) -> _Storm:
    """A storm that Backrest writes, because its API is there."""
    folder.mkdir()
    config = folder / "config.json"
    config.write_text(document())
    with FakeBackrest(config) as backrest:
        flags = ("--apply", "--apply-via", "api", "--backrest-url", backrest.url)
        settle = ("--apply-settle", scale.apply_settle)
        with (
            running_daemon(
                folder, stage.address, *flags, *settle, has_pages=True, is_new=False
            ) as daemon,
            WriteWatcher(config) as writes,
        ):
            watch = _Watch(daemon, writes, lambda: backrest.asked.count("SetConfig"))
            watch.settle(scale.calm_seconds)
            watch.begin()
            stage.create(specs)
            watch.made()
            wait_until(lambda: daemon.plans() == len(specs), "all plans", _LONG)
            watch.told()
            watch.settle(2 * scale.calm_seconds)
            made = watch.end()
    stage.remove_containers()
    return made


class _Watch:
    """Counts between `begin` and `end`."""

    def __init__(self, daemon: Daemon, writes: WriteWatcher, applies: Callable[[], int]) -> None:
        self._daemon = daemon
        self._sight = writes
        self._applies = applies
        self._began = self._made_at = self._told_at = 0.0
        self._counts = (0, 0, 0)

    def begin(self) -> None:
        """Count from now on."""
        self._counts = self._now()
        self._began = self._made_at = self._told_at = time.monotonic()

    def made(self) -> None:
        """The last call has returned."""
        self._made_at = self._told_at = time.monotonic()

    def told(self) -> None:
        """The document says everything."""
        self._told_at = time.monotonic()

    def applies(self) -> int:
        """Count the applies since the beginning."""
        return self._applies() - self._counts[2]

    def settle(self, seconds: float) -> None:
        """Wait until nothing was counted for so long."""
        last, since = self._now(), time.monotonic()
        while time.monotonic() - since < seconds:
            time.sleep(0.5)
            if (now := self._now()) != last:
                last, since = now, time.monotonic()

    def end(self) -> _Storm:
        """Tell what there was since the beginning."""
        now = self._now()
        writes, passes, applies = (n - was for n, was in zip(now, self._counts, strict=True))
        seconds, after = self._made_at - self._began, self._told_at - self._made_at
        return _Storm(seconds, after, writes, passes, applies, self._daemon.memory())

    def _now(self) -> tuple[int, int, int]:
        return self._sight.writes, self._daemon.passes(), self._applies()


@contextmanager
def _runner(stage: Stage) -> Iterator[tuple[str, Callable[[], int]]]:
    """Run a container that stands for Backrest's; give its name, and how often it restarted."""
    name = f"{MARK}-runner"
    (runner,) = stage.create([Spec(name, {}, ("/:/host:ro",))])
    stage.start([runner])
    counted: list[bytes] = []

    def count() -> None:
        wanted = render_filters(container=[runner], event=["restart", "destroy"])
        for line in DockerHttp(stage.address, timeout=86_400).lines(f"/events?{wanted}"):
            if b'"destroy"' in line:
                return
            counted.append(line)

    thread = threading.Thread(target=count, name="restarts")
    thread.start()
    try:
        yield name, lambda: len(counted)
    finally:
        stage.remove_containers()
        thread.join()


def _memory_row(count: int, taken: Memory) -> Row:
    goal, is_met = f"< {GOAL_MEGABYTES} MB", taken.resident < GOAL_MEGABYTES * 1e6
    return Row(GROWN, count, str(taken), "", None, goal, is_met)


def _count_row(what: str, count: int, figure: int, floor: str, goal: int) -> Row:
    return Row(
        what,
        count,
        f"{figure} {'time' if figure == 1 else 'times'}",
        floor,
        None,
        f"≤ {goal}",
        0 < figure <= goal,
    )
