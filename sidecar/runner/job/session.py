"""Run a job from its begin to its end, and finish runs that an earlier runner left.

The order is Backrest's: START hooks, stale locks, the engine, the hooks after it, and after a
backup the retention. An engine that has work to do when it has read the source does that after
the END commands: what was stopped does not wait for it, all other hooks do. Beyond Backrest,
locks of others are waited for before START hooks that stop something, and what START hooks
stopped is started again in every case: the hooks after the engine also run if it was never asked,
if the runner is asked to end, and, after the runner was killed, at its next start from what the
journal holds.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from sidecar.backrest.reading import Config
from sidecar.engines.base import CommandResult, Progress, Report, failed
from sidecar.lib.errors import UsageError
from sidecar.lib.log import log_event
from sidecar.runner.due import Job, JobKind, Retry
from sidecar.runner.job.events import EVENTS
from sidecar.runner.job.recovery import Resume, RunRecovery, render_resume
from sidecar.runner.job.retention_guard import RetentionGuard
from sidecar.runner.job.running import RunningPlans
from sidecar.runner.job.steps import (
    UNFORESEEN,
    Attempt,
    AttemptContext,
    JobScope,
    Programs,
    RunConditions,
)
from sidecar.runner.journal import Journal, JournalError, Phase, Run, RunCause
from sidecar.runner.retries import RetryRules

_log = logging.getLogger(__name__)


class RunReports(Protocol):
    """Where each run that has ended is reported to."""

    def ended(self, run: Run) -> None:
        """Report how a run ended."""
        ...


def _ignore(_: Progress) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session behaves.

    Attributes:
        on_purpose: the ids of plans that may be empty.
        plans: is told which plans run.
        hook_patience: seconds that hooks which a dead runner left running are waited for.
        grace: seconds that a program has to end after it was asked to.
        lock_wait: seconds that others' locks are waited for, before anything is stopped.
        retries: what is tried again.
        workloads: the sidecar's file that tells in which mounts the paths of plans lie.
        now: gives unix seconds.
        stopping: is set by `Session.stop`, and waited for.
    """

    on_purpose: frozenset[str] = frozenset()
    plans: RunningPlans = field(default_factory=RunningPlans)
    hook_patience: float = 60.0
    grace: float = 10.0
    lock_wait: float = 0.0
    retries: RetryRules = field(default_factory=RetryRules)
    workloads: Path | None = None
    now: Callable[[], float] = time.time
    stopping: threading.Event = field(default_factory=threading.Event)


