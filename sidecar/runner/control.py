"""What others may ask of a running daemon: its status, and that a job is run now.

Typed values only: `sidecar.web` serves them on the control socket and on pages.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from sidecar.backrest.reading import Config
from sidecar.engines.base import BackupType, Engines, Progress, refuse_type
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.lib.text import closest
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.progress import Event, ProgressHub, RunFinished
from sidecar.runner.journal import Findings, RunCause
from sidecar.runner.pool import Admission, Pool
from sidecar.runner.report import RunnerReport
from sidecar.runner.union import Documents

ON_DEMAND = frozenset({JobKind.BACKUP, JobKind.FORGET, JobKind.PRUNE, JobKind.CHECK})
"""The kinds of jobs that may be asked for."""
_OF_REPOSITORIES = ON_DEMAND - {JobKind.BACKUP}


class JobPhase(StrEnum):
    """What a job does while it reports no progress."""

    WAITING = "waiting"
    RUNNING = "running"


JobEvent: TypeAlias = Admission | JobPhase | Progress | RunFinished
"""What a client gets of a job: first its admission, last its end."""


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """A job that was asked for, and whether it is queued or was waiting already."""

    job: Job
    admission: Admission


@dataclass(frozen=True, slots=True)
class ControlApi:
    """The requests that a running daemon answers; safe for threads."""

    document: ExecutedDocument
    findings: Findings
    pool: Pool
    hub: ProgressHub
    status: RunnerReport
    engines: Engines

    @contextmanager
    def run(
        self,
        kind: JobKind,
        subject: str,
        put: Callable[[Event], None],
        *,
        accept_empty: bool = False,
        wanted: BackupType | None = None,
    ) -> Iterator[SubmittedJob]:
        """Run a plan's backup or a repository's upkeep now, and follow it within the context.

        `put` gets its events, from any thread; the last is a `RunFinished`. `accept_empty`: the
        plan may hold no file, until it holds some again. `wanted` is the type of a backup; None:
        its engine chooses.

        Raises UsageError if there is no such plan or repository, or if it cannot be run, or not
        of that type; SidecarError if the daemon stops.
        """
        job = resolve_job(kind, subject, self.document.now.documents)
        if reason := self.document.now.blocker(job):
            raise UsageError(f"it is not run: {reason}", "correct the document")
        if wanted is not None:
            check_type(job, self.document.now.documents.config, self.engines, wanted)
        if accept_empty:
            self.findings.accept_empty(subject, time.time())
        with self.hub.subscribe(job, put):
            admission = self.pool.submit(job, RunCause.MANUAL, wanted)
            if admission is Admission.REFUSED:
                raise SidecarError("the daemon stops", "ask again when it has been started")
            if admission is Admission.JOINED and wanted is not None:
                reason = f"a run of {subject} waits or runs already, whose type is its own"
                raise UsageError(reason, "ask again when it has ended")
            yield SubmittedJob(job, admission)

    def phase(self, job: Job) -> JobPhase:
        """Return what a job does that has been submitted and has not ended."""
        return JobPhase.RUNNING if job in self.hub.running else JobPhase.WAITING


def resolve_job(kind: JobKind, subject: str, documents: Documents) -> Job:
    """Return a job that somebody asks for by name.

    Raises UsageError if there is none such, or if this runner does not run it.
    """
    job = find_job(kind, subject, documents.config)
    if reason := documents.refusal(job):
        raise UsageError(f"{subject} is not run: {reason}")
    return job


def check_type(job: Job, config: Config, engines: Engines, wanted: BackupType) -> None:
    """Raise UsageError if no backup of that type can be made by the engine of a job.

    Raises EngineError if its repository has no engine, or none that can be started.
    """
    repo = config.repo(job.repo)
    if job.kind is not JobKind.BACKUP or repo is None:
        raise UsageError(f"{job.subject} has no backup of type {wanted.value}")
    types = engines.make(repo).capabilities().types
    if reason := refuse_type(types, wanted):
        hint = "leave the type out" if not types else ""
        raise UsageError(f"{job.subject} goes to {repo.id}: {reason}", hint)


def find_job(kind: JobKind, subject: str, config: Config) -> Job:
    """Return the job of a plan's backup or of a repository's upkeep; raises UsageError."""
    if kind in _OF_REPOSITORIES:
        if config.repo(subject) is None:
            raise UsageError(f"there is no repository {subject!r}", _known(subject, config.repos))
        return Job(kind, subject, subject)
    plan = config.plan(subject)
    if plan is None:
        raise UsageError(f"there is no plan {subject!r}", _known(subject, config.plans))
    return Job(kind, plan.id, plan.repo)


def _known(subject: str, things: tuple[Any, ...]) -> str:
    names = sorted(thing.id for thing in things)
    if not names:
        return "the document has none"
    near = closest(subject, names)
    asked = f"did you mean {near!r}? " if near else ""
    return f"{asked}there are: {', '.join(names[:10])}"
