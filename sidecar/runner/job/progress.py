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


Told = Progress | RunFinished
Subscription = SimpleQueue[Told]


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
            for news in (one for all_of in self._followers.values() for one in all_of):
                news.put(self._closed)

    @contextmanager
    def follow(self, work: Job) -> Iterator[Subscription]:
        """Give the news of a piece of work from now on, the last of which is an `Over`.

        Follow first and submit then: so the end of what is joined cannot be missed.
        """
        news: Subscription = SimpleQueue()
        with self._lock:
            if self._closed is not None:
                news.put(self._closed)
            self._followers[work].append(news)
        try:
            yield news
        finally:
            with self._lock:
                self._followers[work].remove(news)
                if not self._followers[work]:
                    del self._followers[work]

    def began(self, work: Job) -> None:
        """Note that it runs."""
        with self._lock:
            self._progress[work] = None

    def moved(self, work: Job, progress: Progress) -> None:
        """Tell how far it is."""
        with self._lock:
            self._progress[work] = progress
            self._tell(work, progress)

    def ended(self, work: Job, end: RunFinished) -> None:
        """Note how it ended; that is told by `done`, when it may be submitted again."""
        with self._lock:
            self._ends[work] = end

    def done(self, work: Job) -> RunFinished:
        """Tell how it ended."""
        with self._lock:
            self._progress.pop(work, None)
            end = self._ends.pop(work, RunFinished(reason="it broke down in the runner itself"))
            self._tell(work, end)
            return end

    @property
    def running(self) -> Mapping[Job, Progress | None]:
        """What runs, and how far it is."""
        with self._lock:
            return dict(self._progress)

    def _tell(self, work: Job, told: Told) -> None:
        for news in self._followers.get(work, ()):
            news.put(told)
