"""Run one job in a worker: what comes before its session, and after it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from sidecar.backrest.reading import Config, Repo, RunPlan, Timing
from sidecar.engines.base import BackupType, CommandResult, FailureClass, Stats, failed
from sidecar.lib.errors import SidecarError
from sidecar.lib.process import ProcessRunner
from sidecar.lib.text import counted, render_size, short_id
from sidecar.lib.threads import places_of
from sidecar.runner.due import Job, JobKind, Missed, Retry
from sidecar.runner.empty_source import EmptySourceGuard
from sidecar.runner.execution import Execution
from sidecar.runner.gate import RepositoryGate
from sidecar.runner.job.progress import ProgressHub, RunFinished
from sidecar.runner.job.session import Session
from sidecar.runner.job.steps import RunConditions
from sidecar.runner.journal import Ended, Run, RunCause
from sidecar.runner.plan_turns import PlanTurns


@dataclass(frozen=True, slots=True)
class JobStages:
    """What a job goes through in its worker.

    Attributes:
        gate: lets it begin if its repository answers.
        emptiness: restores its plan if that has become empty, where that is wanted.
        session: runs it.
        programs: start the programs of all three.
    """

    gate: RepositoryGate
    emptiness: EmptySourceGuard
    session: Session
    programs: tuple[ProcessRunner, ...]

    def stop(self) -> None:
        """End the jobs that run; the hooks after them still run."""
        self.session.stop()
        for one in self.programs:
            one.stop_all()


class JobRunner:
    """Runs jobs of the document as it is executed now; safe for threads.

    `answers_fires` is whether a run answers the fires of its schedule.
    """

    def __init__(
        self,
        execution: Execution,
        stages: JobStages,
        hub: ProgressHub,
        now: Callable[[], float] = time.time,
        *,
        answers_fires: bool = True,
    ) -> None:
        self._document = execution.document
        self._scheduler = execution.scheduler
        self._past = execution.journal.past
        self._locks = PlanTurns(execution.journal.path.parent)
        self._reporter = execution.reporter
        self._stages = stages
        self._hub = hub
        self._now = now
        self._answers_fires = answers_fires

    def run(self, job: Job, trigger: RunCause, wanted: BackupType | None = None) -> None:
        """Run a job, a backup of the type that is wanted; how it ended goes to the hub."""
        self._hub.begin(job)
        config = self._document.now.documents.config_of(job)
        if config is None:
            # Nothing is lost: it is due anew where it is now.
            moved = f"the plan {job.subject} has moved to another repository meanwhile"
            self._hub.set_end(job, RunFinished(reason=moved))
            return
        try:
            with self._held(job):
                run = self._run(job, config, trigger, wanted)
        except SidecarError as error:
            self._reporter.dropped(job, str(error))
            self._hub.set_end(job, RunFinished(reason=str(error)))
        else:
            self._hub.set_end(job, RunFinished(run))

    @contextmanager
    def _held(self, job: Job) -> Iterator[None]:
        """Hold the plan of a job for the block; raises SidecarError if somebody restores it."""
        if job.kind not in {JobKind.BACKUP, JobKind.RESTORE}:
            yield
            return
        with self._locks.hold(job.subject) as is_free:
            if not is_free:
                reason = f"a restore of {job.subject} is at work"
                raise SidecarError(reason, "it is run when that has ended")
            yield

    def finish(self, job: Job) -> RunFinished:
        """Publish how a job has ended, and return that."""
        return self._hub.finish(job)

    def failed(self, job: Job, error: BaseException) -> None:
        """Report an unforeseen exception by its class and place; its text might hold a secret."""
        where = ", ".join(places_of(error.__traceback__))
        self._reporter.dropped(job, f"unforeseen: {type(error).__name__} at {where}")

    def _run(
        self, job: Job, config: Config, trigger: RunCause, wanted: BackupType | None
    ) -> Run | None:
        executed = self._document.now
        if reason := executed.blocker(job):
            raise SidecarError(reason, "correct the document")
        plan = config.plan(job.subject) if job.kind in {JobKind.BACKUP, JobKind.RESTORE} else None
        if job.kind is JobKind.RESTORE:
            if plan is not None:
                self._refill(plan, trigger)
            return None
        timing = executed.timings.get(job) if self._answers_fires else None
        answers = self._answers(job, timing, trigger)
        self._report_missed(job, timing)
        self._reporter.began(job, trigger)
        repo = config.repo(job.repo)
        away = None if repo is None else self._refusal(repo, trigger)
        lost, restored = None, ""
        if plan is not None and away is None:
            lost, restored = self._refill(plan, trigger)
        conditions = RunConditions(answers, away or lost, restored, wanted)
        report = partial(self._hub.publish, job)
        run = self._stages.session.run(job, config, trigger, report, conditions)
        if repo is not None and away is None and run.ended is not None:
            self._stages.gate.note(repo, run.ended)
        if plan is not None and run.ended is not None and run.ended.snapshot:
            stats = run.ended.stats
            has_saved = stats is not None and stats.files_processed > 0
            self._stages.emptiness.remember(plan, has_saved=has_saved)
        return run

    def _answers(self, job: Job, timing: Timing | None, trigger: RunCause) -> Retry | None:
        """Return the fire that a run answers, also one that a person has begun; None: none.

        A fire that waits to be tried again is given up where there is a later one.
        """
        known = self._past.history().past.get(job)
        now = self._now()
        waiting = None if known is None else known.retry
        if known is not None and timing is not None:
            fire = self._scheduler.last_fire(timing, known.moments, now)
            if fire is not None:
                if waiting is not None and waiting.at is not None:
                    self._reporter.missed(Missed(job, waiting.fire, waiting.fire, 1), now)
                return Retry(fire)
        if trigger is RunCause.RETRY and waiting is not None:
            return replace(waiting, at=None)
        return None if trigger is RunCause.MANUAL else Retry(now)

    def _refusal(self, repo: Repo, trigger: RunCause) -> CommandResult | None:
        """Return why a repository cannot be used; None if it can."""
        return self._stages.gate.refusal(repo, is_asked_for=trigger is RunCause.MANUAL)

    def _report_missed(self, job: Job, timing: Timing | None) -> None:
        """Report the fires that came while it waited: this run answers the last one only."""
        known = self._past.history().moments.get(job)
        if known is None or timing is None:
            return
        now = self._now()
        missed = self._scheduler.missed_while_waiting(job, timing, known, now)
        if missed is not None:
            self._reporter.missed(missed, now)

    def _refill(self, plan: RunPlan, trigger: RunCause) -> tuple[CommandResult | None, str]:
        """Restore a plan that has become empty, where that is wanted.

        Return how that failed, for a plan that is half restored must not be backed up; else what
        was restored, in a sentence, which is empty if that was nothing.
        """
        _, ended = self._stages.emptiness.refill(plan, trigger)
        if ended is None:
            return None, ""
        if ended.outcome.is_good:
            return None, _render_restored(ended)
        reason = f"the plan is empty and could not be restored: {ended.reason}"
        return failed(ended.failure or FailureClass.UNKNOWN, reason), ""


def _render_restored(ended: Ended) -> str:
    """Return `1 file of 3 B was restored before, from snapshot 252d6209`, and what was not well."""
    stats = ended.stats or Stats()
    files, size = counted(stats.files_processed, "file"), render_size(stats.bytes_processed)
    verb = "was" if stats.files_processed == 1 else "were"
    said = f"{files} of {size} {verb} restored before, from snapshot {short_id(ended.snapshot)}"
    return "; ".join(filter(None, (said, ended.reason)))
