"""A pool of workers that run jobs: so many at a time, and one at a time for each repository.

A job that is submitted waits for a free worker and for its repository, in the order of
submission. A job that waits for its repository holds no worker, and later jobs of other
repositories pass it; jobs of repositories that were last seen out of reach let all others pass.
So no other job waits longer than the earlier jobs of its own repository take, and the first in
the queue gets the next worker that it can use.

It is the same with the containers that hooks stop: the run that ends first would start them while
another still saves. No later job takes a container for which an earlier one waits. One that has
started its containers again, and is still at work on what it has read, does not count. A job whose
plan somebody restores waits too, and keeps nobody waiting.
"""

import threading
from enum import StrEnum
from typing import Protocol

from sidecar.engines.base import BackupType
from sidecar.runner.due import Job
from sidecar.runner.journal import RunCause
from sidecar.service.signals import SignalWaiter

# So often a job that waits is looked at though nothing has ended.
_LOOK_SECONDS = 5.0


class Admission(StrEnum):
    """What the pool did with a job that was submitted."""

    QUEUED = "queued"
    JOINED = "joined"
    """It waits or runs already."""
    REFUSED = "refused"
    """The pool is closing."""


class PooledJobs(Protocol):
    """Runs the jobs of a pool, each in the thread of its worker."""

    def run(self, job: Job, trigger: RunCause, wanted: BackupType | None) -> None:
        """Run a job; a backup of the type `wanted`, None: its engine chooses. Raises nothing."""

    def failed(self, job: Job, error: BaseException) -> None:
        """Report what `run` has raised all the same."""

    def finish(self, job: Job) -> object:
        """Publish the end of a job.

        Until this returns the job cannot be submitted again: the end of this run would be taken
        for that of the next.
        """


class QueueRules:
    """Which job of the queue may run, and which comes first; all are asked often."""

    def lock_keys(self, job: Job) -> frozenset[str]:
        """Return what tells a job's repository from others.

        Two jobs whose repositories share a key never run at the same time.
        """
        return frozenset({job.repo})

    def containers(self, job: Job) -> frozenset[str]:
        """Return the names of those that its hooks stop; nor do two jobs that share one."""
        del job
        return frozenset()

    def is_held(self, job: Job) -> bool:
        """Return whether somebody keeps a job from running now, who is not in the queue."""
        del job
        return False

    def has_resumed(self, job: Job) -> bool:
        """Return whether a job that runs has started again what its hooks stopped.

        Nobody waits for that until it has ended.
        """
        del job
        return False

    def is_away(self, job: Job) -> bool:
        """Return whether the repository of a job was last seen out of reach."""
        del job
        return False


class Pool:
    """`workers` threads that run `jobs`; each job is queued or runs at most once.

    `waiter`, if there is one, is woken whenever a job has ended.
    """

    def __init__(
        self,
        jobs: PooledJobs,
        workers: int,
        rules: QueueRules | None = None,
        waiter: SignalWaiter | None = None,
    ) -> None:
        self._jobs = jobs
        self._rules = rules or QueueRules()
        self._waiter = waiter
        self._change = threading.Condition()
        self._waiting: dict[Job, tuple[RunCause, BackupType | None]] = {}
        # With what told its repository when it began, which may be renamed meanwhile, and its
        # containers then.
        self._running: dict[Job, tuple[frozenset[str], frozenset[str]]] = {}
        self._ending: set[Job] = set()
        self._is_closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"seat-{number}", daemon=True)
            for number in range(1, workers + 1)
        ]

    def start(self) -> None:
        """Start the workers."""
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        job: Job,
        trigger: RunCause = RunCause.SCHEDULE,
        wanted: BackupType | None = None,
    ) -> Admission:
        """Queue a job, unless it waits or runs already; `wanted` is the type of a backup."""
        with self._change:
            self._change.wait_for(lambda: job not in self._ending)
            if self._is_closing:
                return Admission.REFUSED
            if job in self._running or job in self._waiting:
                return Admission.JOINED
            self._waiting[job] = trigger, wanted
            self._change.notify_all()
            return Admission.QUEUED

    @property
    def busy(self) -> frozenset[Job]:
        """The jobs that wait or run."""
        with self._change:
            return frozenset(self._running).union(self._waiting)

    @property
    def running(self) -> frozenset[Job]:
        """The jobs that run."""
        with self._change:
            return frozenset(self._running)

    def close(self, patience: float) -> bool:
        """Refuse new jobs, drop what waits, wait `patience` seconds for what runs.

        Return whether all has ended. May be called again.
        """
        with self._change:
            self._is_closing = True
            self._waiting.clear()
            self._change.notify_all()
            ended = self._change.wait_for(lambda: not self._running, patience)
        if ended:
            for thread in self._threads:
                if thread.is_alive():
                    thread.join()
        return ended

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            job, trigger, wanted = taken
            try:
                self._jobs.run(job, trigger, wanted)
            except Exception as error:  # noqa: BLE001 - one bad job must not end its worker
                self._jobs.failed(job, error)
            finally:
                with self._change:
                    del self._running[job]
                    self._ending.add(job)
                    self._change.notify_all()
            try:
                self._jobs.finish(job)
            finally:
                with self._change:
                    self._ending.remove(job)
                    self._change.notify_all()
                if self._waiter is not None:
                    self._waiter.wake()

    def _take(self) -> tuple[Job, RunCause, BackupType | None] | None:
        """Wait for the first job that shares nothing with one that runs; None when closing."""
        rules = self._rules
        with self._change:
            while not self._is_closing:
                if (job := self._choose()) is not None:
                    self._running[job] = (rules.lock_keys(job), rules.containers(job))
                    return job, *self._waiting.pop(job)
                # What runs may have started its containers again, and a restore may have ended.
                self._change.wait(_LOOK_SECONDS if self._waiting else None)
        return None

    def _choose(self) -> Job | None:
        """Return the first job that may run; None if there is none."""
        written = frozenset[str]().union(*(keys for keys, _ in self._running.values()))
        taken = set[str]().union(
            *(held for job, (_, held) in self._running.items() if not self._rules.has_resumed(job))
        )
        away = None
        for job in self._waiting:
            if self._rules.is_held(job):
                continue
            containers = self._rules.containers(job)
            if written.isdisjoint(self._rules.lock_keys(job)) and taken.isdisjoint(containers):
                if not self._rules.is_away(job):
                    return job
                away = away or job
            else:
                taken |= containers
        return away
