"""Fires, failures, ends of the runner, clocks: each fire is answered, tried again, or told."""

import json
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.backrest.reading import Repo
from sidecar.engines.base import FailureClass, failed
from sidecar.lib.errors import SidecarError
from sidecar.runner.due import LONGEST_DELAY, LONGEST_SLEEP, Job, JobKind, Retry
from sidecar.runner.job.events import HookFacts, HookOutcome
from sidecar.runner.job.progress import ProgressHub
from sidecar.runner.job.report import EndedRuns
from sidecar.runner.job.session import Session, SessionOptions
from sidecar.runner.job.steps import Programs, RunConditions
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.journal import Run, RunCause
from sidecar.runner.loader import Loader
from sidecar.runner.loop import LoopDependencies, RunnerLoop
from sidecar.runner.maintenance import DiskUsage, Maintenance
from sidecar.runner.parts import assemble
from sidecar.runner.pool import Pool
from sidecar.runner.report import RunnerReport, StatusSources
from sidecar.runner.settings import RunnerSettings
from sidecar.service.heartbeat import Heartbeat
from tests.fakes.made_engines import MadeEngines
from tests.fakes.scripted_docker import MADE, ScriptedEngine

MINUTE, HOUR = 60.0, 3_600.0
NOON = 1_780_056_000.0
JOBS = tuple(Job(JobKind.BACKUP, name, "nas") for name in ("hourly", "daily"))
ENDS = {
    "saved": MADE,
    "away": failed(FailureClass.NETWORK, "no route"),
    "locked": failed(FailureClass.LOCKED, "locked"),
    "wrong": failed(FailureClass.WRONG_PASSWORD, "wrong"),
    "stop": failed(FailureClass.INTERRUPTED, "ended"),
}

Step = tuple[str, float, float]
steps = st.lists(
    st.tuples(
        st.sampled_from([*ENDS, "die", "away", "away", "stop"]),
        st.sampled_from([0.0, MINUTE, 10 * MINUTE, 50 * MINUTE, 3 * HOUR]),
        st.sampled_from([MINUTE, 5 * MINUTE, 20 * MINUTE, HOUR, 26 * HOUR]),
    ),
    min_size=1,
    max_size=25,
)


@dataclass
class Silent:
    """Hooks that do nothing, and keep whether the last try was told."""

    def run(
        self,
        events: Sequence[str],
        facts: HookFacts,
        stopping: threading.Event,
        *,
        notifies: bool = True,
        ran: Collection[str] = (),
    ) -> HookOutcome:
        """Run nothing."""
        del self, events, facts, stopping, notifies, ran
        return HookOutcome()


