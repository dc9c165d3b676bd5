"""Backing up once by the plans of the document, as the daemon would."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sidecar.backrest.reading import Config, RunPlan
from sidecar.lib.errors import UsageError
from sidecar.runner.due import Job, Missed, backup_job
from sidecar.runner.job.progress import ProgressHub, RunFinished
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.journal import Journal, RunCause, RunOutcome
from sidecar.runner.loader import load
from sidecar.runner.once.once import PURPOSE, Result, make_state
from sidecar.runner.parts import RunnerDependencies, assemble, lock_scheduler
from sidecar.runner.pool import Pool
from sidecar.runner.settings import RunnerSettings

PATIENCE = 600.0
"""Seconds that runs have to come to their end, once everything else is over."""

Tell = Callable[[Job, RunFinished], None]
"""Tells how a run ended; in the thread of its seat."""

_RESULTS = {
    RunOutcome.SUCCESS: Result.DONE,
    RunOutcome.SKIPPED: Result.DONE,
    RunOutcome.WARNING: Result.WARNING,
}


@dataclass(frozen=True, slots=True)
class _Crew:
    """Those who do the work of one call."""

    parts: RunnerDependencies
    hub: ProgressHub
    jobs: JobRunner


class PlansStrategy:
    """See `way.Way`: each enabled plan once, at most as many at a time as there are seats."""

    def __init__(self, settings: RunnerSettings, environ: Mapping[str, str], tell: Tell) -> None:
        self._settings = settings
        self._environ = environ
        self._tell = tell
        self._config = Config()
        self._plans: tuple[RunPlan, ...] = ()
        self._dependencies: _Crew | None = None
        self._results: list[Result] = []
        self._change = threading.Condition()
        self._is_stopping = False

    @property
    def container(self) -> str:
        """Make no container."""
        return ""

    def preview(self) -> tuple[str, ...]:
        """Say which plans would be run."""
        self.prepare()
        return tuple(
            f"run plan {plan.id}: {', '.join(plan.paths)} into repository {plan.repo}"
            for plan in self._plans
        )

    def prepare(self) -> None:
        """Read the document."""
        self._config = load(self._settings.config)
        self._plans = tuple(plan for plan in self._config.plans if plan.timing.is_active)
        if not self._plans:
            raise UsageError(
                f"{self._settings.config} has no enabled plan: nothing would be backed up",
                "run backrest-sidecar reconcile first, or see backrest-sidecar schedule",
            )

    @contextmanager
    def opened(self) -> Iterator[Journal]:
        """Claim the document, and put together what runs its plans."""
        make_state(self._settings)
        with (
            lock_scheduler(self._settings, self._environ, PURPOSE),
            ProgressHub() as hub,
            assemble(self._settings, self._environ) as parts,
        ):
            parts.delivery.start()
            self._dependencies = _Crew(parts, hub, JobRunner(parts, hub, _nobody))
            yield parts.journal

    def resume(self) -> None:
        """Bring runs to their end whose process died."""
        self._opened.parts.recover_leftovers(self._config)

    def run(self) -> Result:
        """Run all plans; what goes wrong with one stops no other."""
        jobs = self._opened.jobs
        # Without timings: this is no answer to any fire, so none counts as missed by it.
        jobs.take(self._config, {})
        pool = Pool(jobs.run, self._settings.scheduling.seats, self._done, jobs.failed)
        pool.start()
        with self._change:
            for plan in self._plans:
                pool.submit(backup_job(plan), RunCause.MANUAL)
            self._change.wait_for(lambda: self._is_stopping or self._is_over)
        if not pool.close(PATIENCE) or self._is_stopping:
            return Result.FAILED
        return max(self._results)

    def stop(self) -> None:
        """End what runs; the hooks after it still run."""
        with self._change:
            self._is_stopping = True
            self._change.notify_all()
        self._opened.parts.stop()

    @property
    def _opened(self) -> _Crew:
        assert self._dependencies is not None, "not opened"  # noqa: S101 - run within `opened` only
        return self._dependencies

    @property
    def _is_over(self) -> bool:
        return len(self._results) == len(self._plans)

    def _done(self, job: Job) -> None:
        over = self._opened.hub.finish(job)
        self._tell(job, over)
        ended = None if over.run is None else over.run.ended
        with self._change:
            self._results.append(
                Result.FAILED if ended is None else _RESULTS.get(ended.outcome, Result.FAILED)
            )
            self._change.notify_all()


def _nobody(_: Missed) -> None:
    """Tell nobody."""
