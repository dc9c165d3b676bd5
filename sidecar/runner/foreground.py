"""Run jobs in the foreground, without a daemon: `backrest-runner run`, dry runs."""

import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from queue import Empty

from sidecar.backrest.engine_name import EngineName, engine_of
from sidecar.backrest.reading import Config, Repo, RunPlan
from sidecar.engines.access import expand
from sidecar.engines.base import (
    BackupType,
    CommandResult,
    Engine,
    EngineError,
    FailureClass,
    HeldLock,
    Report,
    ResultKind,
    failed,
)
from sidecar.runner.backrest_work import find_work
from sidecar.runner.control import check_type
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Job
from sidecar.runner.execution import Execution
from sidecar.runner.hooks.check import name_plan, name_repo
from sidecar.runner.identity import switch_user
from sidecar.runner.job.events import EVENTS
from sidecar.runner.job.progress import Event, ProgressHub, RunFinished, Subscription
from sidecar.runner.job.worker import JobRunner, JobStages
from sidecar.runner.journal import Journal, JournalError, RunCause
from sidecar.runner.loader import load
from sidecar.runner.lock_records import JournalLockRecords
from sidecar.runner.parts import assemble, lock_scheduler, make_engine
from sidecar.runner.pool import Pool
from sidecar.runner.repositories import FILE, KnownRepositories
from sidecar.runner.settings import JOURNAL, RunnerSettings
from sidecar.runner.source_links import refuse_links
from sidecar.runner.union import Documents
from sidecar.service.signals import SignalWaiter

# While it waits it checks so often whether a signal came.
_POLL_SECONDS = 0.5
_CREATED = "the repository is not there yet: the run creates it, and all files are new"
_LAST_PATIENCE = 600.0


def run_here(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    documents: Documents,
    jobs: Sequence[Job],
    accepted: Collection[str] = (),
    wanted: BackupType | None = None,
) -> Generator[tuple[Job, Event]]:
    """Run jobs of the documents one after another; yield how far each is, and last how it ended.

    Close the iterator where it is not read to its end. `accepted` are the ids of plans that may
    hold no file, until they hold some again. `wanted` is the type of the backups; None: their
    engines choose.

    SIGTERM and SIGINT end what runs, its hooks run all the same, and nothing more begins.
    Raises Locked if another runner or Backrest executes the document, UsageError before anything
    is run if one of the backups cannot be of that type.
    """
    environ = switch_user(settings, environ)
    with ExitStack() as stack:
        stack.enter_context(lock_scheduler(settings, environ, "run"))
        waiter = stack.enter_context(SignalWaiter())
        stack.enter_context(waiter.install_signals())
        parts = stack.enter_context(assemble(settings, environ, documents))
        if wanted is not None:
            for job in jobs:
                check_type(job, documents.config, parts.probing.engines, wanted)
        parts.leftovers.recover()
        for plan in accepted:
            parts.execution.journal.findings.accept_empty(plan, time.time())
        parts.delivery.start()
        yield from Foreground(parts.execution, parts.stages, waiter, wanted=wanted).run(jobs)


class Foreground:
    """One worker, whose progress is shown."""

    def __init__(
        self,
        execution: Execution,
        stages: JobStages,
        waiter: SignalWaiter,
        now: Callable[[], float] = time.time,
        *,
        wanted: BackupType | None = None,
    ) -> None:
        self._wanted = wanted
        self._now = now
        self._past = execution.journal.past
        self._stages = stages
        self._waiter = waiter
        self._hub = ProgressHub()
        self._pool = Pool(JobRunner(execution, stages, self._hub, answers_fires=False), 1)

    def run(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Event]]:
        """Run jobs in their order, until a signal; one that is tried again lets others go first."""
        waiting = [(0.0, job) for job in jobs]
        self._pool.start()
        try:
            while waiting:
                one = min(waiting, key=lambda one: one[0])
                waiting.remove(one)
                at, job = one
                for event in self._run_at(at, job):
                    again = _next_try(event)
                    if again is None:
                        yield job, event
                    else:
                        waiting.append((again, job))
        finally:
            self._stages.stop()
            self._pool.close(_LAST_PATIENCE)

    def _run_at(self, at: float, job: Job) -> Iterator[Event]:
        """Run a job when its time has come: at once, or as its START hooks have asked for."""
        while at > self._now() and self._waiter.wait(at - self._now()):
            continue
        if not self._waiter.is_stopped:
            yield from self._run(job, RunCause.RETRY if at else RunCause.MANUAL)
            return
        if at:
            self._past.give_up(job, self._now())
        yield RunFinished(reason="it was not begun: somebody asked to end")

    def _run(self, job: Job, cause: RunCause) -> Iterator[Event]:
        with self._hub.follow(job) as subscription:
            self._pool.submit(job, cause, self._wanted)
            for event in self._events(subscription):
                yield event
                if isinstance(event, RunFinished):
                    return

    def _events(self, subscription: Subscription) -> Iterator[Event]:
        has_stopped = False
        while True:
            if self._waiter.is_stopped and not has_stopped:
                has_stopped = True
                self._stages.stop()
            try:
                yield subscription.get(timeout=_POLL_SECONDS)
            except Empty:
                continue