class Session:
    """Runs jobs, each in the thread that calls it.

    `programs` starts the START hooks and the engine, which `stop` calls off; `cleanup` the
    hooks after them, which run in any case. They need process runners of their own, so that
    the one can be stopped without the other, and both should mark what they start (see
    `leftover_processes.marked`). Each run that has ended goes to `reports`.
    """

    def __init__(
        self,
        journal: Journal,
        programs: Programs,
        cleanup: Programs,
        reports: RunReports,
        options: SessionOptions | None = None,
    ) -> None:
        self._journal = journal
        self._cleanup = cleanup
        self._reports = reports
        self._options = options = options or SessionOptions()
        self._now = options.now
        self._context = AttemptContext(
            journal,
            RetentionGuard(journal, options.now, options.on_purpose),
            programs,
            cleanup,
            options.now,
            options.stopping,
            options.retries,
            options.lock_wait,
            options.workloads,
        )

    def stop(self) -> None:
        """Begin nothing more and wait no longer; the caller ends what `programs` has started."""
        self._options.stopping.set()

    def run(
        self,
        job: Job,
        config: Config,
        trigger: RunCause,
        report: Report = _ignore,
        conditions: RunConditions | None = None,
    ) -> Run:
        """Run a job; what goes wrong is in the run that is returned.

        Raises UsageError if the document has no such plan or repository.
        """
        scope, given = resolve_scope(job, config), conditions or RunConditions()
        started = self._now()
        past = self._journal.past.history().past.get(job)
        waiting = None if past is None else past.retry
        number, unrecorded = self._begin(scope, trigger, started, given.answers or waiting)
        run = Run(number, job, trigger, started, Phase.ENDING)
        attempt = Attempt(self._context, scope, number, self._now(), given, unrecorded)
        result, ended = attempt.halted(UNFORESEEN), None
        try:
            with self._options.plans.running(scope.plan):
                try:
                    result = attempt.start() or attempt.execute(report)
                finally:
                    # Also where something unforeseen is raised: what was stopped starts again.
                    if result.unsealed is None:
                        result = attempt.clean_up(attempt.plan_retry(result))
                        ended = result.ended(self._now())
                    else:
                        result = attempt.resume(result)
            if result.unsealed is not None:
                sealed = replace(attempt.halted(UNFORESEEN), ran=result.ran)
                try:
                    # Where a hook failed something may be stopped still.
                    with self._options.plans.sealing(None if result.notes else scope.plan):
                        sealed = attempt.seal(result, result.unsealed, report)
                finally:
                    result = attempt.clean_up(attempt.plan_retry(sealed))
                    ended = result.ended(self._now())
            with self._options.plans.running(scope.plan):
                result = attempt.retain(result)
                ended = result.ended(self._now())
        finally:
            # A run without an end is finished at the next start.
            if ended is not None:
                retry = result.retry
                # What a person asked for, and in vain, leaves the fire that waits as it is.
                keeps = given.answers is None and not ended.outcome.is_good
                self._journal.runs.end(number, ended, retry or (waiting if keeps else None))
                run = replace(run, ended=ended, again=None if retry is None else retry.at)
                self._reports.ended(run)
        return run

    def recover_runs(self, config: Config | None) -> tuple[Run, ...]:
        """Finish the runs that a runner which died has left; return them as they ended.

        Called by the only runner of this journal before it does anything else, with the
        document if it can be read by then. If this is interrupted, the next start does it
        again. Raises JournalError.
        """
        recovery = RunRecovery(self._journal, self._cleanup, self._now, self._options.retries)
        unfinished = self._journal.runs.unfinished()
        recovery.end_programs(unfinished, self._options.hook_patience, self._options.grace)
        recovered = []
        for one in unfinished:
            run = recovery.finish(one, config)
            self._reports.ended(run)
            recovered.append(run)
        return tuple(recovered)

    def _begin(
        self, scope: JobScope, trigger: RunCause, at: float, retry: Retry | None
    ) -> tuple[int, CommandResult | None]:
        """Record the run; where that fails, keep it in memory. Return its number and why."""
        resume = render_resume(Resume(scope.repo, scope.plan, scope.instance))
        try:
            return self._journal.runs.begin(scope.job, trigger, at, resume, retry), None
        except JournalError as error:
            log_event(_log, logging.ERROR, "run.not-recorded", work=scope.job, reason=str(error))
            reason = f"{error.message}: nothing may be stopped that nobody might start again"
            unrecorded = failed(error.failure, reason)
        return self._journal.runs.hold(scope.job, trigger, at, retry), unrecorded


def resolve_scope(job: Job, config: Config) -> JobScope:
    """Return what a job is about. Raises UsageError if it is not in the document."""
    plan = config.plan(job.subject) if job.kind is JobKind.BACKUP else None
    if job.kind not in EVENTS or (plan is None and job.kind is JobKind.BACKUP):
        raise UsageError(f"there is no {job.kind} of {job.subject!r}")
    repo = config.repo(job.repo if plan is None else plan.repo)
    if repo is None:
        raise UsageError(f"there is no repository {job.repo!r}")
    sharers = tuple(one for one in config.plans if one.repo == repo.id)
    return JobScope(job, repo, plan, config.instance, sharers)
