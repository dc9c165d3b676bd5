"""A day beside Backrest: plans move to and fro at any moment, and each fire is answered once.

The companion is the real loop over a real journal, Backrest a stand-in that runs what its document
said when it loaded that. What moves plans goes by the sidecar's order: a plan is added there, and
removed here once it is certain that nobody runs it by this document any more. What goes to
`runner.json` is disabled in `config.json` until then. Backrest is only told when it is idle, and
nothing is due there for two minutes. Time is the story's.
"""

import json
from bisect import bisect_right
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.backrest.operations import Status
from sidecar.reconciler.apply.idle import MARGIN
from sidecar.runner.union import DocumentChoice
from sidecar.schedule.fires import DstPolicy, cron_fires
from tests.fakes.fake_backrest import FakeBackrest, Json
from tests.fakes.stepped_runner import SteppedRunner

# A day is a thousand passes.
pytestmark = pytest.mark.timeout(600)

START = datetime(2026, 3, 4, tzinfo=UTC).timestamp()
DAY = 86_400
CRONS = {"web": "*/20 * * * *", "db": "7 */2 * * *", "mail": "0 * * * *"}
BACKREST_SECONDS, COMPANION_SECONDS = 40.0, 150.0
"""How long their runs take: long enough for others to wait."""
LOOK_SECONDS = 10.0
"""How often what moves plans looks whether it can go on."""


class StandIn(FakeBackrest):
    """A Backrest without its API: it is told to load, and notes which fires it has answered."""

    def __init__(self, config: Path, story: "Story") -> None:
        super().__init__(config, now=lambda: story.now)
        self._story = story
        self.ends_at = 0.0

    def load(self) -> None:
        """Load the document, as at a start or by the API."""
        with self._changed:
            self._cached = json.loads(self.config.read_bytes())
            self._fill_queue()

    def next_event(self) -> float:
        """Tell when something happens here, in unix seconds."""
        if self.in_progress():
            return self.ends_at
        return min(self._due_at(), default=START + 2 * DAY)

    def is_idle(self) -> bool:
        """Return whether nothing runs, nor is due soon."""
        return not self.in_progress() and min(self._due_at(), default=START + 2 * DAY) > (
            self._story.now + MARGIN
        )

    def tick(self) -> None:
        """End what has ended, and begin what is due."""
        running = self.in_progress()
        if running and self._story.now >= self.ends_at:
            self.finish(running[0], Status.SUCCESS)
        elif not running:
            self.begin_due()

    def _due_at(self) -> list[float]:
        return [int(entry.json["unixTimeStartMs"]) / 1000 for entry in self._waiting()]

    def _run(self, entry: Any) -> None:
        plan, fire = entry.json["planId"], int(entry.json["unixTimeStartMs"]) / 1000
        self._story.answered[plan, fire] += 1
        self.ends_at = self._story.now + BACKREST_SECONDS
        super()._run(entry)


