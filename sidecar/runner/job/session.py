"""One run from its begin to its end, whatever comes between, and the end of those that died.

The order is Backrest's: START hooks, stale locks, the work, the hooks after it, and after a
backup the retention. Beyond it, what START hooks stopped is started again in every case: the
hooks after the work also run where it did not come to the work, where the runner is asked to
end, and, after the runner was killed, at its next start, by what the journal says.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sidecar.backrest.reading import Config, RunPlan
from sidecar.engines.base import Interpreted, Progress, Report, failed
from sidecar.lib.errors import UsageError
from sidecar.lib.log import log_event
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.recovery import Repair, Resume, render_resume
from sidecar.runner.job.steps import EVENTS, Attempt, AttemptContext, JobScope, Programs
from sidecar.runner.journal import Journal, JournalError, Phase, Run, RunCause

_log = logging.getLogger(__name__)


def _quiet(_: Progress) -> None:
    """Show nobody how far it is."""


def _nobody(_: Run) -> None:
    """Tell nobody that it ended."""


def _allowed(_: RunPlan) -> str:
    """Know no reason not to forget."""
    return ""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session behaves; times in seconds.

    `may_forget` gives a reason not to forget snapshots of a plan, or nothing. `on_end` is
    told each run that has ended. `hook_patience`: how long hooks that a dead runner left
    running are waited for; `grace`: how long a program has to end that is asked to.
    """

    may_forget: Callable[[RunPlan], str] = _allowed
    on_end: Callable[[Run], None] = _nobody
    hook_patience: float = 60.0
    grace: float = 10.0


class Session:
    """Runs pieces of work, each in the thread that calls it.

    `work` runs what `stop` calls off, `after` what follows in any case: they have to be of
    different process runners, so that one can be stopped without the other. Both should mark
    what they start (`leftover.marked`). `now` gives unix seconds; `wait` waits so many
    seconds, or until `stop` is called.
    """

    def __init__(
        self,
        journal: Journal,
        job: Programs,
        after: Programs,
        options: SessionOptions | None = None,
        *,
        now: Callable[[], float] = time.time,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._journal = journal
        self._after = after
        self._options = options or SessionOptions()
        self._now = now
        self._stopping = threading.Event()
        self._around = AttemptContext(
            journal,
            job,
            after,
            now,
            wait or self._stopping.wait,
            self._stopping.is_set,
            self._options.may_forget,
        )

    def stop(self) -> None:
        """Begin nothing more and wait no longer; the caller ends the programs of `work`."""
        self._stopping.set()

    def run(self, job: Job, config: Config, trigger: RunCause, report: Report = _quiet) -> Run:
        """Do a piece of work; what goes wrong is in the run that comes back.

        Raises UsageError if the document has no such plan or repository.
        """
        scope = resolve_scope(job, config)
        started = self._now()
        number, unrecorded = self._begin(scope, trigger, started)
        attempt = Attempt(self._around, scope, number, report, unrecorded)
        try:
            attempt.perform()
        finally:
            run = Run(number, job, trigger, started, Phase.ENDING, attempt.ended)
            # What is not over is resumed at the next start.
            if attempt.ended is not None:
                self._journal.end(number, attempt.ended)
                self._options.on_end(run)
        return run

    def resume_all(self, config: Config | None) -> tuple[Run, ...]:
        """Put right what runs left that did not come to their end; give them as they ended.

        For the start of the only runner of this journal, before it does anything else, with
        the document if it can be read by then. If this is interrupted it is done again.
        Raises JournalError.
        """
        repair = Repair(self._journal, self._after, self._now)
        unfinished = self._journal.unfinished()
        repair.end_programs(unfinished, self._options.hook_patience, self._options.grace)
        resumed = []
        for one in unfinished:
            run = repair.resume(one, config)
            self._options.on_end(run)
            resumed.append(run)
        return tuple(resumed)

    def _begin(
        self, scope: JobScope, trigger: RunCause, at: float
    ) -> tuple[int, Interpreted | None]:
        """Record the run; where that fails, bear it in mind, and give why."""
        resume = render_resume(Resume(scope.repo, scope.plan, scope.instance))
        try:
            return self._journal.begin(scope.job, trigger, at, resume), None
        except JournalError as error:
            log_event(_log, logging.ERROR, "run.not-recorded", work=scope.job, reason=str(error))
            reason = f"{error.message}: nothing may be stopped that nobody might start again"
            unrecorded = failed(error.failure, reason)
        return self._journal.hold(scope.job, trigger, at), unrecorded


def resolve_scope(job: Job, config: Config) -> JobScope:
    """Find what a piece of work is about. Raises UsageError if it is not in the document."""
    plan = config.plan(job.subject) if job.kind is JobKind.BACKUP else None
    if job.kind not in EVENTS or (plan is None and job.kind is JobKind.BACKUP):
        raise UsageError(f"there is no {job.kind} of {job.subject!r}")
    repo = config.repo(job.repo if plan is None else plan.repo)
    if repo is None:
        raise UsageError(f"there is no repository {job.repo!r}")
    sharers = tuple(one for one in config.plans if one.repo == repo.id)
    return JobScope(job, repo, plan, config.instance, sharers)
