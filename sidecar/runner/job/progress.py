"""Who wants to know how a run goes: what is said of it in a seat is heard by all who follow."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue

from sidecar.engines.base import Progress
from sidecar.lib.threads import Closable
from sidecar.runner.due import Job
from sidecar.runner.journal import Run


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Nothing more comes: the run as it ended, or, without one, why there is none."""

    run: Run | None = None
    reason: str = ""


Event = Progress | RunFinished
Subscription = SimpleQueue[Event]


class ProgressHub(Closable):
    """Hands on what is told of each piece of work; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._followers: dict[Job, list[Subscription]] = defaultdict(list)
        self._progress: dict[Job, Progress | None] = {}
        self._ends: dict[Job, RunFinished] = {}
        self._closed: RunFinished | None = None

    def close(self) -> None:
        """Tell all who follow that nothing more comes."""
        with self._lock:
            self._closed = RunFinished(reason="the runner stops")
            for subscription in (one for all_of in self._followers.values() for one in all_of):
                subscription.put(self._closed)

    @contextmanager
    def follow(self, job: Job) -> Iterator[Subscription]:
        """Return the news of a piece of work from now on, the last of which is an `Over`.

        Follow first and submit then: so the end of what is joined cannot be missed.
        """
        subscription: Subscription = SimpleQueue()
        with self._lock:
            if self._closed is not None:
                subscription.put(self._closed)
            self._followers[job].append(subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._followers[job].remove(subscription)
                if not self._followers[job]:
                    del self._followers[job]

    def began(self, job: Job) -> None:
        """Note that it runs."""
        with self._lock:
            self._progress[job] = None

    def moved(self, job: Job, progress: Progress) -> None:
        """Tell how far it is."""
        with self._lock:
            self._progress[job] = progress
            self._tell(job, progress)

    def ended(self, job: Job, end: RunFinished) -> None:
        """Note how it ended; that is told by `done`, when it may be submitted again."""
        with self._lock:
            self._ends[job] = end

    def done(self, job: Job) -> RunFinished:
        """Tell how it ended."""
        with self._lock:
            self._progress.pop(job, None)
            end = self._ends.pop(job, RunFinished(reason="it broke down in the runner itself"))
            self._tell(job, end)
            return end

    @property
    def running(self) -> Mapping[Job, Progress | None]:
        """What runs, and how far it is."""
        with self._lock:
            return dict(self._progress)

    def _tell(self, job: Job, told: Event) -> None:
        for subscription in self._followers.get(job, ()):
            subscription.put(told)
