"""The daemon's loop and what its workers do, on a real journal, with a clock of the test's own."""

import json
import logging
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.backrest.reading import Config, Repo, RunHook, RunPlan, Timing
from sidecar.docker.models import Container
from sidecar.engines.base import BackupType, FailureClass, Progress, Stats
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.runner import parts as parts_module
from sidecar.runner.control import ControlApi, find_job
from sidecar.runner.daemon import RunnerDaemon
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import LONGEST_SLEEP, CatchUp, Job, JobKind, Retry, Scheduler
from sidecar.runner.job.progress import ProgressHub, RunFinished
from sidecar.runner.job.report import EndedRuns, RunReporter
from sidecar.runner.job.steps import RunConditions
from sidecar.runner.job.upkeep import Probed
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.journal import AheadSnapshot, Ended, Journal, Run, RunCause, RunOutcome, Stopped
from sidecar.runner.loader import Loader
from sidecar.runner.loop import LoopDependencies, RunnerLoop
from sidecar.runner.maintenance import DiskUsage, Maintenance, RepositoryProbes, used_parts
from sidecar.runner.metrics import METRICS
from sidecar.runner.parts import RunnerParts, assemble
from sidecar.runner.pool import Pool
from sidecar.runner.report import RunnerReport, StatusSources
from sidecar.runner.settings import EmptySourceOptions, RunnerSettings, Scheduling
from sidecar.runner.status import status_json
from sidecar.runner.timetable import Timetable
from sidecar.runner.union import only_config
from sidecar.service.health import HealthAspect
from sidecar.service.healthcheck import FILE
from sidecar.service.heartbeat import Heartbeat
from sidecar.service.metrics import render_metrics
from sidecar.web.client import run_job
from sidecar.web.messages import Message, parse_outcome, parse_progress, render_progress
from sidecar.web.runner import serve_runner
from tests.fakes.made_engines import MadeEngines
from tests.fakes.scripted_docker import ABLE, ScriptedEngine
from tests.unit.web.clients import ask, eventually

DAY, HOUR = 86_400.0, 3_600.0
NOON = 1_780_056_000.0
"""Noon of a day in UTC."""
WEB = Job(JobKind.BACKUP, "web", "store")
PRUNE = Job(JobKind.PRUNE, "store", "store")


@dataclass
class World:
    """A daemon without its threads; its workers run what the test says."""

    folder: Path
    choice: EmptySourceOptions = field(default_factory=EmptySourceOptions)
    scheduling: Scheduling = field(default_factory=Scheduling)
    restore_check: str = ""
    now: float = NOON
    engine: ScriptedEngine = field(default_factory=lambda: ScriptedEngine([]))

    def __post_init__(self) -> None:
        self.write(plan())

    @property
    def config(self) -> Path:
        """The document."""
        return self.folder / "config.json"

    def write(self, *plans: dict[str, Any], **store: Any) -> None:
        """Write the document."""
        repo = {"id": "store", "uri": str(self.folder / "repo"), "password": "x", **store}
        repo.setdefault("autoInitialize", True)
        document = {"modno": 1, "version": 6, "instance": "here", "repos": [repo]}
        self.config.write_text(json.dumps({**document, "plans": list(plans)}))

    @property
    def settings(self) -> RunnerSettings:
        """What the operator wants."""
        return RunnerSettings(
            self.config,
            emptiness=self.choice,
            restore_check=self.restore_check,
            scheduling=self.scheduling,
        )

    def open(self, parts: RunnerParts) -> "World":
        """Put a loop together."""
        settings, state = self.settings, self.settings.state_directory
        self.parts, self.execution = parts, parts.execution
        self.hub = ProgressHub()
        self.jobs = JobRunner(self.execution, parts.stages, self.hub, self.clock)
        self.pool = Pool(self.jobs, 1)
        self.loader = Loader(self.settings.files, {})
        waiter: Any = SimpleNamespace(wake=lambda: None)
        document, findings = self.execution.document, self.execution.journal.findings
        self.sources = StatusSources(
            self.execution,
            self.loader,
            self.pool,
            self.hub,
            parts.probing.prober,
            Maintenance(parts.leftovers, waiter),
            DiskUsage(state, document, waiter),
            parts.delivery,
        )
        self.report = RunnerReport(self.sources, settings.health_grace, self.clock, self.clock)
        heartbeat = Heartbeat(state, LONGEST_SLEEP)
        dependencies = LoopDependencies(
            settings, self.execution, self.loader, self.pool, self.report, heartbeat
        )
        self.loop = RunnerLoop(dependencies, self.clock)
        self.api = ControlApi(
            document, findings, self.pool, self.hub, self.report, MadeEngines(lambda _: self.engine)
        )
        return self

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    def waiting(self) -> set[Job]:
        """What is queued; nothing runs, for no worker was started."""
        return set(self.pool.busy)

    def empty(self) -> None:
        """Take all out of the queue, as if it had been run."""
        self.pool._waiting.clear()

    def ran(self, job: Job, outcome: RunOutcome = RunOutcome.SUCCESS, **fields: Any) -> Run:
        """Record a run that took a minute."""
        number = self.execution.journal.runs.begin(job, RunCause.SCHEDULE, self.now, "")
        ended = Ended(outcome, self.now + 60, **fields)
        self.execution.journal.runs.end(number, ended)
        run = Run(number, job, RunCause.SCHEDULE, self.now, ended=ended)
        self.execution.reporter.ended(run)
        self.now += 60
        return run


def plan(name: str = "web", cron: str = "0 * * * *", **fields: Any) -> dict[str, Any]:
    """Return a plan of the document."""
    return {"id": name, "repo": "store", "paths": ["/data"], "schedule": {"cron": cron}, **fields}


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """A daemon in UTC without an engine; a parameter changes what its operator wants."""
    made = replace_world(World(tmp_path), getattr(request, "param", {}))
    with assemble(made.settings, environ_of(tmp_path)) as parts:
        yield made.open(parts)


def replace_world(world: World, fields: dict[str, Any]) -> World:
    """Change what the operator wants."""
    return replace(world, **fields)


def environ_of(folder: Path) -> dict[str, str]:
    """An environment without an engine."""
    return {"TZ": "UTC", "PATH": "/usr/bin:/bin", "DOCKER_HOST": f"unix://{folder}/none.sock"}


def test_a_new_document_runs_nothing_of_the_past(world: World) -> None:
    """Its plans are due at their next fire; until then it looks each minute."""
    assert 60.0 == world.loop.poll()
    assert set() == world.waiting()
    world.now += HOUR - 30
    assert 30.0 == world.loop.poll()
    world.now += 30
    world.loop.poll()
    assert {WEB} == world.waiting()


