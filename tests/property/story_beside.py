"""A day beside Backrest: the sidecar, its companion and Backrest over two documents on disk.

All of the sidecar and of the companion is real but for their threads; Docker and Backrest are
stand-ins, and time is the story's. Each of the three can be killed at any moment, and starts again.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC
from itertools import takewhile
from pathlib import Path
from typing import Any

from sidecar.reconciler.settings import ApplyVia
from sidecar.schedule.fires import DstPolicy, cron_fires
from tests.property.story_companion import Companion, CompanionRun, journalled
from tests.property.story_host import START, Host, plan_id_of
from tests.property.story_ours import Fate, Killed, Ours, under

CRONS = {"web": "*/20 * * * *", "db": "7 */2 * * *", "mail": "0 * * * *"}
BACKREST, RUNNER = "r", "disk"
"""The repositories: that of config.json, and that of runner.json."""
WARM_UP = 600.0
"""Seconds until all programs know all plans."""
RUN_SECONDS = 150.0
"""How long a run of the companion takes: long enough for others to wait."""
_MOST_ACTS = 400_000


class Beside:
    """The day: all three programs, their documents, and who has run what.

    Attributes:
        runs: what the companion has begun.
        answered: how often Backrest has begun to run a plan for a fire.
        dropped: the fires that a killed Backrest had in its queue, which nobody gives back to it.
        gaps: since when and until when a plan stood in config.json alone, and Backrest had not
            loaded it, by plan.
    """

    def __init__(self, folder: Path, via: ApplyVia, of_runner: frozenset[str]) -> None:
        self.folder, self.via = folder, via
        self.runs: list[CompanionRun] = []
        self.answered: Counter[tuple[str, float]] = Counter()
        self.dropped: set[tuple[str, float]] = set()
        self.gaps: dict[str, list[tuple[float, float]]] = {}
        self.fate, self.fate_of_companion = Fate(), Fate()
        self._open: dict[str, float] = {}
        self._seen: tuple[object, ...] = ()
        self._places = {name: RUNNER if name in of_runner else BACKREST for name in CRONS}
        self._ends = ExitStack()
        self._ends.enter_context(journalled(self.fate_of_companion))
        self.host = Host(folder)
        self._ends.callback(self.host.close)
        self.clock = self.host.clock
        self._write_runner()
        self.host.backrest.on_run = self._count
        self.ours: Ours | None = None
        self.companion: Companion | None = None
        self._wake = 0.0
        for name in CRONS:
            self._put(name)
        self._ends.callback(self._drop_all)

    def close(self) -> None:
        """End everything."""
        self._ends.close()

    def _drop_all(self) -> None:
        for one in (self.ours, self.companion):
            if one is not None:
                one.close()

    def _write_runner(self) -> None:
        document: dict[str, Any] = {"modno": 1, "version": 6, "instance": "here", "plans": []}
        document["repos"] = [{"id": RUNNER, "uri": "rsync:/disk", "guid": "c" * 64}]
        self.runner_json.write_text(json.dumps(document))
        self.runner_json.chmod(0o600)

    @property
    def runner_json(self) -> Path:
        """The runner's document."""
        return self.folder / "runner.json"

    def _count(self, plan: str, fire: float) -> None:
        self.answered[plan, fire] += 1

    # What people do.

    def _put(self, name: str) -> None:
        labels = {"enable": "true", "repo": self._places[name], "schedule": CRONS[name]}
        self.host.put(name, {f"backrest.{key}": value for key, value in labels.items()})

    def move(self, name: str) -> None:
        """Let the labels of a container say the other repository."""
        self._places[name] = RUNNER if self._places[name] == BACKREST else BACKREST
        self._put(name)

    def kill_backrest(self) -> None:
        """Kill Backrest, and start it again at once: its queue is lost."""
        now = self.clock.wall
        self.dropped |= {(plan, due) for plan, due in self.host.backrest.waiting() if due <= now}
        self.host.stop_backrest()
        self.host.start_backrest()

    def kill_companion(self) -> None:
        """Kill the companion; it starts again at once."""
        self.fate_of_companion.is_dead = True

    def kill_sidecar(self) -> None:
        """Kill the sidecar, unless it is in the middle of something; it starts again at once."""
        if self.ours is not None:
            self.ours.close()
            self.ours = None

    def calm_down(self) -> None:
        """Let nothing more happen to anybody."""
        self.fate.withdraw()
        self.fate_of_companion.withdraw()
        self.host.backrest.dies = ""

    def places(self, name: str) -> list[str]:
        """Name the documents in which the plan of a container stands."""
        plan, files = plan_id_of(name), (self.host.config, self.runner_json)
        found = {file.name: json.loads(file.read_bytes()).get("plans", []) for file in files}
        return [file for file, plans in found.items() if plan in (one["id"] for one in plans)]

    # Time.

    def advance_to(self, end: float) -> None:
        """Let time pass until `end`, in unix seconds, and everybody do what they have to do."""
        self._advance(end, is_nested=False)

    def _advance(self, end: float, *, is_nested: bool) -> None:
        for _ in range(_MOST_ACTS):
            self._see()
            if self._act(is_nested=is_nested):
                continue
            now = self.clock.wall
            if now >= end:
                return
            assert self.ours is not None
            due = now + self.ours.next_due() - self.clock.monotonic
            at = min(end, due, self._wake, self.host.next_event())
            self.clock.pass_by(max(at - now, 0.001))
        raise AssertionError("there is no end of what is due")

    def _act(self, *, is_nested: bool) -> bool:
        """Let somebody do something; return whether anybody had anything to do."""
        if self.host.backrest.has_died:
            self.kill_backrest()
        if self.host.next_event() <= self.clock.wall:
            self.host.tick()
            return True
        if self.ours is None or self.ours.next_due() <= self.clock.monotonic:
            self._act_sidecar()
            return True
        if self.fate_of_companion.is_dead:
            if is_nested:
                raise Killed
            self._drop_companion()
        return self._act_companion(is_nested=is_nested)

    def _act_sidecar(self) -> None:
        with under(self.fate):
            try:
                if self.ours is None:
                    self.ours = Ours(self.host, self.via, self.fate)
                else:
                    self.ours.act()
            except Killed:
                self.fate.is_dead = False
                self.kill_sidecar()
        self.host.stamp()

    def _act_companion(self, *, is_nested: bool) -> bool:
        fate, now = self.fate_of_companion, self.clock.wall
        try:
            if self.companion is None:
                self.companion = Companion(
                    self.host.config, fate, lambda: self.clock.wall, self._meanwhile, self.runs
                )
                self._wake = now
            elif self._wake <= now:
                self._wake = self.companion.poll()
            elif is_nested or not self.companion.work():
                return False
            else:
                # Whatever ends wakes the loop.
                self._wake = self.clock.wall
        except Killed:
            if is_nested:
                raise
            self._drop_companion()
        return True

    def _drop_companion(self) -> None:
        if self.companion is not None:
            self.companion.close()
        self.fate_of_companion.is_dead, self.companion = False, None

    def _meanwhile(self) -> None:
        self._advance(self.clock.wall + RUN_SECONDS, is_nested=True)

    def _see(self) -> None:
        """See who has which plan now; whoever watches the documents is woken by a change."""
        backrest = self.host.backrest
        seen = (_stamp(self.host.config), _stamp(self.runner_json), id(backrest._applied))
        if seen == self._seen:
            return
        if seen[:2] != self._seen[:2]:
            self._wake = self.clock.wall
        self._seen = seen
        file, loaded = _scheduled(json.loads(self.host.config.read_bytes())), backrest._applied
        lacking = file - _scheduled(loaded)
        for plan in lacking - self._open.keys():
            self._open[plan] = self.clock.wall
        for plan in self._open.keys() - lacking:
            self.gaps.setdefault(plan, []).append((self._open.pop(plan), self.clock.wall))

    # What came of it.

    def fires(self, end: float) -> Iterator[tuple[str, float]]:
        """Yield the fires of all plans from the end of the warm-up on, up to `end`."""
        for name, cron in CRONS.items():
            found = cron_fires(cron, UTC, START + WARM_UP, DstPolicy.OURS)
            for fire in takewhile(lambda one: one < end, found):
                yield plan_id_of(name), fire

    def times_run(self, plan: str, fire: float) -> int:
        """Return how often a plan was run for a fire; runs that were killed do not count."""
        good = sum(run.is_good for run in self.runs if (run.plan, run.fire) == (plan, fire))
        return good + self.answered[plan, fire]

    def is_told(self, plan: str, fire: float) -> bool:
        """Return whether the companion has told a fire as missed, or its run as killed."""
        assert self.companion is not None
        if any((run.plan, run.fire) == (plan, fire) for run in self.runs):
            return True
        return any(first <= fire <= last for first, last in self.companion.missed(plan))

    def is_in_gap(self, plan: str, fire: float) -> bool:
        """Return whether a plan stood in config.json by then, and Backrest had not loaded it."""
        since = self._open.get(plan)
        gaps = [*self.gaps.get(plan, ()), *([(since, self.clock.wall)] if since else [])]
        return any(since <= fire <= until for since, until in gaps)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _scheduled(document: dict[str, Any]) -> set[str]:
    plans = document.get("plans", [])
    return {plan["id"] for plan in plans if not plan.get("schedule", {}).get("disabled")}
