"""The runner's loop: read the document, submit what is due, record that all is well."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sidecar.backrest.reading import Config, Timing
from sidecar.lib.log import log_event
from sidecar.runner.due import (
    InHand,
    Job,
    JobKind,
    Moments,
    Scheduler,
    all_jobs,
    backup_job,
    moved_jobs,
)
from sidecar.runner.execution import Execution
from sidecar.runner.hooks.check import HookProblem
from sidecar.runner.journal import RunCause
from sidecar.runner.loader import Loader
from sidecar.runner.pool import Pool
from sidecar.runner.report import RunnerReport
from sidecar.runner.settings import RunnerSettings
from sidecar.runner.union import Documents
from sidecar.service.heartbeat import Heartbeat

_log = logging.getLogger(__name__)
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class LoopDependencies:
    """What the loop works with."""

    settings: RunnerSettings
    execution: Execution
    loader: Loader
    pool: Pool
    status: RunnerReport
    heartbeat: Heartbeat


class RunnerLoop:
    """Does one pass whenever it is called, in one thread; `now` gives unix seconds."""

    def __init__(
        self, dependencies: LoopDependencies, now: Callable[[], float] = time.time
    ) -> None:
        self._dependencies = dependencies
        self._now = now
        self._up_since = now()
        self._version = 0
        self._last_poll: float | None = None
        self._wanted: dict[Job, Timing] = {}
        self._runnable: frozenset[Job] = frozenset()
        self._theirs: frozenset[str] = frozenset()
        self._last: dict[str, Job] = {}
        self._moved: dict[Job, Job] = {}
        self._checks: dict[Job, Moments] = {}
        self._merged: Mapping[Job, Moments] = {}
        self._merged_of: tuple[Mapping[Job, Moments], Mapping[Job, Moments]] = ({}, {})

    def poll(self) -> float:
        """Read the document, submit what is due, and return the seconds until the next call."""
        dependencies, now = self._dependencies, self._now()
        self._notice_clock(now)
        loaded = dependencies.loader.refresh()
        if loaded.documents is not None and loaded.version != self._version:
            self._submit_leaving(loaded.documents, now)
            is_first = not self._version
            self._take(loaded.documents, now)
            self._version = loaded.version
            if is_first:
                self._submit_at_start(loaded.documents.executed)
        self._carry_retries()
        history = dependencies.execution.journal.past.history()
        found = dependencies.execution.scheduler.find_due(
            self._wanted,
            self._moments(),
            now,
            self._up_since,
            dependencies.settings.scheduling.catch_up,
            InHand(
                dependencies.pool.busy,
                {job: retry for job, retry in history.retries.items() if job in self._runnable},
            ),
        )
        for missed in found.missed:
            dependencies.execution.reporter.missed(missed, now)
        for due in found.due:
            if (check := self._checks.get(due.job)) is not None:
                self._checks = {**self._checks, due.job: replace(check, last_start=now)}
            cause = RunCause.RETRY if due.is_again else RunCause.SCHEDULE
            dependencies.pool.submit(due.job, cause)
        dependencies.status.beat()
        dependencies.heartbeat.beat(now, dependencies.status.health())
        return found.next_wake - now

    def _moments(self) -> Mapping[Job, Moments]:
        """Return what is recorded of all jobs: the same object as long as nothing has changed."""
        recorded = self._dependencies.execution.journal.past.history().moments
        if not self._checks:
            return recorded
        of = (recorded, self._checks)
        if self._merged_of[0] is not of[0] or self._merged_of[1] is not of[1]:
            self._merged, self._merged_of = {**recorded, **self._checks}, of
        return self._merged

    def _notice_clock(self, now: float) -> None:
        """Pull back what lies ahead, at the start and whenever the clock was set back.

        A clock that is ahead for less than the time between two looks is told by what was
        planned meanwhile.
        """
        last, self._last_poll = self._last_poll, now
        retries = self._dependencies.execution.journal.past.history().retries
        was_ahead = any(retry.is_too_far(now) for retry in retries.values())
        if last is not None and last <= now and not was_ahead:
            return
        self._up_since = min(self._up_since, now)
        self._checks = {job: known.pulled_back(now) for job, known in self._checks.items()}
        if ahead := self._dependencies.execution.journal.past.pull_back(now):
            names = sorted({job.subject for job in ahead})
            log_event(
                _log, logging.WARNING, "clock.set-back", count=len(ahead), names=names[:_MOST_NAMED]
            )

    def _take(self, documents: Documents, now: float) -> None:
        """Use other documents from now on."""
        execution, config = self._dependencies.execution, documents.executed
        executed = execution.document.take(documents)
        wanted, blocker = executed.timings, executed.blocker
        self._follow_plans(documents, wanted, now)
        execution.journal.past.first_seen(wanted, now)
        self._wanted = {job: timing for job, timing in wanted.items() if not blocker(job)}
        # Also what has no schedule: a person asked for it, and its START hooks for another try.
        self._runnable = frozenset(job for job in all_jobs(config) if not blocker(job))
        self._take_checks(config, now)
        for problem in executed.problems:
            _log_problem(problem)

    def _submit_leaving(self, documents: Documents, now: float) -> None:
        """Submit what is due by now of plans that Backrest executes from now on.

        It knows nothing of what has failed for a time either: that is tried once more.
        """
        theirs, execution = documents.backrest_plans, self._dependencies.execution
        leaving = {
            job: timing
            for job, timing in self._wanted.items()
            if job.kind is JobKind.BACKUP and job.subject in theirs
        }
        if leaving:
            scheduler = Scheduler(execution.scheduler.zone)
            found = scheduler.find_due(leaving, self._moments(), now, self._up_since)
            waiting = execution.journal.past.history().retries.keys() & leaving.keys()
            for job in (*(due.job for due in found.due), *sorted(waiting)):
                self._dependencies.pool.submit(job)

    def _follow_plans(self, documents: Documents, wanted: Mapping[Job, Timing], now: float) -> None:
        """Let what is known of plans go with them, to another repository or document."""
        past = self._dependencies.execution.journal.past
        theirs = documents.backrest_plans
        known = past.history().past
        backups = [job for job in known if job.kind is JobKind.BACKUP]
        from_backrest = [
            job for job in wanted if job.kind is JobKind.BACKUP and job.subject in self._theirs
        ]
        past.take_over([*from_backrest, *(job for job in backups if job.subject in theirs)], now)
        # While the runner was down, what has moved is told by which was the last of each plan.
        latest = sorted(backups, key=lambda job: known[job].moments.latest)
        moved = moved_jobs(self._last.values() if self._version else latest, wanted)
        past.carry_over(moved)
        before = {new: old for new, old in self._moved.items() if new in wanted}
        self._moved = {**before, **moved}
        self._theirs = theirs
        waiting = {plan.id for plan in documents.moving} - theirs
        self._last = {
            **{subject: job for subject, job in self._last.items() if subject in waiting},
            **{job.subject: job for job in wanted if job.kind is JobKind.BACKUP},
        }

    def _carry_retries(self) -> None:
        """Let a run that has failed since its plan has moved be tried again where it is now."""
        past = self._dependencies.execution.journal.past
        waiting = past.history().retries
        stranded = {new: old for new, old in self._moved.items() if old in waiting}
        if stranded:
            past.carry_over(stranded)

    def _take_checks(self, config: Config, now: float) -> None:
        """Check for plans that have become empty also apart from their backups."""
        settings = self._dependencies.settings
        empty = [plan for plan in config.plans if settings.emptiness.wants(plan.id)]
        jobs = [Job(JobKind.RESTORE, plan.id, plan.repo) for plan in empty]
        known = self._checks
        self._checks = {job: known.get(job, Moments(first_seen=now)) for job in jobs}
        if settings.restore_check:
            self._wanted |= dict.fromkeys(jobs, Timing(settings.restore_check))

    def _submit_at_start(self, config: Config) -> None:
        """Submit what runs once, at the start."""
        pool = self._dependencies.pool
        for job in self._checks:
            pool.submit(job, RunCause.START)
        if self._dependencies.settings.scheduling.backup_on_start:
            for plan in config.plans:
                if plan.timing.is_active:
                    pool.submit(backup_job(plan), RunCause.START)


def _log_problem(problem: HookProblem) -> None:
    level = logging.ERROR if problem.blocks else logging.WARNING
    what = "nothing is run that it belongs to" if problem.blocks else "it is left out"
    fields = {"hook": f"{problem.number} of {problem.owner}", "consequence": what}
    log_event(_log, level, "hook.unusable", reason=problem.message, hint=problem.hint, **fields)
