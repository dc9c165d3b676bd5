"""Jobs without a daemon: in their order, and once more where START hooks ask for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.backrest.reading import Config, Repo, RunPlan
from sidecar.engines.base import Progress
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Job, JobKind
from sidecar.runner.execution import Execution
from sidecar.runner.foreground import Foreground
from sidecar.runner.job.progress import RunFinished
from sidecar.runner.job.steps import RunConditions
from sidecar.runner.journal import Ended, Run, RunCause, RunHistory, RunOutcome
from sidecar.runner.union import only_config

WEB, DB = (Job(JobKind.BACKUP, name, "nas") for name in ("web", "db"))
CONFIG = Config("here", (Repo("nas"),), (RunPlan("web", "nas"), RunPlan("db", "nas")))


@dataclass
class World:
    """What runs jobs, each with the next of its ends; whoever waits lets the time pass."""

    folder: Path
    again: dict[Job, list[float | None]]
    now: float = 1000.0
    is_stopped: bool = False
    stops_after: int = 99
    ran: list[tuple[str, RunCause]] = field(default_factory=list)
    given_up: list[Job] = field(default_factory=list)
    shown: list[tuple[str, str]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def run(
        self,
        job: Job,
        _: Config,
        trigger: RunCause,
        report: Callable[[Progress], None],
        conditions: RunConditions,
    ) -> Run:
        """End as the test says."""
        del report, conditions
        self.ran.append((job.subject, trigger))
        again = self.again[job].pop(0)
        outcome = RunOutcome.SUCCESS if again is None else RunOutcome.FAILED
        return Run(1, job, trigger, self.now, ended=Ended(outcome, self.now), again=again)

    def wait(self, seconds: float) -> bool:
        """Let the time pass, or be asked to end."""
        self.waits.append(seconds)
        self.now += seconds
        self.is_stopped = len(self.waits) > self.stops_after
        return not self.is_stopped

    def give_up(self, job: Job, _: float) -> None:
        """Keep what is not wanted any more."""
        self.given_up.append(job)

    def show(self, job: Job, end: RunFinished) -> None:
        """Keep what is shown."""
        ended = None if end.run is None else end.run.ended
        self.shown.append((job.subject, end.reason if ended is None else ended.outcome.value))

    def go(self) -> None:
        """Run both plans."""
        nothing: Any = SimpleNamespace(
            refusal=lambda *_, **__: None,
            note=lambda *_: None,
            refill=lambda *_: (None, None),
            began=lambda *_: None,
            dropped=lambda *_: None,
            history=RunHistory,
            give_up=self.give_up,
        )
        journal: Any = SimpleNamespace(past=nothing, path=self.folder / "journal.db")
        execution = Execution(ExecutedDocument(only_config(CONFIG)), nothing, journal, nothing)
        waiter: Any = self
        stages: Any = SimpleNamespace(
            gate=nothing, emptiness=nothing, session=self, stop=lambda: None
        )
        foreground = Foreground(execution, stages, waiter, lambda: self.now)
        for job, event in foreground.run([WEB, DB]):
            assert isinstance(event, RunFinished)
            self.show(job, event)


def test_a_job_that_is_tried_again_lets_the_others_go_first(tmp_path: Path) -> None:
    """Its end is shown when it has come at last."""
    world = World(tmp_path, {WEB: [1060.0, 1120.0, None], DB: [None]})
    world.go()
    assert [
        ("web", RunCause.MANUAL),
        ("db", RunCause.MANUAL),
        ("web", RunCause.RETRY),
        ("web", RunCause.RETRY),
    ] == world.ran
    assert [("db", "success"), ("web", "success")] == world.shown
    assert [60.0, 60.0] == world.waits


@pytest.mark.parametrize("stops_after", [0, 1])
def test_whoever_ends_it_wants_no_further_try(tmp_path: Path, stops_after: int) -> None:
    """Neither now nor by a daemon that comes later."""
    world = World(tmp_path, {WEB: [1060.0, 1120.0], DB: [None]}, stops_after=stops_after)
    world.go()
    assert [("db", "success"), ("web", "it was not begun: somebody asked to end")] == world.shown
    assert [WEB] == world.given_up
