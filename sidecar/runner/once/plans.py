"""Backing up once by the plans of the document, as the daemon would."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.engines.base import FailureClass
from sidecar.lib.errors import UsageError
from sidecar.runner.due import Job, backup_job
from sidecar.runner.job.progress import ProgressHub, RunFinished
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from sidecar.runner.loader import load_whole
from sidecar.runner.once.once import PURPOSE, Result, make_state_folder
from sidecar.runner.parts import RunnerParts, assemble, lock_scheduler
from sidecar.runner.pool import Pool
from sidecar.runner.settings import RunnerSettings
from sidecar.runner.union import Documents

if TYPE_CHECKING:
    from sidecar.backrest.reading import RunPlan

ShowEnd = Callable[[Job, RunFinished], None]
"""Shows how a run ended; called in the thread of its worker."""

# How long runs have to end, once everything else is over.
_END_SECONDS = 600.0
_RESULTS = {
    RunOutcome.SUCCESS: Result.DONE,
    RunOutcome.SKIPPED: Result.DONE,
    RunOutcome.WARNING: Result.WARNING,
}


@dataclass(frozen=True, slots=True)
class _OpenParts:
    """What runs the plans, as long as `opened` lasts."""

    parts: RunnerParts
    hub: ProgressHub
    jobs: JobRunner


class PlansStrategy:
    """Backs up by the plans: each enabled one once, `--seats` of them at a time.

    See `BackupStrategy`.
    """

    def __init__(
        self, settings: RunnerSettings, environ: Mapping[str, str], show_end: ShowEnd
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._show_end = show_end
        self._documents = Documents()
        self._plans: tuple[RunPlan, ...] = ()
        self._open: _OpenParts | None = None
        self._results: list[Result] = []
        self._change = threading.Condition()
        self._is_stopping = False

    @property
    def container(self) -> str:
        """Empty: it creates no container."""
        return ""

    def preview(self) -> tuple[str, ...]:
        """Return which plans would be run, in words."""
        self.prepare()
        return tuple(
            f"run plan {plan.id}: {', '.join(plan.paths)} into repository {plan.repo}"
            for plan in self._plans
        )

    def prepare(self) -> None:
        """Read the documents; raises UsageError if no plan is enabled."""
        self._documents = load_whole(self._settings.files, self._environ)
        plans = self._documents.executed.plans
        self._plans = tuple(plan for plan in plans if plan.timing.is_active)
        if not self._plans:
            raise UsageError(
                f"{self._settings.config} has no enabled plan: nothing would be backed up",
                "run backrest-sidecar reconcile first, or see backrest-sidecar schedule",
            )

    @contextmanager
    def opened(self) -> Iterator[Journal]:
        """Lock the documents, assemble what runs its plans, and return the journal."""
        make_state_folder(self._settings)
        with (
            lock_scheduler(self._settings, self._environ, PURPOSE),
            ProgressHub() as hub,
            assemble(self._settings, self._environ, self._documents, retries=False) as parts,
        ):
            parts.delivery.start()
            jobs = JobRunner(parts.execution, parts.stages, hub, answers_fires=False)
            self._open = _OpenParts(parts, hub, jobs)
            yield parts.execution.journal

    def resume(self) -> None:
        """Finish runs whose process died."""
        self._opened.parts.leftovers.recover()

    def run(self) -> Result:
        """Run all plans; one that fails stops no other."""
        jobs = self._opened.jobs
        seats = self._settings.scheduling.seats
        pool = Pool(jobs.run, seats, self._done, jobs.failed, self._opened.parts.rules)
        pool.start()
        with self._change:
            for plan in self._plans:
                pool.submit(backup_job(plan), RunCause.MANUAL)
            self._change.wait_for(lambda: self._is_stopping or self._is_over)
        if not pool.close(_END_SECONDS) or self._is_stopping:
            return Result.FAILED
        return max(self._results)

    def stop(self) -> None:
        """End the runs early; the hooks after them still run."""
        with self._change:
            self._is_stopping = True
            self._change.notify_all()
        self._opened.parts.stages.stop()

    @property
    def _opened(self) -> _OpenParts:
        assert self._open is not None, "not opened"  # noqa: S101 - run within `opened` only
        return self._open

    @property
    def _is_over(self) -> bool:
        return len(self._results) == len(self._plans)

    def _done(self, job: Job) -> None:
        finished = self._opened.hub.finish(job)
        self._show_end(job, finished)
        with self._change:
            self._results.append(result_of(None if finished.run is None else finished.run.ended))
            self._change.notify_all()


def result_of(ended: Ended | None) -> Result:
    """Return what the end of a run means; None: it has not come to one."""
    if ended is None:
        return Result.FAILED
    if (ended.outcome, ended.failure) == (RunOutcome.CANCELLED, FailureClass.HOOK):
        # A hook said that there is nothing to back up.
        return Result.DONE
    return _RESULTS.get(ended.outcome, Result.FAILED)
