"""Check stopped containers, disks and repositories each minute, in threads beside the runs."""

import logging
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.backrest.reading import Repo
from sidecar.engines.base import EngineError, Engines
from sidecar.lib.log import log_event
from sidecar.lib.process import ProcessRunner
from sidecar.lib.threads import Worker
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.job.upkeep import Prober
from sidecar.runner.leftovers import Leftovers
from sidecar.runner.repositories import Initialiser
from sidecar.service.signals import SignalWaiter

_SECONDS = 60.0
_log = logging.getLogger(__name__)


class _EachMinute(Worker):
    """A thread that calls `check` each minute."""

    @abstractmethod
    def check(self) -> None:
        """Check everything once."""

    def _run(self) -> None:
        while not self._closing.is_set():
            self.check()
            self._closing.wait(_SECONDS)


class Maintenance(_EachMinute):
    """Starts containers again that were left stopped, and wakes the loop when a result is new.

    This thread touches no path of a plan or repository: a file server that is gone must not keep
    containers from starting.

    Attributes:
        stopped: a sentence for each container that could not be started again.
    """

    def __init__(self, leftovers: Leftovers, waiter: SignalWaiter) -> None:
        super().__init__("rounds")
        self._leftovers = leftovers
        self._waiter = waiter
        self.stopped: tuple[str, ...] = ()

    def check(self) -> None:
        """Start what is stopped."""
        before = self.stopped
        # Why it could not be started is in the log.
        self.stopped = tuple(one.partition(":")[0] for one in self._leftovers.start_again())
        if before != self.stopped:
            self._waiter.wake()


class DiskUsage(_EachMinute):
    """Measures how full disks are, and wakes the loop when that has changed.

    These are the disks of `state`, the state folder, and of the document's local repositories. A
    file server that is gone may let it wait for ever, so this is a thread of its own.

    Attributes:
        disks: how full each disk is, from 0 to 1, by path.
    """

    def __init__(self, state: Path, document: ExecutedDocument, waiter: SignalWaiter) -> None:
        super().__init__("disks")
        self._state = state
        self._document = document
        self._waiter = waiter
        self.disks: Mapping[str, float] = {}

    def check(self) -> None:
        """Measure each disk once."""
        before = self.disks
        self.disks = used_parts(self._state, self._document.now.documents.usable_repos)
        if before != self.disks:
            self._waiter.wake()

    @property
    def _join_seconds(self) -> float | None:
        return 1.0


@dataclass(frozen=True, slots=True)
class Probing:
    """Asks repositories whether they answer, and creates those that ask for it.

    `engines` are those of both, `programs` starts their programs.
    """

    prober: Prober
    initialiser: Initialiser
    engines: Engines
    programs: ProcessRunner


class RepositoryProbes(_EachMinute):
    """Probes repositories that are due, and wakes the loop when a result has changed.

    Those that ask for it are created before. One that does not answer takes a minute: containers
    must not wait for it, so this is a thread of its own.
    """

    def __init__(self, probing: Probing, document: ExecutedDocument, waiter: SignalWaiter) -> None:
        super().__init__("probes")
        self._probing = probing
        self._document = document
        self._waiter = waiter
        self._told: dict[str, str] = {}

    def check(self) -> None:
        """Probe each repository that is due."""
        prober, repos = self._probing.prober, self._document.now.documents.usable_repos
        before = prober.last()
        prober.keep_only(repos)
        for repo in prober.due(repos):
            if not self._closing.is_set():
                self._probing.initialiser.ensure(repo)
                if prober.run(repo).is_reachable:
                    self._tell_remark(repo)
        if before != prober.last():
            self._waiter.wake()

    def _tell_remark(self, repo: Repo) -> None:
        """Log, once, what a repository keeps otherwise than files and retentions say."""
        plans = self._document.now.own.plans
        kept = [plan.retention for plan in plans if plan.repo == repo.id and plan.retention]
        try:
            remark = self._probing.engines.make(repo).remark(kept)
        except EngineError as error:
            # A run fails with the same.
            remark = str(error)
        if remark and remark != self._told.get(repo.id):
            log_event(_log, logging.INFO, "repository.remark", repo=repo.id, remark=remark)
        self._told[repo.id] = remark

    def _interrupt(self) -> None:
        self._probing.programs.stop_all()


def used_parts(state: Path, repos: Iterable[Repo]) -> dict[str, float]:
    """Return how full the disks of the state folder and of local repositories are, from 0 to 1.

    Of several paths on one disk only the first is named; what does not exist is left out.
    """
    found: dict[str, float] = {}
    known: set[int] = set()
    for path in (str(state), *(repo.uri for repo in repos)):
        if not path.startswith("/"):
            continue
        try:
            device, disk = os.stat(path).st_dev, os.statvfs(path)  # noqa: PTH116 - as it is written
        except OSError:
            continue
        used = disk.f_blocks - disk.f_bfree
        if device not in known and used + disk.f_bavail:
            # As df counts: what only root may use is no space for anybody else.
            found[path] = round(used / (used + disk.f_bavail), 4)
            known.add(device)
    return found
