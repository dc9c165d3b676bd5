"""Seats: how much is done at a time, and that a repository has one writer.

Work that is submitted waits for a free seat and for its repository, in the order in which
it came; what has to wait for its repository holds no seat, and lets later work of other
repositories pass. Thus nobody waits for longer than the work before it on its own repository
takes, and the first in the line always gets the next seat that it can use.
"""

import threading
from collections.abc import Callable
from enum import StrEnum

from sidecar.runner.due import Job
from sidecar.runner.journal import RunCause

Run = Callable[[Job, RunCause], None]


class Admission(StrEnum):
    """What became of work that was submitted."""

    QUEUED = "queued"
    JOINED = "joined"
    """It waits or runs already."""
    REFUSED = "refused"
    """The pool is closing."""


class Pool:
    """`seats` threads that call `run`; each piece of work is queued or runs at most once.

    `on_done` is called in a seat's thread whenever a piece of work is done, and may be
    submitted again. `run` must not raise; if it does, `on_error` gets the exception and the
    seat goes on.
    """

    def __init__(
        self,
        run: Run,
        seats: int,
        on_done: Callable[[Job], None],
        on_error: Callable[[Job, BaseException], None],
    ) -> None:
        self._run = run
        self._on_done = on_done
        self._on_error = on_error
        self._change = threading.Condition()
        self._waiting: dict[Job, RunCause] = {}
        self._running: set[Job] = set()
        self._is_closing = False
        self._threads = [
            threading.Thread(target=self._sit, name=f"seat-{number}", daemon=True)
            for number in range(1, seats + 1)
        ]

    def start(self) -> None:
        """Open the seats."""
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job, trigger: RunCause = RunCause.SCHEDULE) -> Admission:
        """Queue a piece of work, unless it waits or runs already."""
        with self._change:
            if self._is_closing:
                return Admission.REFUSED
            if job in self._running or job in self._waiting:
                return Admission.JOINED
            self._waiting[job] = trigger
            self._change.notify_all()
            return Admission.QUEUED

    @property
    def busy(self) -> frozenset[Job]:
        """What waits or runs."""
        with self._change:
            return frozenset(self._running).union(self._waiting)

    @property
    def running(self) -> frozenset[Job]:
        """What runs."""
        with self._change:
            return frozenset(self._running)

    def close(self, patience: float) -> bool:
        """Admit nothing more, drop what waits, wait for what runs; True if that has ended.

        `patience` in seconds. May be called again.
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

    def _sit(self) -> None:
        while (taken := self._take()) is not None:
            job, trigger = taken
            try:
                self._run(job, trigger)
            except Exception as error:  # noqa: BLE001 - a poisoned piece of work must not take a seat
                self._on_error(job, error)
            finally:
                with self._change:
                    self._running.discard(job)
                    self._change.notify_all()
            self._on_done(job)

    def _take(self) -> tuple[Job, RunCause] | None:
        """Wait for the first piece of work whose repository nobody writes; None at the end."""
        with self._change:
            while not self._is_closing:
                written = {job.repo for job in self._running}
                for job in self._waiting:
                    if job.repo not in written:
                        self._running.add(job)
                        return job, self._waiting.pop(job)
                self._change.wait()
        return None