def test_the_status_tells_in_which_document_a_plan_stands_and_what_is_wrong_with_it(
    world: World,
) -> None:
    """Also which repository is refused, and so which plan is not run."""
    world.loop.poll()
    own = world.config.with_name("runner.json")
    disk = {"id": "disk", "uri": "dar:/disk", "autoInitialize": True}
    document = {"modno": 1, "version": 6, "instance": "here", "repos": [disk]}
    own.write_text(json.dumps({**document, "plans": [plan("mail", repo="disk")]}))
    world.loop.poll()
    own.write_text("{")
    world.now += HOUR
    world.loop.poll()
    shown = status_json(world.report.snapshot())
    assert ("runner.json",) == (*shown["broken"],)
    assert [("web", "config.json"), ("mail", "runner.json")] == [
        (one["plan"], one["document"]) for one in shown["plans"]
    ]
    assert [("repo.no-engine", "disk")] == [
        (one["reason"], one["about"]) for one in shown["notices"]
    ]
    assert "dar" in shown["plans"][1]["blocked"]
    assert {WEB} == world.waiting()


def test_what_waits_is_not_queued_again(world: World) -> None:
    """And what is over is due again at its next fire only."""
    world.loop.poll()
    world.now += HOUR
    for _ in range(3):
        world.loop.poll()
    assert {WEB} == world.waiting()
    world.empty()
    world.ran(WEB)
    world.loop.poll()
    assert set() == world.waiting()


