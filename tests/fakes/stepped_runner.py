"""A runner's loop over two documents, stepped by hand: real journal, no worker, no engine."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Job, Missed, Retry, Scheduler
from sidecar.runner.execution import Execution
from sidecar.runner.job.progress import ProgressHub
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from sidecar.runner.loader import Loader
from sidecar.runner.loop import LoopDependencies, RunnerLoop
from sidecar.runner.pool import Pool
from sidecar.runner.settings import RunnerSettings
from sidecar.runner.union import DocumentChoice

RUN_SECONDS = 60.0
"""How long a run takes by default."""
_RETRY_SECONDS = 900.0


class SteppedRunner:
    """A runner of the documents in `folder`, in UTC; `now` gives unix seconds.

    Attributes:
        missed: the fires that it has missed.
    """

    def __init__(self, folder: Path, choice: DocumentChoice, now: Callable[[], float]) -> None:
        self.missed: list[Missed] = []
        self._now = now
        self._settings = RunnerSettings(folder / "config.json", documents=choice)
        self._ends = ExitStack()
        self.journal = self._ends.enter_context(Journal(folder / "journal.sqlite"))
        self.start()

    def start(self) -> None:
        """Start it, first or again."""
        reporter: Any = SimpleNamespace(missed=self._miss)
        self.document, self.hub = ExecutedDocument(), ProgressHub()
        execution = Execution(self.document, Scheduler(UTC), self.journal, reporter)
        nothing: Any = SimpleNamespace(beat=lambda *_: None, health=lambda: None)
        self.jobs = JobRunner(execution, nothing, self.hub, self._now)
        self._pool = Pool(self.jobs, 1)
        loader = Loader(self._settings.files, {})
        self._loop = RunnerLoop(
            LoopDependencies(self._settings, execution, loader, self._pool, nothing, nothing),
            self._now,
        )

    def close(self) -> None:
        """End it."""
        self._ends.close()

    def poll(self) -> float:
        """Make a pass; return the seconds until the next one."""
        return self._loop.poll()

    @property
    def waiting(self) -> tuple[Job, ...]:
        """What waits for a worker, first in first out."""
        return tuple(self._pool._waiting)

    def begin(self, job: Job) -> int:
        """Take a job from the queue and begin it; return the number of its run."""
        self._pool._waiting.pop(job, None)
        now = self._now()
        return self.journal.runs.begin(job, RunCause.SCHEDULE, now, "", Retry(now))

    def end(self, number: int, outcome: RunOutcome = RunOutcome.SUCCESS) -> None:
        """End a run; one that failed is tried again after a quarter of an hour."""
        now = self._now()
        again = Retry(now, at=now + _RETRY_SECONDS, tries=1)
        self.journal.runs.end(
            number, Ended(outcome, now + RUN_SECONDS), None if outcome.is_good else again
        )

    def _miss(self, missed: Missed, at: float) -> None:
        self.missed.append(missed)
        self.journal.past.missed(missed, at)
