"""What others may ask of a running daemon: how it is, and that something is run now.

Typed values only: `sidecar.web` puts them on the control socket and on pages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty
from typing import Any, TypeAlias

from sidecar.backrest.reading import Config
from sidecar.engines.base import Progress
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.progress import ProgressHub, RunFinished, Subscription
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.journal import RunCause
from sidecar.runner.pool import Admission, Pool
from sidecar.runner.status import RunnerReport

ON_DEMAND = frozenset({JobKind.BACKUP, JobKind.FORGET, JobKind.PRUNE, JobKind.CHECK})
"""What may be asked for."""
_OF_REPOSITORIES = ON_DEMAND - {JobKind.BACKUP}
# So often a follower hears that nothing is new, and is found out to be gone.
_SECONDS = 15.0


class JobPhase(StrEnum):
    """Where a job is while nothing else is to be told of it."""

    WAITING = "waiting"
    RUNNING = "running"


JobEvent: TypeAlias = Admission | JobPhase | Progress | RunFinished
"""What a follower hears of a job: first its admission, last its end."""


@dataclass(frozen=True, slots=True)
class ControlApi:
    """The daemon as others may ask it; safe for threads."""

    jobs: JobRunner
    pool: Pool
    hub: ProgressHub
    report: RunnerReport

    def run(self, kind: JobKind, subject: str) -> Iterator[JobEvent]:
        """Have a plan's backup or a repository's upkeep run now, and tell how that goes.

        Raises UsageError if there is no such plan or repository, or if it cannot be run;
        SidecarError if the daemon stops.
        """
        job = resolve_job(kind, subject, self.jobs.config)
        if reason := self.jobs.blocker(job):
            raise UsageError(f"it is not run: {reason}", "correct the document")
        with self.hub.follow(job) as subscription:
            admission = self.pool.submit(job, RunCause.MANUAL)
            if admission is Admission.REFUSED:
                raise SidecarError("the daemon stops", "ask again when it has been started")
            yield admission
            while True:
                event = self._next(subscription, job)
                yield event
                if isinstance(event, RunFinished):
                    return

    def _next(self, subscription: Subscription, job: Job) -> JobEvent:
        try:
            return subscription.get(timeout=_SECONDS)
        except Empty:
            return JobPhase.RUNNING if job in self.hub.running else JobPhase.WAITING


def resolve_job(kind: JobKind, subject: str, config: Config) -> Job:
    """Find a plan's backup, or what is done for a repository; raises UsageError."""
    if kind in _OF_REPOSITORIES:
        if config.repo(subject) is None:
            raise UsageError(f"there is no repository {subject!r}", _known(config.repos))
        return Job(kind, subject, subject)
    plan = config.plan(subject)
    if plan is None:
        raise UsageError(f"there is no plan {subject!r}", _known(config.plans))
    return Job(kind, plan.id, plan.repo)


def _known(things: tuple[Any, ...]) -> str:
    names = ", ".join(sorted(thing.id for thing in things)[:10])
    return f"there are: {names}" if names else "the document has none"