@pytest.mark.parametrize("hours", [2, 23, 24 * 400])
def test_a_clock_that_is_set_back_silences_nothing(
    world: World, hours: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What was recorded before the correction is pulled back, and the next fire is answered."""
    world.now += hours * HOUR
    world.loop.poll()
    world.ran(WEB)
    world.loop.poll()
    assert () == world.report.health().sentences
    world.now -= hours * HOUR
    world.loop.poll()
    assert {"clock.set-back"} == {record.message for record in caplog.records}
    past = world.execution.journal.past.history().past[WEB]
    assert {world.now} == {past.first_seen, past.last_start, past.last_end, past.last_success}
    assert 1 == len(caplog.records)

    world.now += HOUR
    world.loop.poll()
    assert {WEB} == world.waiting()
    world.empty()
    # And what is missed from now on is told, and what is not saved makes unhealthy.
    world.now += 5 * HOUR
    world.loop.poll()
    (missed,) = world.execution.journal.past.missed_fires()
    assert (WEB, 5) == (missed.job, missed.count)
    assert 1 == len(world.report.health().sentences)
    assert ["clock.set-back", "run.missed"] == [record.message for record in caplog.records]


def test_a_clock_that_is_corrected_by_seconds_changes_nothing(world: World) -> None:
    """Else a plan would be run twice at each correction."""
    world.loop.poll()
    world.now += HOUR
    world.ran(WEB)
    before = world.execution.journal.past.history().past[WEB]
    world.loop.poll()
    world.now -= 60
    world.loop.poll()
    assert before == world.execution.journal.past.history().past[WEB]
    assert set() == world.waiting()


def test_a_clock_that_was_never_set_pulls_nothing_back(world: World) -> None:
    """After a start without a battery it is 1970 for a while."""
    world.loop.poll()
    before = world.execution.journal.past.history().past[WEB]
    world.now, now = 1_000.0, world.now
    world.loop.poll()
    world.now = now
    world.loop.poll()
    assert before == world.execution.journal.past.history().past[WEB]
    assert set() == world.waiting()


CHECK = Job(JobKind.CHECK, "store", "store")
FORGET = Job(JobKind.FORGET, "store", "store")
VERIFY = Job(JobKind.VERIFY, "web", "store")


@pytest.mark.parametrize(
    ("job", "words", "metric"),
    [
        (CHECK, "check of the repository store", 'repo_check_failed{repo="store"}'),
        (PRUNE, "prune of the repository store", 'repo_prune_failed{repo="store"}'),
        (FORGET, "retention of the repository store", 'repo_forget_failed{repo="store"}'),
        (VERIFY, "verification of the plan web", 'plan_verify_failed{plan="web"}'),
    ],
)
def test_health_tells_what_was_done_besides_backups(
    world: World, job: Job, words: str, metric: str
) -> None:
    """A repository that is damaged, a copy that cannot be read: until the next time it is well."""
    world.loop.poll()
    world.ran(WEB)
    world.ran(job, RunOutcome.FAILED, failure=FailureClass.DAMAGED)
    world.ran(WEB)
    assert (f"the last {words} failed (damaged)",) == world.report.health().sentences
    (told,) = status_json(world.report.snapshot())["upkeep"]
    assert ("failed", None) == (told["last_outcome"], told["last_success"])
    page = render_metrics(METRICS, world.report.snapshot()).decode()
    assert f"backrest_runner_{metric} 1.0" in page

    # By another process, such as `backrest-runner check`.
    number = world.execution.journal.runs.begin(job, RunCause.MANUAL, world.now, "")
    world.execution.journal.runs.end(number, Ended(RunOutcome.CANCELLED, world.now + 1))
    assert (f"the last {words} was cancelled",) == world.report.health().sentences
    world.ran(job)
    world.loop.poll()
    assert () == world.report.health().sentences
    page = render_metrics(METRICS, world.report.snapshot()).decode()
    assert f"backrest_runner_{metric} 0.0" in page
    assert metric.replace("_failed", "_last_success_timestamp_seconds") in page


def test_what_the_document_does_not_have_makes_nobody_unhealthy(world: World) -> None:
    """A repository or a plan that is gone, or a plan that has moved to another repository."""
    world.loop.poll()
    for job in (Job(JobKind.CHECK, "old", "old"), Job(JobKind.VERIFY, "web", "old")):
        world.ran(job, RunOutcome.FAILED, failure=FailureClass.DAMAGED)
    world.ran(Job(JobKind.RESTORE, "web", "store"), RunOutcome.FAILED)
    assert () == world.report.health().sentences
    world.ran(CHECK, RunOutcome.FAILED)
    world.write(plan(repo="other"), id="other")
    world.loop.poll()
    assert "check" not in "".join(world.report.health().sentences)


def test_what_was_missed_is_recorded_once(world: World) -> None:
    """With how often, for the log, the pages and the history."""
    world.loop.poll()
    world.now += 5 * HOUR
    world.loop.poll()
    world.loop.poll()
    (missed,) = world.execution.journal.past.missed_fires()
    assert (WEB, 4) == (missed.job, missed.count)
    assert 4 == world.report.snapshot().missed


def test_another_document_is_taken_over(world: World) -> None:
    """A plan that is new is first seen now; what is gone is no longer due."""
    world.loop.poll()
    world.now += HOUR - 1
    world.write(plan("db"))
    world.loop.poll()
    world.now += 1
    world.loop.poll()
    assert {Job(JobKind.BACKUP, "db", "store")} == world.waiting()


def test_a_broken_document_changes_nothing_but_the_health(world: World) -> None:
    """What was good goes on, and the heartbeat says why all is not well."""
    world.loop.poll()
    world.config.write_text("{")
    world.now += HOUR
    world.loop.poll()
    assert {WEB} == world.waiting()
    beat = json.loads((world.settings.state_directory / FILE).read_text())
    assert ["the document config.json is broken: the last good one is executed"] == [
        one["sentence"] for one in beat["findings"]
    ]
    assert world.now == beat["at"]


def test_a_plan_with_a_hook_that_cannot_be_used_is_not_queued(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once for each document; corrected, the plan is run again."""
    start = {"conditions": ["CONDITION_SNAPSHOT_START"]}
    world.write(plan(hooks=[{**start, "actionCommand": {"command": "{{ .No }} MARK"}}]))
    world.loop.poll()
    world.now += HOUR
    world.loop.poll()
    assert set() == world.waiting()
    assert ["hook.unusable"] == [
        record.message for record in caplog.records if record.message == "hook.unusable"
    ]
    with (
        pytest.raises(UsageError, match="hook 1 of plan web"),
        world.api.run(JobKind.BACKUP, "web", print),
    ):
        raise AssertionError
    world.write(plan())
    world.loop.poll()
    assert {WEB} == world.waiting()


@pytest.mark.parametrize("world", [{"scheduling": Scheduling(backup_on_start=True)}], indirect=True)
def test_scheduled_plans_are_backed_up_on_start_where_that_is_wanted(world: World) -> None:
    """Once, and not those without a schedule."""
    world.write(plan(), {**plan("off"), "schedule": {"disabled": True}})
    world.loop.poll()
    assert {WEB} == world.waiting()
    world.empty()
    world.write(plan(), plan("db"))
    world.loop.poll()
    assert set() == world.waiting()


@pytest.mark.parametrize(
    "world", [{"scheduling": Scheduling(catch_up=CatchUp.SKIP), "now": NOON + 60}], indirect=True
)
def test_skip_is_heeded(world: World) -> None:
    """What came before the start of the daemon is missed."""
    world.execution.journal.past.first_seen([WEB], NOON - DAY)
    world.loop.poll()
    assert set() == world.waiting()
    assert 24 == world.execution.journal.past.missed_fires()[0].count


@pytest.mark.parametrize(
    "world",
    [{"choice": EmptySourceOptions(plans=frozenset({"web"})), "restore_check": "30 * * * *"}],
    indirect=True,
)
def test_empty_plans_are_looked_for_at_the_start_and_on_their_schedule(world: World) -> None:
    """Only those that are to be restored, and what is missed of that is of no interest."""
    world.write(plan(), plan("db"))
    restore = Job(JobKind.RESTORE, "web", "store")
    world.loop.poll()
    assert {restore} == world.waiting()
    world.empty()
    world.now += 3 * HOUR - 60
    world.loop.poll()
    assert restore in world.waiting()
    assert JobKind.RESTORE not in {
        one.job.kind for one in world.execution.journal.past.missed_fires()
    }
    world.empty()
    world.loop.poll()
    assert restore not in world.waiting()


class Acting:
    """Stands where the session does, and says how each run ends."""

    def __init__(self, world: World, ended: Ended) -> None:
        self.world, self.ended = world, ended
        self.ran: list[tuple[Job, RunCause]] = []
        self.conditions: list[RunConditions] = []

    def run(
        self,
        job: Job,
        _: Config,
        trigger: RunCause,
        report: Callable[[Progress], None],
        conditions: RunConditions,
    ) -> Run:
        """Run nothing."""
        self.ran.append((job, trigger))
        self.conditions.append(conditions)
        report(Progress(0.5, 1, 2, 3, 4))
        return Run(1, job, trigger, self.world.now, ended=self.ended)


@dataclass
class Emptied:
    """Stands where the check for empty plans does."""

    refilled: Ended | None = None
    remembered: list[tuple[str, bool]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def refill(self, plan: RunPlan, _: RunCause) -> tuple[None, Ended | None]:
        """Say what came of a restore."""
        self.asked.append(plan.id)
        return None, self.refilled

    def remember(self, plan: RunPlan, *, has_saved: bool) -> None:
        """Note that it was called."""
        self.remembered.append((plan.id, has_saved))


def job_runner(
    world: World, ended: Ended, emptied: Emptied | None = None
) -> tuple[JobRunner, Acting]:
    """Return what a worker calls, with a session of the test's own."""
    acting = Acting(world, ended)
    stages = replace(
        world.parts.stages,
        session=acting,  # type: ignore[arg-type]
        emptiness=emptied or Emptied(),  # type: ignore[arg-type]
    )
    jobs = JobRunner(world.execution, stages, world.hub, world.clock)
    return jobs, acting


def test_the_hub_gets_the_end_of_a_run(world: World) -> None:
    """And how far it is meanwhile; where the paths lie is remembered after a snapshot."""
    world.loop.poll()
    emptied = Emptied()
    ended = Ended(RunOutcome.SUCCESS, NOON, "abc", Stats(files_processed=1))
    jobs, acting = job_runner(world, ended, emptied)
    jobs.run(WEB, RunCause.MANUAL)
    assert {WEB: Progress(0.5, 1, 2, 3, 4)} == world.hub.running
    over = world.hub.finish(WEB)
    assert over.run is not None
    assert [(WEB, RunCause.MANUAL)] == acting.ran
    assert (["web"], [("web", True)]) == (emptied.asked, emptied.remembered)


def test_a_run_without_a_snapshot_is_not_remembered(world: World) -> None:
    """It says nothing of where the paths lie."""
    world.loop.poll()
    emptied = Emptied()
    jobs, _ = job_runner(world, Ended(RunOutcome.FAILED, NOON), emptied)
    jobs.run(WEB, RunCause.SCHEDULE)
    assert [] == emptied.remembered


def test_what_came_while_it_waited_is_recorded(world: World) -> None:
    """A run answers the last fire; it was due three hours ago."""
    world.loop.poll()
    world.now += HOUR
    world.loop.poll()
    world.now += 2 * HOUR + 5
    jobs, _ = job_runner(world, Ended(RunOutcome.SUCCESS, NOON))
    jobs.run(WEB, RunCause.SCHEDULE)
    (missed,) = world.execution.journal.past.missed_fires()
    assert (2, NOON + HOUR, NOON + 2 * HOUR) == (missed.count, missed.first, missed.last)


def test_a_plan_that_could_not_be_restored_is_not_backed_up(world: World) -> None:
    """The run is refused, and says why."""
    world.loop.poll()
    lost = Ended(RunOutcome.FAILED, NOON, failure=FailureClass.DISK_FULL, reason="no space")
    jobs, acting = job_runner(world, lost, Emptied(lost))
    jobs.run(WEB, RunCause.SCHEDULE)
    (conditions,) = acting.conditions
    assert conditions.refusal is not None
    assert FailureClass.DISK_FULL is conditions.refusal.failure
    assert "could not be restored: no space" in conditions.refusal.reason


def test_the_run_after_a_restore_says_what_was_restored(world: World) -> None:
    """And what of it is not as it was."""
    world.loop.poll()
    stats = Stats(files_processed=2, bytes_processed=2000)
    back = Ended(RunOutcome.WARNING, NOON, "0123456789", stats, reason="owners differ")
    jobs, acting = job_runner(world, Ended(RunOutcome.SUCCESS, NOON), Emptied(back))
    jobs.run(WEB, RunCause.SCHEDULE)
    (conditions,) = acting.conditions
    said = "2 files of 2.0 kB were restored before, from snapshot 01234567; owners differ"
    assert (None, said) == (conditions.refusal, conditions.remark)


def away(world: World, retry: Retry) -> None:
    """Let the last run have failed, so that it is tried again."""
    journal = world.execution.journal
    number = journal.runs.begin(WEB, RunCause.SCHEDULE, world.now, "")
    ended = Ended(RunOutcome.FAILED, world.now, failure=FailureClass.NETWORK)
    journal.runs.end(number, ended, retry)


def test_a_fire_that_failed_is_tried_again_when_its_time_has_come(world: World) -> None:
    """The loop wakes up for it, and the run knows which fire it answers."""
    world.write(plan(cron="0 0 * * *"))
    world.loop.poll()
    away(world, Retry(NOON - 60, NOON + 30, 1))
    assert 30 == world.loop.poll()
    assert WEB not in world.waiting()
    world.now += 30
    world.loop.poll()
    assert (RunCause.RETRY, None) == world.pool._waiting[WEB]
    jobs, acting = job_runner(world, Ended(RunOutcome.SUCCESS, NOON))
    jobs.run(WEB, RunCause.RETRY)
    assert [Retry(NOON - 60, None, 1)] == [one.answers for one in acting.conditions]


def test_what_was_planned_while_the_clock_was_ahead_between_two_looks_is_pulled_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """No look saw that clock: it is told by a try further off than any can be planned."""
    world.write(plan(cron="0 0 * * *"))
    world.loop.poll()
    away(world, Retry(NOON + 2 * HOUR, NOON + 3 * HOUR, 1))
    world.now += 60
    world.loop.poll()
    past = world.execution.journal.past
    assert {WEB: Retry(world.now, world.now + HOUR, 1)} == past.history().retries
    world.now += 60
    world.loop.poll()
    assert ["clock.set-back"] == [record.message for record in caplog.records]


def test_a_try_as_late_as_one_can_be_is_left_alone(world: World) -> None:
    """Also if it was planned just after the loop has read the clock."""
    world.write(plan(cron="0 0 * * *"))
    world.loop.poll()
    away(world, Retry(NOON - 60, NOON + HOUR + 60, 1))
    world.now += 1
    world.loop.poll()
    past = world.execution.journal.past
    assert {WEB: Retry(NOON - 60, NOON + HOUR + 60, 1)} == past.history().retries


@pytest.mark.parametrize("in_queue", [False, True])
def test_the_next_fire_replaces_one_that_is_tried_again(world: World, *, in_queue: bool) -> None:
    """That one is told as missed, whether the next came before it was due or while it waited."""
    world.loop.poll()
    away(world, Retry(NOON - 60, NOON + 1800, 1))
    if in_queue:
        world.now = NOON + 1800
        world.loop.poll()
        assert (RunCause.RETRY, None) == world.pool._waiting[WEB]
    world.now = NOON + HOUR
    world.loop.poll()
    jobs, acting = job_runner(world, Ended(RunOutcome.SUCCESS, NOON))
    jobs.run(WEB, *world.pool._waiting[WEB])
    assert [Retry(NOON + HOUR)] == [one.answers for one in acting.conditions]
    (missed,) = world.execution.journal.past.missed_fires()
    assert (NOON - 60, NOON - 60, 1) == (missed.first, missed.last, missed.count)
    assert {} == world.execution.journal.past.history().retries


@pytest.mark.parametrize(
    "world", [{"scheduling": Scheduling(catch_up=CatchUp.SKIP)}], indirect=True
)
def test_skip_gives_up_what_should_have_been_tried_while_it_was_down(world: World) -> None:
    """As it does with fires; what is to come is tried."""
    world.write(plan(cron="0 0 * * *"))
    away(world, Retry(NOON - HOUR, NOON - 60, 1))
    world.loop.poll()
    (missed,) = world.execution.journal.past.missed_fires()
    assert NOON - HOUR == missed.last
    assert WEB not in world.waiting()
    away(world, Retry(NOON - HOUR, NOON + 60, 1))
    world.now += 60
    world.loop.poll()
    assert WEB in world.waiting()


def test_what_has_left_the_document_is_not_tried_again(world: World) -> None:
    """What has no schedule is: a person asked for it, and its hooks for another try."""
    world.write(plan("other"))
    world.loop.poll()
    away(world, Retry(NOON - 60, NOON, 1))
    world.loop.poll()
    assert set() == world.waiting()
    world.write(plan(schedule={"disabled": True}))
    world.loop.poll()
    assert {WEB} == world.waiting()


def test_a_person_does_not_answer_a_fire_nor_take_its_tries(world: World) -> None:
    """Unless one has come meanwhile: then that run is its answer."""
    world.loop.poll()
    jobs, acting = job_runner(world, Ended(RunOutcome.SUCCESS, NOON))
    jobs.run(WEB, RunCause.MANUAL)
    world.now += HOUR
    jobs.run(WEB, RunCause.MANUAL)
    assert [None, Retry(NOON + HOUR)] == [one.answers for one in acting.conditions]


def test_a_plan_shows_when_it_is_tried_again(world: World) -> None:
    """If that is before its next fire, or if it has none."""
    world.loop.poll()
    (state,) = world.report.snapshot().plans
    assert NOON + HOUR == state.next_fire
    away(world, Retry(NOON - 60, NOON + 900, 1))
    (state,) = world.report.snapshot().plans
    assert NOON + 900 == state.next_fire
    known = world.execution.journal.past.history().past[WEB]
    timetable = Timetable(world.execution.scheduler)
    assert NOON + 900 == timetable.next_fire(Timing(), known, NOON)
    assert NOON + 1800 == timetable.next_fire(Timing("0 * * * *"), known, NOON + 1800)


@pytest.mark.parametrize("trigger", [RunCause.SCHEDULE, RunCause.MANUAL])
def test_health_tells_a_backup_that_the_end_of_the_runner_cut_off(
    world: World, trigger: RunCause
) -> None:
    """Not one that a person had asked for."""
    world.loop.poll()
    journal = world.execution.journal
    ended = Ended(RunOutcome.CANCELLED, NOON, failure=FailureClass.INTERRUPTED)
    journal.runs.end(journal.runs.begin(WEB, trigger, NOON, ""), ended)
    told = any("was cut off" in one for one in world.report.health().sentences)
    assert told is (trigger is RunCause.SCHEDULE)


def test_what_is_tried_again_is_announced_when_it_has_ended_at_last(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The log tells each try, and when the next one is."""
    caplog.set_level(logging.INFO)
    ended = Ended(RunOutcome.FAILED, NOON, failure=FailureClass.NETWORK, reason="MARK")
    announced: list[Any] = []
    reporter = world.execution.reporter
    reporter._announcer = SimpleNamespace(announce=announced.append)  # type: ignore[assignment]
    run = Run(1, WEB, RunCause.SCHEDULE, NOON, ended=ended, again=NOON + 900)
    reporter.ended(run)
    assert [] == announced
    (again,) = [record for record in caplog.records if record.message == "run.retry"]
    assert "2026-05-29T12:15:00+00:00" == vars(again)["fields"]["at"]
    reporter.ended(replace(run, again=None))
    assert 1 == len(announced)


def test_a_check_for_an_empty_plan_is_no_run(world: World) -> None:
    """Unless there was something to restore, which is recorded by itself."""
    world.loop.poll()
    emptied = Emptied()
    jobs, acting = job_runner(world, Ended(RunOutcome.SUCCESS, NOON), emptied)
    jobs.run(Job(JobKind.RESTORE, "web", "store"), RunCause.START)
    jobs.run(Job(JobKind.RESTORE, "gone", "store"), RunCause.START)
    assert ([], ["web"]) == (acting.ran, emptied.asked)


def test_work_that_is_no_longer_in_the_document_is_dropped(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Its followers hear why."""
    world.loop.poll()
    gone = Job(JobKind.BACKUP, "gone", "store")
    world.jobs.run(gone, RunCause.MANUAL)
    over = world.hub.finish(gone)
    assert over.run is None
    assert "there is no backup of 'gone'" in over.reason
    assert "run.dropped" in [record.message for record in caplog.records]


def test_what_breaks_down_says_where_and_not_what(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What an error says might be a secret."""
    with pytest.raises(RuntimeError) as raised:
        _break_down()
    world.jobs.failed(WEB, raised.value)
    (record,) = caplog.records
    said = str(vars(record)["fields"])
    assert "RuntimeError at test_loop.py:" in said
    assert "MARK" not in said


def _break_down() -> None:
    raise RuntimeError("MARK")


@contextmanager
def served(world: World) -> Iterator[Callable[..., Generator[Message]]]:
    """Serve the control socket; yield what has a job run by it."""
    with serve_runner(world.settings, world.api):
        yield partial(run_job, world.settings.state_directory, seconds=30)
        # As the daemon does: else streams would have no end.
        world.hub.close()


def test_the_daemon_runs_what_is_asked_for_and_tells_how_it_goes(world: World) -> None:
    """Progress and the end, in messages."""
    world.loop.poll()
    with served(world) as run:
        answers = run(JobKind.BACKUP, "web")
        assert {"state": "queued"} == next(answers)
        world.hub.begin(WEB)
        world.hub.publish(WEB, Progress(0.25, 1, 4, 10, 40, 3.0))
        assert Progress(0.25, 1, 4, 10, 40, 3.0) == parse_progress(next(answers))
        stats = Stats(files_processed=4, bytes_processed=40, bytes_added=7)
        failure = FailureClass.SOURCE_CHANGED
        ended = Ended(RunOutcome.WARNING, NOON + 9, "abcdef", stats, failure, "one")
        world.hub.set_end(WEB, RunFinished(Run(1, WEB, RunCause.MANUAL, NOON, ended=ended)))
        world.hub.finish(WEB)
        last = next(answers)
        assert RunOutcome.WARNING is parse_outcome(last)
        assert (True, "one", "abcdef", 9.0, 4, 40, 7) == tuple(
            last[key] for key in ("last", "reason", "snapshot", "seconds", "files", "size", "added")
        )
        assert [] == list(answers)


def test_a_client_without_progress_is_told_that_it_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then, so that either side sees whether the other is still there."""
    monkeypatch.setattr("sidecar.web.runner._REPEAT_SECONDS", 0.01)
    world.loop.poll()
    with served(world) as run:
        answers = run(JobKind.BACKUP, "web")
        assert {"state": "queued"} == next(answers)
        assert {"state": "waiting"} == next(answers)
        world.hub.begin(WEB)
        assert {"state": "running"} in answers


def test_whoever_hangs_up_is_not_followed_any_more(world: World) -> None:
    """The run goes on without it."""
    world.loop.poll()
    with served(world) as run:
        answers = run(JobKind.BACKUP, "web")
        next(answers)
        assert {WEB} == set(world.hub._subscribers)
        answers.close()
        assert eventually(lambda: not world.hub._subscribers)
        assert {WEB} == world.waiting()


def test_that_a_plan_may_be_empty_is_said_with_its_backup(world: World) -> None:
    """Of a plan, and never by the way."""
    world.loop.poll()
    with served(world) as run:
        next(run(JobKind.PRUNE, "store", accept_empty=True))
        with pytest.raises(SidecarError, match="accept_empty: is not of type 'boolean'"):
            next(run(JobKind.BACKUP, "web", accept_empty="yes"))
        assert not world.execution.journal.findings.is_empty_accepted("web")
        next(run(JobKind.BACKUP, "web", accept_empty=True))
        assert world.execution.journal.findings.is_empty_accepted("web")
        assert not world.execution.journal.findings.is_empty_accepted("store")


def test_a_backup_can_be_asked_for_by_its_type(world: World) -> None:
    """It reaches whoever runs it, if the engine has that type."""
    world.engine.able = replace(ABLE, types=frozenset({BackupType.FULL, BackupType.DIFF}))
    world.loop.poll()
    with served(world) as run:
        with pytest.raises(SidecarError, match=r"no backup of type incr: it has full, diff"):
            next(run(JobKind.BACKUP, "web", wanted=BackupType.INCR))
        assert set() == world.waiting()
        assert {"state": "queued"} == next(run(JobKind.BACKUP, "web", wanted=BackupType.DIFF))
        assert {WEB: (RunCause.MANUAL, BackupType.DIFF)} == world.pool._waiting
        with pytest.raises(SidecarError, match="waits or runs already, whose type is its own"):
            next(run(JobKind.BACKUP, "web", wanted=BackupType.FULL))
        assert {"state": "joined"} == next(run(JobKind.BACKUP, "web"))


@pytest.mark.parametrize(
    ("kind", "subject", "why"),
    [
        (JobKind.BACKUP, "web", "web goes to store: its engine makes no backup of type full"),
        (JobKind.PRUNE, "store", "store has no backup of type full"),
    ],
)
def test_what_has_no_types_runs_in_none(
    world: World, kind: JobKind, subject: str, why: str
) -> None:
    """An engine without types, and what is no backup; nothing is queued."""
    world.engine.able = replace(ABLE, types=frozenset())
    world.loop.poll()
    with served(world) as run, pytest.raises(SidecarError, match=why):
        next(run(kind, subject, wanted=BackupType.FULL))
    assert set() == world.waiting()


def test_the_daemon_says_why_nothing_was_run(world: World) -> None:
    """The daemon stops, or the run could not begin."""
    world.loop.poll()
    with served(world) as run:
        answers = run(JobKind.PRUNE, "store")
        next(answers)
        assert {PRUNE} == world.waiting()
        world.hub.close()
        last = next(answers)
        assert (None, True) == (parse_outcome(last), last["last"])
        world.pool.close(0.0)
        with pytest.raises(SidecarError, match="the daemon stops"):
            list(run(JobKind.PRUNE, "store"))


@pytest.mark.parametrize(
    ("kind", "subject", "words"),
    [
        (JobKind.BACKUP, "none", "there is no plan 'none'"),
        (JobKind.CHECK, "none", "there is no repository 'none'"),
        (JobKind.BACKUP, None, "of: is not of type 'string'"),
        (JobKind.VERIFY, "web", "kind: is not one of"),
    ],
)
def test_the_daemon_refuses_what_it_does_not_know(
    world: World, kind: JobKind, subject: str | None, words: str
) -> None:
    """With what there is."""
    world.loop.poll()
    with served(world) as run, pytest.raises(SidecarError, match=words):
        list(run(kind, subject))


def test_a_message_that_says_nothing_of_progress_has_none() -> None:
    """It may be of another version."""
    assert parse_progress({"state": "queued"}) is None
    assert Progress(1.0, 1, 1, 1, 1) == parse_progress(render_progress(Progress(1.0, 1, 1, 1, 1)))


def test_work_is_found_by_kind_and_name() -> None:
    """What is known is told where it is not."""
    config = Config("here", (Repo("store"),), (RunPlan("web", "store"),))
    assert WEB == find_job(JobKind.BACKUP, "web", config)
    assert PRUNE == find_job(JobKind.PRUNE, "store", config)
    with pytest.raises(UsageError) as refused:
        find_job(JobKind.BACKUP, "x", config)
    assert "there are: web" == refused.value.hint
    with pytest.raises(UsageError) as near:
        find_job(JobKind.BACKUP, "wbe", config)
    assert "did you mean 'web'? there are: web" == near.value.hint
    with pytest.raises(UsageError) as none:
        find_job(JobKind.CHECK, "x", Config())
    assert "the document has none" == none.value.hint


def test_the_status_tells_of_each_plan(world: World) -> None:
    """Last success, duration, size and age; and when it is due."""
    world.loop.poll()
    stats = Stats(files_processed=1, bytes_processed=100, bytes_added=5)
    world.ran(WEB, snapshot="abc", stats=stats)
    world.now += 40
    world.ran(WEB, RunOutcome.FAILED, failure=FailureClass.NETWORK, reason="MARK")
    world.execution.journal.findings.verified("web", world.now - 7, "abc")
    found = status_json(world.report.snapshot())
    (shown,) = found["plans"]
    assert {
        "plan": "web",
        "state": "idle",
        "last_outcome": "failed",
        "failure": "network",
        "age": 100.0,
        "duration": 60.0,
        "size": 100,
        "added": 5,
        "snapshot": "abc",
        "verified_age": 7.0,
    }.items() <= shown.items()
    assert (False, True) == (found["healthy"], found["ready"])
    assert "MARK" not in json.dumps(found)


def test_a_status_after_a_restart_is_read_from_the_journal(world: World) -> None:
    """What this process has not seen itself."""
    world.loop.poll()
    world.ran(WEB, RunOutcome.FAILED, failure=FailureClass.WRONG_PASSWORD)
    reporter: Any = SimpleNamespace(runs=EndedRuns())
    sources = replace(world.sources, execution=replace(world.execution, reporter=reporter))
    fresh = RunnerReport(sources, 0.0, world.clock, world.clock)
    assert ("the last run of the plan web failed (wrong-password)",) == fresh.health().sentences
    assert "wrong-password" == fresh.snapshot().plans[0].failure


def test_what_runs_and_what_waits_is_told(world: World) -> None:
    """With how far it is."""
    world.loop.poll()
    world.pool.submit(WEB)
    assert "waiting" == status_json(world.report.snapshot())["plans"][0]["state"]
    world.hub.begin(WEB)
    world.hub.publish(WEB, Progress(0.5, 1, 2, 3, 4))
    (shown,) = status_json(world.report.snapshot())["plans"]
    assert ("running", 0.5) == (shown["state"], shown["fraction"])


def test_a_pause_is_due_so_long_after_the_last_start(world: World) -> None:
    """Without one after it was first seen; a plan without a schedule never."""
    paced = {**plan(), "schedule": {"maxFrequencyHours": 6}}
    world.write(paced, {**plan("off"), "schedule": {"disabled": True}})
    world.loop.poll()
    assert [NOON + 6 * HOUR, None] == [one.next_fire for one in world.report.snapshot().plans]
    world.ran(WEB)
    assert NOON + 6 * HOUR == world.report.snapshot().plans[0].next_fire
    world.now += DAY
    assert world.now == world.report.snapshot().plans[0].next_fire


def test_a_main_loop_that_hangs_is_told(world: World) -> None:
    """By whoever asks in another thread."""
    world.loop.poll()
    world.now += 300
    assert ("the main loop has not moved for 5 min",) == world.report.health().against(
        HealthAspect.READY
    )
    world.report.stopping()
    assert "it is stopping" in world.report.health().against(HealthAspect.READY)


def test_a_run_without_an_end_is_told_nobody(world: World) -> None:
    """There is nothing to tell yet."""
    world.execution.reporter.ended(Run(1, WEB, RunCause.MANUAL, NOON))
    assert 0 == sum(world.report.snapshot().runs.values())


def test_the_status_names_the_latest_snapshot_that_holds_a_file(world: World) -> None:
    """What a run of nothing has made is no latest one, nor what lies ahead of the clock."""
    world.loop.poll()

    def shown() -> object:
        (found,) = status_json(world.report.snapshot())["plans"]
        return found["snapshot"]

    assert shown() is None
    world.ran(WEB, snapshot="full", stats=Stats(files_processed=2))
    assert "full" == shown()
    world.ran(WEB, snapshot="void", stats=Stats())
    assert "full" == shown()
    world.now += 300 * DAY
    world.ran(WEB, snapshot="future", stats=Stats(files_processed=2))
    assert "future" == shown()
    world.now -= 300 * DAY
    assert "full" == shown()


def test_health_names_a_snapshot_ahead_of_the_clock(world: World) -> None:
    """As long as it is there, and ahead."""
    world.loop.poll()
    world.execution.journal.findings.set_ahead(
        "web", [AheadSnapshot("5f3a9c01" * 8, world.now + 9 * DAY)]
    )
    (reason,) = world.report.health().sentences
    assert "1 snapshot ahead of the clock" in reason
    assert "`restic forget 5f3a9c01`" in reason
    world.execution.journal.findings.set_ahead(
        "web", [AheadSnapshot("5f3a9c01" * 8, world.now + DAY)]
    )
    assert () == world.report.health().sentences


class Unreadable:
    """A journal whose file is out of reach."""

    def __init__(self, journal: Journal) -> None:
        self.past = journal.past
        self.runs = self.findings = self

    def last(self, *_: object) -> None:
        """Fail."""
        raise SidecarError("out of reach")

    ahead = verifications = latest = last


def test_a_journal_out_of_reach_leaves_the_rest_of_the_status(world: World) -> None:
    """What is in mind is told."""
    world.loop.poll()
    journal: Any = Unreadable(world.execution.journal)
    sources = replace(world.sources, execution=replace(world.execution, journal=journal))
    facts = RunnerReport(sources, 0.0, world.clock, world.clock).snapshot()
    plan = facts.plans[0]
    assert (None, None, None) == (plan.last_good, plan.latest, plan.verified)


def test_without_a_document_there_is_no_plan(world: World) -> None:
    """And that is the reason why it is not ready."""
    world.config.unlink()
    world.loader.refresh()
    assert () == world.report.snapshot().plans
    ready = world.report.health().against(HealthAspect.READY)
    assert ("there is no document that could be executed",) == ready


def test_every_metric_has_a_page(world: World) -> None:
    """Also of plans that never ran; each name stands there once. Jobs are not asked for there."""
    world.loop.poll()
    world.ran(WEB, stats=Stats(bytes_processed=1))
    listening = replace(world.settings, listen=("127.0.0.1", 0))
    with serve_runner(listening, world.api) as host:
        answer, text = ask(host.port, "GET", "/metrics")
        for metric in METRICS:
            assert f"# TYPE {metric.name.removesuffix('_total')}" in text
        assert [200, 200, 404, 404] == [
            ask(host.port, method, path)[0].status
            for method, path in (
                ("GET", "/readyz"),
                ("GET", "/status"),
                ("GET", "/other"),
                ("POST", "/jobs"),
            )
        ]
        assert 200 == answer.status
        with (
            pytest.raises(UsageError, match="cannot listen on port"),
            serve_runner(replace(listening, listen=("127.0.0.1", host.port)), world.api),
        ):
            raise AssertionError


def test_a_daemon_that_cannot_work_is_alive(world: World) -> None:
    """Whoever restarts what is not alive leaves it alone: without a document that helps nothing."""
    world.config.unlink()
    world.loader.refresh()
    listening = replace(world.settings, listen=("127.0.0.1", 0))
    with serve_runner(listening, world.api) as host:
        pages = ("/livez", "/readyz")
        assert [200, 503] == [ask(host.port, "GET", page)[0].status for page in pages]
        world.now += HOUR
        assert [503, 503] == [ask(host.port, "GET", page)[0].status for page in pages]


def test_disks_are_those_of_the_state_and_of_local_repositories(tmp_path: Path) -> None:
    """Each once, by the first path on it; what is not there or elsewhere is left out."""
    repos = [Repo("a", str(tmp_path)), Repo("b", "s3:https://x"), Repo("c", str(tmp_path / "no"))]
    found = used_parts(tmp_path, repos)
    assert [str(tmp_path)] == list(found)
    assert 0.0 <= found[str(tmp_path)] <= 1.0
    assert {} == used_parts(tmp_path / "no", repos[1:])


@dataclass
class Watched:
    """The maintenance of a test, and what it did."""

    probed: list[str] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)
    subscription: int = 0
    answer: Probed = field(default_factory=lambda: Probed(NOON))

    def due(self, repos: tuple[Repo, ...]) -> tuple[Repo, ...]:
        """Return those that were never probed."""
        return tuple(repo for repo in repos if repo.id not in self.probed)

    def run(self, repo: Repo) -> Probed:
        """Probe nothing."""
        assert repo.id in self.prepared
        self.probed.append(repo.id)
        return self.answer

    def last(self) -> dict[str, Probed]:
        """Return what came of it."""
        return dict.fromkeys(self.probed, self.answer)

    def keep_only(self, _: object) -> None:
        """Keep all."""


def probes_of(watched: Watched, config: Config) -> RepositoryProbes:
    """Make what probes the repositories of a document."""

    def wake() -> None:
        watched.subscription += 1

    probing: Any = SimpleNamespace(
        prober=watched,
        initialiser=SimpleNamespace(ensure=lambda repo: watched.prepared.append(repo.id)),
        engines=MadeEngines(
            lambda repo: ScriptedEngine([], remarked=f"{repo.uri} keeps no owners")
        ),
        programs=SimpleNamespace(stop_all=lambda: None),
    )
    waiter: Any = SimpleNamespace(wake=wake)
    return RepositoryProbes(probing, ExecutedDocument(only_config(config)), waiter)


def test_each_round_probes_what_is_due_and_tells_what_is_new() -> None:
    """Repositories that ask for it are created before they are probed."""
    watched = Watched()
    probes = probes_of(watched, Config("", (Repo("a"), Repo("b"))))
    for _ in range(2):
        probes.check()
        assert (["a", "b"], 1) == (watched.probed, watched.subscription)


def test_what_a_repository_does_not_keep_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """At the start, not only with the first run; of one that does not answer nothing is known."""
    caplog.set_level(logging.INFO)
    watched = Watched()
    probes = probes_of(watched, Config("", (Repo("a", "/a"),)))
    for _ in range(2):
        watched.probed.clear()
        probes.check()
    probes_of(
        Watched(answer=Probed(NOON, failure=FailureClass.NETWORK)), Config("", (Repo("b"),))
    ).check()
    told = [record.fields for record in caplog.records if record.message == "repository.remark"]  # type: ignore[attr-defined]

    assert [{"repo": "a", "remark": "/a keeps no owners"}] == told


def maintenance_of(heard: list[str]) -> Maintenance:
    """Make a maintenance that can start no container."""
    left = ("db is stopped and could not be started: MARK",)
    leftovers: Any = SimpleNamespace(start_again=lambda: left)
    waiter: Any = SimpleNamespace(wake=lambda: heard.append("change"))
    return Maintenance(leftovers, waiter)


def test_each_round_starts_again_what_is_stopped() -> None:
    """What cannot be started is told once, without what may hold a secret."""
    heard: list[str] = []
    maintenance = maintenance_of(heard)
    for _ in range(2):
        maintenance.check()
        assert ("db is stopped and could not be started",) == maintenance.stopped
        assert ["change"] == heard


def disks_of(folder: Path, heard: list[str]) -> DiskUsage:
    """Make what measures the disk of a folder."""
    waiter: Any = SimpleNamespace(wake=lambda: heard.append("change"))
    return DiskUsage(folder, ExecutedDocument(), waiter)


def test_each_round_measures_the_disks(tmp_path: Path) -> None:
    """What has changed is told once."""
    heard: list[str] = []
    usage = disks_of(tmp_path, heard)
    usage.check()
    assert [str(tmp_path)] == list(usage.disks)
    assert ["change"] == heard


def test_a_disk_that_does_not_answer_keeps_no_container_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file server of a repository may be gone, and a look at it wait for ever."""
    hangs, started, is_back = threading.Event(), threading.Event(), threading.Event()

    def hang(_: str) -> os.statvfs_result:
        hangs.set()
        assert is_back.wait(20)
        raise OSError

    def start_again() -> tuple[str, ...]:
        if hangs.is_set():
            started.set()
        return ()

    monkeypatch.setattr(os, "statvfs", hang)
    monkeypatch.setattr("sidecar.runner.maintenance._SECONDS", 0.01)
    leftovers: Any = SimpleNamespace(start_again=start_again)
    waiter: Any = SimpleNamespace(wake=lambda: None)
    with Maintenance(leftovers, waiter):
        with disks_of(tmp_path, []):
            assert started.wait(20)
        is_back.set()


def test_rounds_end_at_once(tmp_path: Path) -> None:
    """However long the pause between them is."""
    with maintenance_of([]), disks_of(tmp_path, []), probes_of(Watched(), Config()):
        pass


def test_a_renamed_repository_is_still_the_same(world: World) -> None:
    """A run under its old name and one under its new name exclude each other."""
    world.loop.poll()
    before = world.parts.rules.lock_keys(WEB)
    world.write(plan(repo="nas"), id="nas")
    world.loop.poll()
    after = world.parts.rules.lock_keys(WEB._replace(repo="nas"))
    assert not before.isdisjoint(after)
    other = world.parts.rules.lock_keys(WEB._replace(subject="db"))
    assert before.isdisjoint(other)


def test_a_plan_that_moves_is_not_run_in_two_places_at_once(world: World) -> None:
    """It would stop its containers twice."""
    world.loop.poll()
    there = world.parts.rules.lock_keys(WEB._replace(repo="there"))
    assert not there.isdisjoint(world.parts.rules.lock_keys(WEB))
    assert there.isdisjoint(world.parts.rules.lock_keys(PRUNE))


def test_jobs_know_the_containers_that_their_hooks_stop(world: World) -> None:
    """Those of the plan and those of the repository; another document has others."""
    web, store = (
        {"conditions": ["CONDITION_SNAPSHOT_START"], "actionCommand": {"command": command}}
        for command in ("docker stop web", "docker stop proxy")
    )
    world.write(plan(hooks=[web]), hooks=[store])
    world.loop.poll()
    assert {"web", "proxy"} == world.parts.rules.containers(WEB)
    assert {"web", "proxy"} == world.parts.rules.containers(WEB._replace(kind=JobKind.RESTORE))
    assert {"proxy"} == world.parts.rules.containers(PRUNE)
    world.write(plan())
    world.loop.poll()
    assert set() == world.parts.rules.containers(WEB)


def test_what_a_dead_restore_stopped_stays_stopped_while_a_plan_counts_on_it(world: World) -> None:
    """Its START hook has left the container as it found it, and it still saves."""
    left = replace(world.parts.leftovers, docker=None)
    left.journal.containers.stopped(Stopped("web-id", "web", 0, NOON, 4))
    stop = RunHook(frozenset(), "actionCommand", {"command": "docker stop web"})
    for plan_id, hooks, is_tried in (("a", (stop,), False), ("b", (), True)):
        with left.resumer.plans.running(RunPlan(plan_id, "store", hooks=hooks)):
            assert is_tried is bool(left.start_again())
    [said] = left.start_again()
    assert said.startswith("web is stopped")


def test_our_own_container_is_no_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have taken over the name that Backrest's container had."""
    engine = SimpleNamespace(find=lambda name: Container("f" * 64, name))
    for own, expected in (("f" * 12, False), ("e" * 12, True), ("", True)):
        monkeypatch.setattr(parts_module, "own_container_id", lambda own=own: own)
        assert expected is parts_module._runs(engine, "backrest")  # type: ignore[arg-type]
    stopped = SimpleNamespace(find=lambda name: Container("e" * 64, name, state="exited"))
    assert not parts_module._runs(stopped, "backrest")  # type: ignore[arg-type]


def test_a_thread_that_fails_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says where, not what, and gives everything back."""

    def fail(_: Maintenance) -> None:
        raise RuntimeError("MARK")

    monkeypatch.setattr(Maintenance, "check", fail)
    monkeypatch.setattr("gc.freeze", lambda: None)
    hook = threading.excepthook
    world = World(tmp_path)
    assert not RunnerDaemon(world.settings, environ_of(tmp_path), lambda _: nullcontext()).run()
    (failed,) = [record for record in caplog.records if record.message == "thread.failed"]
    assert ("rounds", "RuntimeError") == tuple(
        vars(failed)["fields"][key] for key in ("thread", "reason")
    )
    assert "MARK" not in caplog.text
    assert hook is threading.excepthook
    assert not (tmp_path / ".runner" / FILE).exists()


def test_what_is_told_names_plans_and_repositories(world: World, tmp_path: Path) -> None:
    """And the last success of a plan that fails."""
    told: list[Any] = []

    class Announcing:
        """Takes notices."""

        def announce(self, notice: Any) -> None:
            """Take one."""
            told.append(notice)

    reporter = RunReporter(
        tmp_path,
        world.execution.scheduler.zone,
        world.execution.journal,
        Announcing(),  # type: ignore[arg-type]
        world.clock,
    )
    world.ran(WEB)
    reporter.began(WEB, RunCause.MANUAL)
    reporter.ended(Run(2, WEB, RunCause.MANUAL, NOON, ended=Ended(RunOutcome.FAILED, NOON + 5)))
    reporter.ended(Run(3, PRUNE, RunCause.MANUAL, NOON, ended=Ended(RunOutcome.SUCCESS, NOON + 5)))
    assert ["plan web", "plan web", "repository store"] == [notice.about for notice in told]
    assert ["began", "failed", "success"] == [notice.result for notice in told]
    assert (5.0, NOON + 60) == (told[1].seconds, told[1].last_success.timestamp())


def test_next_fires_are_found_anew_when_they_are_over_or_the_clock_was_set() -> None:
    """Else they are remembered; one timing of many plans is looked up once."""
    asked: list[float] = []

    class Counted(Scheduler):
        """Counts how often it is asked."""

        def next_fires(self, timing: Timing, after: float) -> Iterator[float]:
            """List the fires."""
            asked.append(after)
            return super().next_fires(timing, after)

    table, hourly = Timetable(Counted(UTC)), Timing("0 * * * *")
    assert HOUR == table.period(hourly, NOON)
    assert NOON + HOUR == table.next_fire(hourly, None, NOON)
    assert NOON + HOUR == table.next_fire(hourly, None, NOON + 5)
    assert [NOON, NOON] == asked
    assert NOON + 2 * HOUR == table.next_fire(hourly, None, NOON + HOUR)
    assert NOON - DAY + HOUR == table.next_fire(hourly, None, NOON - DAY)
    assert table.next_fire(Timing("0 0 31 2 *"), None, NOON) is None
    assert table.next_fire(Timing(), None, NOON) is None
    assert NOON + HOUR == table.next_fire(Timing(every_seconds=3600), None, NOON)


def test_a_timetable_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents come and go."""
    monkeypatch.setattr("sidecar.runner.timetable._MOST", 2)
    table = Timetable(Scheduler(UTC))
    for minute in range(5):
        timing = Timing(f"{minute} * * * *")
        assert HOUR == table.period(timing, NOON)
        assert table.next_fire(timing, None, NOON) is not None
    assert len(table._periods) <= 2
    assert len(table._fires) <= 2
