"""The companion of the story beside Backrest: a real runner of `runner.json`, without its threads.

A run takes its time in the middle of its engine: everybody else acts meanwhile. Each change of
the journal passes a point at which the process may be killed: from then on nothing of it has an
effect any more.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from sidecar.backrest.reading import Config
from sidecar.runner.due import LONGEST_SLEEP, Job, JobKind
from sidecar.runner.job.events import HookOutcome
from sidecar.runner.job.progress import ProgressHub
from sidecar.runner.job.report import EndedRuns
from sidecar.runner.job.session import Session, SessionOptions
from sidecar.runner.job.steps import Programs, RunConditions
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.journal import Run, RunCause
from sidecar.runner.journal.database import Database
from sidecar.runner.loader import Loader
from sidecar.runner.loop import LoopDependencies, RunnerLoop
from sidecar.runner.maintenance import DiskUsage, Maintenance
from sidecar.runner.parts import assemble
from sidecar.runner.pool import Pool
from sidecar.runner.report import RunnerReport, StatusSources
from sidecar.runner.settings import RunnerSettings
from sidecar.runner.union import DocumentChoice
from sidecar.service.heartbeat import Heartbeat
from tests.fakes.made_engines import MadeEngines
from tests.fakes.scripted_docker import MADE, ScriptedEngine
from tests.property.story_ours import Fate, Killed


@dataclass
class CompanionRun:
    """A run that has begun for the fire of a plan; `is_good` once it has saved something."""

    plan: str
    fire: float
    is_good: bool = False


class Companion:
    """One process, from its start to its end; `now` gives unix seconds.

    `meanwhile` is called while an engine works. What it has begun goes to `runs`. Raises Killed
    wherever its fate says so.
    """

    def __init__(
        self,
        config: Path,
        fate: Fate,
        now: Callable[[], float],
        meanwhile: Callable[[], None],
        runs: list[CompanionRun],
    ) -> None:
        self._now, self._meanwhile, self._runs = now, meanwhile, runs
        self._ends = ExitStack()
        self.is_at_work = False
        environ = {"PATH": "/nowhere", "TZ": "UTC", "DOCKER_HOST": f"unix://{config}.none"}
        settings = RunnerSettings(config, documents=DocumentChoice.RUNNER)
        try:
            self._start(settings, environ)
        except Killed:
            self.close()
            raise
        self._fate = fate

    def _start(self, settings: RunnerSettings, environ: dict[str, str]) -> None:
        parts = self._ends.enter_context(assemble(settings, environ))
        execution = self._execution = parts.execution
        rules = parts.stages.session._options.retries
        programs = Programs(MadeEngines(lambda _: self._engine()), _SILENT)
        options = SessionOptions(retries=rules, now=self._now)
        self._session = Session(execution.journal, programs, programs, EndedRuns(), options)
        loader = Loader(settings.files, environ)
        if (documents := loader.refresh().documents) is not None:
            execution.document.take(documents)
        self._session.recover_runs(execution.document.config)
        loader = Loader(settings.files, environ)
        nothing: Any = SimpleNamespace(
            refusal=lambda _, **__: None,
            note=lambda *_: None,
            refill=lambda *_: (None, None),
            remember=lambda *_, **__: None,
            run=self._run,
            wake=lambda: None,
        )
        stages = replace(parts.stages, session=nothing, gate=nothing, emptiness=nothing)
        hub = ProgressHub()
        self._jobs = JobRunner(execution, stages, hub, self._now)
        self._pool = Pool(self._jobs, 1, parts.rules)
        sources = StatusSources(
            execution,
            loader,
            self._pool,
            hub,
            parts.probing.prober,
            Maintenance(parts.leftovers, nothing),
            DiskUsage(settings.state_directory, execution.document, nothing),
            parts.delivery,
        )
        status = RunnerReport(sources, settings.health_grace, self._now, self._now)
        beat = Heartbeat(settings.state_directory, LONGEST_SLEEP)
        of_loop = LoopDependencies(settings, execution, loader, self._pool, status, beat)
        self._loop = RunnerLoop(of_loop, self._now)

    def close(self) -> None:
        """Drop everything."""
        with suppress(Killed):
            self._ends.close()

    def poll(self) -> float:
        """Look once at what is due; return when to look again, in unix seconds."""
        return self._now() + max(0.5, self._loop.poll())

    def missed(self, plan: str) -> list[tuple[float, float]]:
        """Return the fires of a plan that were told as missed: the first and the last of each."""
        found = self._execution.journal.past.missed_fires(plan, 1000)
        return [(one.first, one.last) for one in found]

    def work(self) -> bool:
        """Run the next job of the queue, if there is one; return whether there was."""
        if self.is_at_work or (job := self._pool._choose()) is None:
            return False
        taken = self._pool._waiting.pop(job)
        held = self._pool._rules
        self._pool._running[job] = (held.lock_keys(job), held.containers(job))
        self.is_at_work = True
        try:
            self._jobs.run(job, *taken)
            self._jobs.finish(job)
        finally:
            self.is_at_work = False
            del self._pool._running[job]
        return True

    def _run(
        self, job: Job, config: Config, trigger: RunCause, report: Any, conditions: RunConditions
    ) -> Run:
        assert job.kind is JobKind.BACKUP
        assert conditions.answers is not None
        begun = CompanionRun(job.subject, conditions.answers.fire)
        self._runs.append(begun)
        run = self._session.run(job, config, trigger, report, conditions)
        begun.is_good = run.ended is not None and run.ended.outcome.is_good
        return run

    def _engine(self) -> ScriptedEngine:
        engine = ScriptedEngine([], {"forget": MADE})
        engine.meanwhile = lambda: self._meanwhile() if engine.calls == ["backup"] else None
        return engine


_SILENT: Any = SimpleNamespace(run=lambda *_, **__: HookOutcome())


@contextmanager
def journalled(fate: Fate) -> Iterator[None]:
    """Let each change of the journal go by its points."""
    change = Database._transact

    @wraps(change)
    def call(database: Database, what: Callable[..., Any]) -> Any:
        with fate.around("journal"):
            return change(database, what)

    with patch.object(Database, "_transact", call):
        yield