class Story:
    """The day: both programs, their documents, and how often each fire was answered."""

    def __init__(self, folder: Path, of_runner: set[str]) -> None:
        self.folder, self.now = folder, START
        self.answered: Counter[tuple[str, float]] = Counter()
        self.fires = {
            plan: list(
                takewhile(
                    lambda fire: fire < START + DAY,
                    cron_fires(cron, UTC, START, DstPolicy.OURS),
                )
            )
            for plan, cron in CRONS.items()
        }
        self.here = {plan: True for plan in CRONS if plan not in of_runner}
        """The plans of `config.json`: whether each is enabled."""
        self.there = of_runner
        self.wanted: dict[str, bool] = {}
        """The plans that move: whether to `runner.json`."""
        self.awaited: set[str] = set()
        """Those that Backrest has to let go of, and has."""
        self._write()
        self.backrest = StandIn(folder / "config.json", self)
        self.backrest.load()
        self.runner = SteppedRunner(folder, DocumentChoice.RUNNER, lambda: self.now)
        self.running: tuple[int, float] | None = None
        self._queued: set[Any] = set()
        self._wake = START
        self._look = START

    def _write(self) -> None:
        self._write_one("config.json", "store", self.here)
        self._write_one("runner.json", "disk", dict.fromkeys(self.there, True))

    def _write_one(self, name: str, repo: str, plans: dict[str, bool]) -> None:
        document: Json = {"modno": 1, "version": 6, "instance": "here"}
        document["repos"] = [{"id": repo, "uri": f"/{repo}", "password": "x"}]
        document["repos"][0]["autoInitialize"] = True
        document["plans"] = [
            {
                "id": plan,
                "repo": repo,
                "paths": ["/data"],
                "schedule": {"cron": CRONS[plan]} if is_enabled else {"disabled": True},
            }
            for plan, is_enabled in sorted(plans.items())
        ]
        part = self.folder / "part"
        part.write_text(json.dumps(document))
        part.replace(self.folder / name)
        self._wake = self.now

    def next_event(self) -> float:
        """Tell when the next thing happens."""
        found = [self._wake, self.backrest.next_event()]
        found += [self.running[1]] if self.running is not None else []
        found += [self._look] if self.wanted or self.awaited else []
        return max(self.now, min(found))

    def act(self, order: tuple[str, ...]) -> None:
        """Let each of them do what it has to do by now."""
        for name in order:
            getattr(self, f"_act_{name}")()

    def _act_backrest(self) -> None:
        if self.backrest.next_event() <= self.now:
            self.backrest.tick()

    def _act_companion(self) -> None:
        runner = self.runner
        if self.running is not None and self.running[1] <= self.now:
            runner.end(self.running[0])
            self.running, self._wake = None, self.now
        if self._wake <= self.now:
            self._wake = self.now + max(0.5, runner.poll())
            for job in runner.waiting:
                if job not in self._queued:
                    fires = self.fires[job.subject]
                    fire = fires[bisect_right(fires, self.now) - 1]
                    self.answered[job.subject, fire] += 1
            self._queued = set(runner.waiting)
        if self.running is None and runner.waiting:
            number = runner.begin(runner.waiting[0])
            self._queued = set(runner.waiting)
            self.running = number, self.now + COMPANION_SECONDS

    def _act_mover(self) -> None:
        if self._look > self.now:
            return
        self._look = self.now + LOOK_SECONDS
        if self.awaited:
            # Backrest has loaded what was written: the old copies go.
            for plan in self.awaited:
                if self.wanted.pop(plan):
                    del self.here[plan]
                else:
                    self.there.discard(plan)
            self.awaited = set()
            self._write()
        for plan, to_runner in list(self.wanted.items()):
            if (plan in self.there) is to_runner and (plan in self.here) is not to_runner:
                del self.wanted[plan]
            elif to_runner and self.here[plan]:
                # Written at once: Backrest still runs it by what it has loaded.
                self.there.add(plan)
                self.here[plan] = False
                self._write()
        if self.wanted and self.backrest.is_idle():
            arriving = [plan for plan, to_runner in self.wanted.items() if not to_runner]
            if arriving:
                self.here |= dict.fromkeys(arriving, True)
                self._write()
            self.backrest.load()
            self.awaited = set(self.wanted)

    def move(self, plan: str) -> None:
        """Let a plan move to where it is not, unless it is on its way."""
        if plan not in self.wanted:
            self.wanted[plan] = plan not in self.there
            self._look = self.now


ORDERS = st.permutations(("backrest", "companion", "mover")).map(tuple)
MOMENTS = st.one_of(
    st.integers(0, DAY - 1),
    # Around the times at which something is due.
    st.builds(
        lambda slot, off: max(0, slot * 1200 + off), st.integers(0, 71), st.integers(-130, 60)
    ),
)
MOVES = st.lists(st.tuples(MOMENTS, st.sampled_from(sorted(CRONS))), max_size=24)


@settings(max_examples=25)
@given(of_runner=st.sets(st.sampled_from(sorted(CRONS))), moves=MOVES, order=ORDERS)
def test_each_fire_of_a_day_is_answered_once(
    of_runner: set[str], moves: list[tuple[int, str]], order: tuple[str, ...]
) -> None:
    """By Backrest or by the companion, whichever has the plan by then; none is missed."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        story = Story(Path(folder), of_runner)
        stack.callback(story.runner.close)
        waiting = sorted(moves)
        while (at := story.next_event()) < START + DAY:
            story.now = min(at, START + waiting[0][0]) if waiting else at
            while waiting and START + waiting[0][0] <= story.now:
                story.move(waiting.pop(0)[1])
            story.act(order)
    expected = {(plan, fire): 1 for plan, fires in story.fires.items() for fire in fires}
    assert expected == story.answered
    assert [] == story.runner.missed
    assert [] == story.backrest.hurt
