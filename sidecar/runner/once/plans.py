"""Backing up once by the plans of the document, as the daemon would."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from queue import SimpleQueue

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import FailureClass
from sidecar.lib.errors import UsageError
from sidecar.runner.due import Job, backup_job
from sidecar.runner.job.progress import Event, ProgressHub, RunFinished
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from sidecar.runner.loader import load_whole
from sidecar.runner.once.once import PURPOSE, Result, make_state_folder
from sidecar.runner.parts import RunnerParts, assemble, lock_scheduler
from sidecar.runner.pool import Pool
from sidecar.runner.settings import RunnerSettings
from sidecar.runner.union import Documents

ShowEvent = Callable[[Job, Event], None]
"""Shows how far a run is, and how it ended."""

# How long runs have to end, once everything else is over.
_END_SECONDS = 600.0
_RESULTS = {
    RunOutcome.SUCCESS: Result.DONE,
    RunOutcome.SKIPPED: Result.DONE,
    RunOutcome.WARNING: Result.WARNING,
}


class PlansStrategy:
    """Backs up by the plans: each enabled one once, `--seats` of them at a time.

    See `BackupStrategy`.
    """

    def __init__(
        self, settings: RunnerSettings, environ: Mapping[str, str], show: ShowEvent
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._show = show

    @property
    def container(self) -> str:
        """Empty: it creates no container."""
        return ""

    def preview(self) -> tuple[str, ...]:
        """Return which plans would be run, in words."""
        return tuple(
            f"run plan {plan.id}: {', '.join(plan.paths)} into repository {plan.repo}"
            for plan in self.prepare().plans
        )

    def prepare(self) -> "PreparedPlans":
        """Read the documents; raises UsageError if no plan is enabled."""
        prepared = PreparedPlans(
            self._settings,
            self._environ,
            load_whole(self._settings.files, self._environ),
            self._show,
        )
        if not prepared.plans:
            raise UsageError(
                f"{self._settings.config} has no enabled plan: nothing would be backed up",
                "run backrest-sidecar reconcile first, or see backrest-sidecar schedule",
            )
        return prepared


@dataclass(frozen=True, slots=True)
class PreparedPlans:
    """The documents whose plans are backed up; see `PreparedBackup`."""

    settings: RunnerSettings
    environ: Mapping[str, str] = field(repr=False)
    documents: Documents = field(repr=False)
    show: ShowEvent

    @property
    def plans(self) -> tuple[RunPlan, ...]:
        """The enabled plans."""
        return tuple(plan for plan in self.documents.executed.plans if plan.timing.is_active)

    @contextmanager
    def opened(self) -> Iterator[tuple["OpenPlans", Journal]]:
        """Lock the documents, and assemble what runs their plans."""
        make_state_folder(self.settings)
        with (
            lock_scheduler(self.settings, self.environ, PURPOSE),
            ProgressHub() as hub,
            assemble(self.settings, self.environ, self.documents, retries=False) as parts,
        ):
            parts.delivery.start()
            jobs = JobRunner(parts.execution, parts.stages, hub, answers_fires=False)
            pool = Pool(jobs, self.settings.scheduling.seats, parts.rules)
            yield OpenPlans(self, parts, hub, pool), parts.execution.journal


class OpenPlans:
    """Runs plans; see `OpenBackup`."""

    def __init__(
        self, prepared: PreparedPlans, parts: RunnerParts, hub: ProgressHub, pool: Pool
    ) -> None:
        self._jobs = [backup_job(plan) for plan in prepared.plans]
        self._show = prepared.show
        self._parts = parts
        self._hub = hub
        self._pool = pool
        self._events: SimpleQueue[tuple[Job, Event] | None] = SimpleQueue()

    def resume(self) -> None:
        """Finish runs whose process died."""
        self._parts.leftovers.recover()

    def run(self) -> Result:
        """Run all plans; one that fails stops no other."""
        with ExitStack() as stack:
            for job in self._jobs:
                stack.enter_context(self._hub.subscribe(job, partial(self._take, job)))
            self._pool.start()
            for job in self._jobs:
                self._pool.submit(job, RunCause.MANUAL)
            results = list(islice(self._results(), len(self._jobs)))
            is_over = len(results) == len(self._jobs)
            has_ended = self._pool.close(_END_SECONDS)
            self._events.put(None)
            list(self._results())
        return max(results) if is_over and has_ended else Result.FAILED

    def stop(self) -> None:
        """End the runs early; the hooks after them still run."""
        self._parts.stages.stop()
        self._events.put(None)

    def _results(self) -> Iterator[Result]:
        """Show what happens until it is stopped, and yield how each run ended."""
        for job, event in iter(self._events.get, None):
            self._show(job, event)
            if isinstance(event, RunFinished):
                yield result_of(None if event.run is None else event.run.ended)

    def _take(self, job: Job, event: Event) -> None:
        self._events.put((job, event))


def result_of(ended: Ended | None) -> Result:
    """Return what the end of a run means; None: it has not come to one."""
    if ended is None:
        return Result.FAILED
    if (ended.outcome, ended.failure) == (RunOutcome.CANCELLED, FailureClass.HOOK):
        # A hook said that there is nothing to back up.
        return Result.DONE
    return _RESULTS.get(ended.outcome, Result.FAILED)