@dataclass
class World:
    """A daemon without threads, whose repository does what the story says."""

    folder: Path
    stack: ExitStack
    now: float = NOON
    story: list[Step] = field(default_factory=list)
    answered: list[tuple[Retry | None, Run]] = field(default_factory=list)
    tries: list[tuple[Job, Retry | None]] = field(default_factory=list)
    is_at_work: bool = False
    is_over: bool = False

    def __post_init__(self) -> None:
        repo = {"id": "nas", "uri": "/nowhere", "password": "x", "guid": "a" * 64}
        crons = {"hourly": "10 * * * *", "daily": "0 2 * * *"}
        plans = [
            {"id": name, "repo": "nas", "paths": ["/data"], "schedule": {"cron": cron}}
            for name, cron in crons.items()
        ]
        document = {"modno": 1, "version": 6, "instance": "here", "repos": [repo], "plans": plans}
        self.config.write_text(json.dumps(document))
        environ = {"PATH": "/nowhere", "DOCKER_HOST": f"unix://{self.folder}/none.sock"}
        self.settings = RunnerSettings(self.config)
        self.parts = self.stack.enter_context(assemble(self.settings, environ))
        self.execution = self.parts.execution
        self.start()

    @property
    def config(self) -> Path:
        """The document."""
        return self.folder / "config.json"

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    def start(self) -> None:
        """Start the runner, first or again: what a dead one left is put right."""
        silent = Programs(MadeEngines(self.engine), Silent())
        rules = self.parts.stages.session._options.retries
        options = SessionOptions(retries=rules, now=self.clock)
        self.session = Session(self.execution.journal, silent, silent, EndedRuns(), options)
        nothing: Any = SimpleNamespace(
            refusal=lambda _, **__: None,
            note=lambda *_: None,
            refill=lambda *_: (None, None),
            remember=lambda *_, **__: None,
            run=self.run,
        )
        stages = replace(self.parts.stages, session=nothing, gate=nothing, emptiness=nothing)
        loader = Loader(self.settings.files, {})
        if (documents := loader.refresh().documents) is not None:
            self.execution.document.take(documents)
        for run in self.session.recover_runs(self.execution.document.config):
            known = self.execution.journal.past.history().past[run.job].retry
            self.answered.append((known if run.again else self.of(run), run))
        hub = ProgressHub()
        self.jobs = JobRunner(self.execution, stages, hub, self.clock)
        self.pool = Pool(self.jobs, 1)
        waiter: Any = SimpleNamespace(wake=lambda: None)
        state = self.settings.state_directory
        sources = StatusSources(
            self.execution,
            loader,
            self.pool,
            hub,
            self.parts.probing.prober,
            Maintenance(self.parts.leftovers, waiter),
            DiskUsage(state, self.execution.document, waiter),
            self.parts.delivery,
        )
        status = RunnerReport(sources, self.settings.health_grace, self.clock, self.clock)
        dependencies = LoopDependencies(
            self.settings,
            self.execution,
            loader,
            self.pool,
            status,
            Heartbeat(state, LONGEST_SLEEP),
        )
        self.loop = RunnerLoop(dependencies, self.clock)

    def of(self, run: Run) -> Retry | None:
        """Return the fire that a run was the last to answer."""
        mine = [answers for job, answers in self.tries if job == run.job]
        return mine[-1] if mine else None

    def engine(self, _: Repo) -> ScriptedEngine:
        """Make the engine, which ends as the story goes on."""
        end, seconds, _pause = self.story.pop(0) if self.story else ("saved", MINUTE, MINUTE)
        if end == "stop":
            self.session.stop()
        self.now += seconds
        return ScriptedEngine([], {"backup": ENDS[end], "forget": MADE})

    def run(
        self, job: Job, config: Any, trigger: RunCause, report: Any, conditions: RunConditions
    ) -> Run:
        """Run a job, or die in it."""
        assert not self.is_at_work
        self.is_at_work = True
        self.tries.append((job, conditions.answers))
        try:
            if self.story and self.story[0][0] == "die":
                self.story.pop(0)
                self.is_over = True
                self.execution.journal.runs.begin(job, trigger, self.now, "", conditions.answers)
                raise SidecarError("it died")
            run = self.session.run(job, config, trigger, report, conditions)
        finally:
            self.is_at_work = False
        self.is_over = self.is_over or self.session._options.stopping.is_set()
        self.answered.append((conditions.answers, run))
        return run

    def look(self) -> None:
        """Look once at what is due, and run it all; a runner that ended starts anew."""
        self.loop.poll()
        while not self.is_over and (job := self.pool._choose()) is not None:
            self.jobs.run(job, *self.pool._waiting.pop(job))
        if self.is_over:
            self.is_over = False
            self.now += MINUTE
            self.start()


def unanswered(world: World, job: Job, began: float) -> Iterator[float]:
    """Yield the fires of a job that nobody has answered, told or put off."""
    journal = world.execution.journal
    past = journal.past.history().past[job]
    missed = [(one.first, one.last) for one in journal.past.missed_fires(job.subject, 1000)]
    over = {
        answers.fire
        for answers, run in world.answered
        if answers is not None and run.job == job and run.again is None
    }
    timing = world.execution.document.now.timings[job]
    for fire in world.execution.scheduler.next_fires(timing, began):
        if fire > past.moments.latest:
            return
        is_waiting = past.retry is not None and past.retry.fire == fire
        if fire in over or is_waiting or any(first <= fire <= last for first, last in missed):
            continue
        yield fire


@settings(max_examples=30)
@given(story=steps)
def test_each_fire_is_answered_or_told_and_tried_three_times_at_most(story: list[Step]) -> None:
    """Whatever fails, ends or dies, and however long that takes; one writer at any time."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        world = World(Path(folder), stack, story=list(story))
        for _, _, pause in story:
            world.look()
            world.now += pause
        world.look()
        for job in JOBS:
            assert [] == list(unanswered(world, job, NOON))
        fires = [(job, answers.fire) for job, answers in world.tries if answers is not None]
        assert len(fires) == len(world.tries)
        assert max(map(fires.count, fires), default=0) <= 4


@settings(max_examples=12)
@given(
    story=steps,
    jumps=st.lists(st.sampled_from([-30 * HOUR, -2 * HOUR, -MINUTE, HOUR, 40 * HOUR]), max_size=6),
)
def test_clocks_that_jump_put_nothing_off_for_longer_than_an_hour(
    story: list[Step], jumps: list[float]
) -> None:
    """And when all is well again, each job saves at its next fire, and nothing is left over."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        world = World(Path(folder), stack, story=list(story))
        leaps = list(jumps)
        for _, _, pause in story:
            world.look()
            world.now += pause + (leaps.pop() if leaps else 0.0)
            world.loop.poll()
            for retry in world.execution.journal.past.history().retries.values():
                assert retry.at is not None
                assert retry.at <= world.now + LONGEST_DELAY + MINUTE
        world.story.clear()
        for _ in range(30):
            world.look()
            world.now += HOUR
        history = world.execution.journal.past.history()
        assert {} == history.retries
        for job in JOBS:
            success = history.past[job].last_success
            assert success is not None
            assert success > world.now - 26 * HOUR
