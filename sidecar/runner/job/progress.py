"""Publish the progress and the end of runs to all who follow them."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from queue import SimpleQueue

from sidecar.engines.base import Progress
from sidecar.lib.threads import Closable
from sidecar.runner.due import Job
from sidecar.runner.journal import Run


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event of a job: the run as it ended, or, without a run, why there is none."""

    run: Run | None = None
    reason: str = ""


Event = Progress | RunFinished
Subscription = SimpleQueue[Event]


class ProgressHub(Closable):
    """Passes events of jobs from the workers to all who follow them; safe for threads.

    For each run a worker calls `begin`, `publish` as often as there is progress, `set_end`, and
    at last `finish`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: dict[Job, list[Callable[[Event], None]]] = defaultdict(list)
        self._progress: dict[Job, Progress | None] = {}
        self._ends: dict[Job, RunFinished] = {}
        self._closed: RunFinished | None = None

    def close(self) -> None:
        """Send all followers, also those to come, that the runner stops."""
        with self._lock:
            self._closed = RunFinished(reason="the runner stops")
            for put in chain.from_iterable(self._subscribers.values()):
                put(self._closed)

    @contextmanager
    def follow(self, job: Job) -> Iterator[Subscription]:
        """Yield a queue of the events of a job from now on; the last is a `RunFinished`.

        Follow first and submit then: otherwise the end of a run that is joined may be missed.
        """
        subscription: Subscription = SimpleQueue()
        with self.subscribe(job, subscription.put):
            yield subscription

    @contextmanager
    def subscribe(self, job: Job, put: Callable[[Event], None]) -> Iterator[None]:
        """Pass the events of a job to `put`, in the threads in which they happen.

        It must not wait, and is not called any more when the context has been left.
        """
        with self._lock:
            if self._closed is not None:
                put(self._closed)
            self._subscribers[job].append(put)
        try:
            yield
        finally:
            with self._lock:
                self._subscribers[job].remove(put)
                if not self._subscribers[job]:
                    del self._subscribers[job]

    def begin(self, job: Job) -> None:
        """Note that a job runs."""
        with self._lock:
            self._progress[job] = None

    def publish(self, job: Job, progress: Progress) -> None:
        """Send followers how far a job is."""
        with self._lock:
            self._progress[job] = progress
            self._send(job, progress)

    def set_end(self, job: Job, end: RunFinished) -> None:
        """Note how a run ended; `finish` sends it, when the job may be submitted again."""
        with self._lock:
            self._ends[job] = end

    def finish(self, job: Job) -> RunFinished:
        """Send followers how a run ended, and return that."""
        with self._lock:
            self._progress.pop(job, None)
            end = self._ends.pop(job, RunFinished(reason="it broke down in the runner itself"))
            self._send(job, end)
            return end

    @property
    def running(self) -> Mapping[Job, Progress | None]:
        """The jobs that run, and how far they are; None: nothing is known yet."""
        with self._lock:
            return dict(self._progress)

    def _send(self, job: Job, event: Event) -> None:
        for put in self._subscribers.get(job, ()):
            put(event)
