"""Running work in front of somebody who waits for it, without a daemon."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from queue import Empty
from typing import Protocol

from sidecar.backrest.reading import Config, RunPlan
from sidecar.engines.base import Engine, Interpreted, Progress
from sidecar.lib.errors import UsageError
from sidecar.lib.process import ProcessRunner
from sidecar.runner.due import Job
from sidecar.runner.hooks.check import name_plan, name_repo
from sidecar.runner.identity import switch_user
from sidecar.runner.job.progress import ProgressHub, RunFinished, Subscription
from sidecar.runner.job.steps import EVENTS
from sidecar.runner.job.worker import JobRunner
from sidecar.runner.journal import RunCause
from sidecar.runner.loader import load
from sidecar.runner.parts import EngineFactory, RunnerDependencies, assemble, lock_scheduler
from sidecar.runner.pool import Pool
from sidecar.runner.settings import RunnerSettings, environment_of
from sidecar.service.signals import SignalWaiter

# So often the wait looks whether it is time to end.
_SECONDS = 0.5

Show = Callable[[Job, Progress], None]
Choose = Callable[[Config], Sequence[Job]]


class ProgressCallback(Protocol):
    """What is told of each run."""

    def __call__(self, job: Job, over: RunFinished) -> None:
        """Tell how a run ended."""
        ...


def run_here(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    choose: Choose,
    show: Show,
    tell: ProgressCallback,
) -> None:
    """Run what `choose` gives of the document, one after another.

    SIGTERM and SIGINT end what runs, its hooks run all the same, and nothing more begins.
    Raises Locked where somebody else executes the document, UsageError, and what is wrong
    with the document.
    """
    config = load(settings.config)
    jobs = choose(config)
    environ = switch_user(settings, environ)
    with ExitStack() as stack:
        stack.enter_context(lock_scheduler(settings, environ, "run"))
        waiter = stack.enter_context(SignalWaiter())
        stack.enter_context(waiter.install_signals())
        parts = stack.enter_context(assemble(settings, environ))
        parts.recover_leftovers(config)
        parts.delivery.start()
        Foreground(parts, config, waiter).run(jobs, show, tell)


class Foreground:
    """One seat, and somebody who watches it."""

    def __init__(self, parts: RunnerDependencies, config: Config, waiter: SignalWaiter) -> None:
        self._parts = parts
        self._waiter = waiter
        self._hub = ProgressHub()
        self._jobs = JobRunner(parts, self._hub, lambda _: None)
        self._jobs.take(config, {})
        self._pool = Pool(self._jobs.run, 1, self._done, self._jobs.failed)

    def run(self, jobs: Sequence[Job], show: Show, tell: ProgressCallback) -> None:
        """Run them in their order, until it is time to end."""
        self._pool.start()
        try:
            for job in jobs:
                if self._waiter.is_stopped:
                    tell(job, RunFinished(reason="it was not begun: somebody asked to end"))
                else:
                    tell(job, self._run(job, show))
        finally:
            self._parts.stop()
            self._pool.close(600)

    def _run(self, job: Job, show: Show) -> RunFinished:
        with self._hub.follow(job) as subscription:
            self._pool.submit(job, RunCause.MANUAL)
            for told in self._news(subscription):
                if isinstance(told, RunFinished):
                    return told
                show(job, told)
        raise AssertionError("the news of a run end with its end")

    def _news(self, subscription: Subscription) -> Iterator[Progress | RunFinished]:
        has_stopped = False
        while True:
            if self._waiter.is_stopped and not has_stopped:
                has_stopped = True
                self._parts.stop()
            try:
                yield subscription.get(timeout=_SECONDS)
            except Empty:
                continue

    def _done(self, job: Job) -> None:
        self._hub.done(job)


def run_dry(
    settings: RunnerSettings, environ: Mapping[str, str], config: Config, job: Job, show: Show
) -> Interpreted:
    """Let restic say what the backup of a plan would do; no hook runs, nothing is recorded."""
    engine = make_engine(settings, environ, config, job.repo)
    plan = config.plan(job.subject) or RunPlan(job.subject, job.repo)
    dry = replace(plan, backup_flags=(*plan.backup_flags, "--dry-run"))
    return engine.backup(dry, config.instance, lambda progress: show(job, progress))


def make_engine(
    settings: RunnerSettings, environ: Mapping[str, str], config: Config, repo: str
) -> Engine:
    """Make the engine of a repository of the document; raises UsageError if there is none."""
    found = config.repo(repo)
    if found is None:
        raise UsageError(f"there is no repository {repo!r}")
    return EngineFactory(settings, environ).make(ProcessRunner(environment_of(environ)), found)


def hooks_of(config: Config, job: Job) -> tuple[str, ...]:
    """Name the hooks that would run with a piece of work, and on which events, in words."""
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
