"""Watching over the document: whoever changes it, somebody looks."""

import logging
import os
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from watchfiles import Change, watch

from sidecar.lib.log import log_event
from sidecar.lib.threads import Worker

# Shorter steps would notice no sooner what matters, and cost ten times as much when idle.
_STEP_MILLISECONDS = 500
_PAUSE_SECONDS = 5.0
_log = logging.getLogger(__name__)

_Sight = tuple[int, ...]


class FileWatcher(Worker):
    """Calls `on_change` in a thread of its own, once for each change of the file at `path`.

    The directory may be missing, may vanish and be replaced: it is looked for each `pause`
    seconds. So is the file itself, for changes that no directory tells: those on a network
    file system, or where no more directories can be watched. The file of the moment of
    construction is the first that later ones are compared with. Closing takes a step of half
    a second at the most.
    """

    def __init__(
        self, path: Path, on_change: Callable[[], None], *, pause: float = _PAUSE_SECONDS
    ) -> None:
        self._path = Path(os.path.abspath(path))  # noqa: PTH100 - resolving would follow the link
        self._on_change = on_change
        self._pause = pause
        self._seen = _look_at(self._path)
        self._is_told = False
        super().__init__("document")

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._watch()
            except FileNotFoundError:
                self._look()
            except (OSError, RuntimeError) as error:
                # The library tells some failures of the system by errors of its own.
                self._tell(error)
                self._look()
            self._closing.wait(self._pause)

    def _watch(self) -> None:
        """Watch the directory until another, or none, is in its place."""
        directory = self._path.parent
        watched = _look_at(directory)[:2]
        changes = watch(
            directory,
            watch_filter=self._concerns,
            step=_STEP_MILLISECONDS,
            rust_timeout=int(self._pause * 1000),
            yield_on_timeout=True,
            stop_event=self._closing,
            raise_interrupt=False,
            recursive=False,
        )
        with closing(changes):
            for _ in changes:
                self._look()
                if _look_at(directory)[:2] != watched:
                    return

    def _look(self) -> None:
        if (seen := _look_at(self._path)) != self._seen:
            self._seen = seen
            self._on_change()

    def _concerns(self, _: Change, path: str) -> bool:
        """Return whether a path is the document, what it links to beside it, or the directory."""
        names = {self._path.name}
        with suppress(OSError):
            names.add(self._path.readlink().name)
        place = Path(path)
        return place == self._path.parent or place.name in names

    def _tell(self, error: Exception) -> None:
        if not self._is_told:
            self._is_told = True
            log_event(
                _log, logging.WARNING, "document.unwatched", reason=str(error), every=self._pause
            )


def _look_at(path: Path) -> _Sight:
    """What tells one state of a file from another; empty without it."""
    try:
        found = path.stat()
    except OSError:
        return ()
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return (found.st_dev, found.st_ino, found.st_size, *times)