def _next_try(event: Event) -> float | None:
    """Return when a run that has ended is tried again; None: it is not, or has not ended."""
    if not isinstance(event, RunFinished) or event.run is None:
        return None
    return event.run.again


def run_dry(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    documents: Documents,
    job: Job,
    report: Report,
) -> CommandResult:
    """Return what the backup of a plan would do; no hook runs, nothing is recorded or sent."""
    if reason := documents.refusal(job):
        return failed(FailureClass.UNKNOWN, reason)
    config = documents.config
    engine = make_engine(settings, environ, documents, job.repo)
    plan = config.plan(job.subject) or RunPlan(job.subject, job.repo)
    if (refused := refuse_links(plan, settings.workloads_file)) is not None:
        return refused
    found = engine.preview(plan, config.instance, report)
    is_absent = found.failure is FailureClass.REPO_NOT_FOUND
    if is_absent and _is_created(settings, documents, documents.find_repo(job.repo)):
        return CommandResult(ResultKind.SUCCESS, note=_CREATED)
    return found


def _is_created(settings: RunnerSettings, documents: Documents, repo: Repo) -> bool:
    """Return whether a run creates a repository that is not there, see `Initialiser`."""
    if not repo.auto_initialise:
        return False
    path = settings.state_directory / JOURNAL
    if not path.exists():
        return not path.with_name(FILE).exists()
    try:
        with Journal(path, settings.journal_keep) as journal:
            known = KnownRepositories(journal, ExecutedDocument(documents))
            return not known.trace_of(repo)
    except JournalError:
        return False


@dataclass(frozen=True, slots=True)
class Unlocked:
    """What became of a repository's locks: those that are left; `reason` is why none is known.

    `is_restic`: they are restic's.
    """

    repo: str
    left: tuple[HeldLock, ...] = ()
    reason: str = ""
    is_restic: bool = True


def run_unlock(
    settings: RunnerSettings, environ: Mapping[str, str], names: Sequence[str]
) -> Iterator[Unlocked]:
    """Unlock repositories one after another, all if none is named. Raises SidecarError.

    Those that Backrest uses too are left alone while it is at work on any of them.
    """
    documents = load(settings.files, environ)
    environ = switch_user(settings, environ)
    with ExitStack() as stack:
        records, path = None, settings.state_directory / JOURNAL
        # Without a journal nothing is known of our own programs; restic has its own rules.
        with suppress(JournalError):
            if path.exists():
                journal = stack.enter_context(Journal(path, settings.journal_keep))
                records = stack.enter_context(JournalLockRecords(journal))
        wanted = dict.fromkeys(names or _usable_repos(documents))
        is_shared = any(name not in documents.runner_repos for name in wanted)
        work = find_work(settings, environ) if is_shared else ""
        for name in wanted:
            engine = make_engine(settings, environ, documents, name, records)
            repo = documents.find_repo(name)
            if work and name not in documents.runner_repos:
                yield Unlocked(name, reason=f"it is not unlocked: {work}")
                continue
            is_restic = engine_of(expand(repo.uri, environ)) is EngineName.RESTIC
            yield replace(_unlock(name, engine), is_restic=is_restic)


def _usable_repos(documents: Documents) -> tuple[str, ...]:
    """Return the ids of all repositories but those that no engine of ours is for."""
    return tuple(repo.id for repo in documents.config.repos if repo.id not in documents.refused)


def _unlock(repo: str, engine: Engine) -> Unlocked:
    done = engine.unlock()
    if done.kind is not ResultKind.SUCCESS and done.failure is not FailureClass.LOCKED:
        return Unlocked(repo, reason=done.reason)
    try:
        return Unlocked(repo, engine.locks())
    except EngineError as error:
        return Unlocked(repo, reason=str(error))


def hooks_of(config: Config, job: Job) -> tuple[str, ...]:
    """List the hooks that would run with a job: `hook 1 of plan web on SNAPSHOT_START`."""
    events = {event for group in _groups(job) for event in group}
    repo, plan = config.repo(job.repo), config.plan(job.subject)
    owners = [(name_repo(repo.id), repo.hooks)] if repo else []
    owners += [(name_plan(plan.id), plan.hooks)] if plan else []
    return tuple(
        f"hook {number} of {owner} on {', '.join(sorted(map(_plain, hook.conditions & events)))}"
        for owner, hooks in owners
        for number, hook in enumerate(hooks, 1)
        if hook.conditions & events
    )


def _groups(job: Job) -> Iterator[tuple[str, ...]]:
    known = EVENTS[job.kind]
    yield from (known.start, known.success, known.skipped, known.warning, known.failed)


def _plain(condition: str) -> str:
    return condition.removeprefix("CONDITION_")
