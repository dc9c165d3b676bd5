"""What is looked after beside the runs, in a thread of its own: disks, repositories, containers."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sidecar.backrest.reading import Config, Repo
from sidecar.lib.threads import Worker
from sidecar.runner.job.upkeep import Prober

_SECONDS = 60.0


class Maintenance(Worker):
    """Makes its rounds each minute, and calls `on_news` when something has changed.

    It looks how full disks are, probes repositories that are due for it (`prepare` is given
    each before that) and has `start_again` start containers that were left stopped. `stop`
    ends what runs for that.
    """

    def __init__(
        self,
        state: Path,
        config: Callable[[], Config],
        prober: Prober,
        prepare: Callable[[Repo], object],
        start_again: Callable[[], tuple[str, ...]],
        stop: Callable[[], None],
        on_news: Callable[[], None],
    ) -> None:
        super().__init__("rounds")
        self._state = state
        self._config = config
        self._prober = prober
        self._prepare = prepare
        self._start_again = start_again
        self._stop = stop
        self._on_news = on_news
        self.disks: Mapping[str, float] = {}
        self.stopped: tuple[str, ...] = ()

    def look(self) -> None:
        """Look once."""
        before = (self.disks, self.stopped, self._prober.last())
        config = self._config()
        # What the engine said of it stands in the log.
        self.stopped = tuple(one.partition(":")[0] for one in self._start_again())
        self.disks = used_parts(self._state, config.repos)
        self._prober.keep_only(config.repos)
        for repo in self._prober.due(config.repos):
            if not self._closing.is_set():
                self._prepare(repo)
                self._prober.run(repo)
        if before != (self.disks, self.stopped, self._prober.last()):
            self._on_news()

    def _run(self) -> None:
        while not self._closing.is_set():
            self.look()
            self._closing.wait(_SECONDS)

    def _interrupt(self) -> None:
        self._stop()


def used_parts(state: Path, repos: Iterable[Repo]) -> dict[str, float]:
    """Return how full the disks of the state folder and of local repositories are, from 0 to 1.

    Of several on one disk only the first is named; what is not there is left out.
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
