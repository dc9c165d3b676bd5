"""Check stopped containers, disks and repositories each minute, in threads beside the runs."""

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sidecar.backrest.reading import Config, Repo
from sidecar.lib.threads import Worker
from sidecar.runner.job.upkeep import Prober

_SECONDS = 60.0


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
    """Lets `start_again` start containers that were left stopped; tells `on_change` what is new.

    This thread touches no path of a plan or repository: a file server that is gone must not keep
    containers from starting.

    Attributes:
        stopped: a sentence for each container that could not be started again.
    """

    def __init__(
        self, start_again: Callable[[], tuple[str, ...]], on_change: Callable[[], None]
    ) -> None:
        super().__init__("rounds")
        self._start_again = start_again
        self._on_change = on_change
        self.stopped: tuple[str, ...] = ()

    def check(self) -> None:
        """Start what is stopped."""
        before = self.stopped
        # Why it could not be started is in the log.
        self.stopped = tuple(one.partition(":")[0] for one in self._start_again())
        if before != self.stopped:
            self._on_change()


class DiskUsage(_EachMinute):
    """Measures how full disks are, and calls `on_change` when that has changed.

    A file server that is gone may let it wait for ever, so this is a thread of its own.

    Attributes:
        disks: how full each disk is, from 0 to 1, by path.
    """

    def __init__(
        self, state: Path, config: Callable[[], Config], on_change: Callable[[], None]
    ) -> None:
        super().__init__("disks")
        self._state = state
        self._config = config
        self._on_change = on_change
        self.disks: Mapping[str, float] = {}

    def check(self) -> None:
        """Measure each disk once."""
        before = self.disks
        self.disks = used_parts(self._state, self._config().repos)
        if before != self.disks:
            self._on_change()

    @property
    def _join_seconds(self) -> float | None:
        return 1.0


class RepositoryProbes(_EachMinute):
    """Probes repositories that are due, and calls `on_change` when a result has changed.

    `prepare` is called with each before, `stop` ends the programs that run for that. One that does
    not answer takes a minute: containers must not wait for it, so this is a thread of its own.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        prober: Prober,
        prepare: Callable[[Repo], object],
        stop: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        super().__init__("probes")
        self._config = config
        self._prober = prober
        self._prepare = prepare
        self._stop = stop
        self._on_change = on_change

    def check(self) -> None:
        """Probe each repository that is due."""
        before, config = self._prober.last(), self._config()
        self._prober.keep_only(config.repos)
        for repo in self._prober.due(config.repos):
            if not self._closing.is_set():
                self._prepare(repo)
                self._prober.run(repo)
        if before != self._prober.last():
            self._on_change()

    def _interrupt(self) -> None:
        self._stop()


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
