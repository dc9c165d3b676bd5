"""Watch a file: each change is noticed, whoever makes it and however."""

import logging
import os
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

from watchfiles import Change, watch

from sidecar.lib.log import log_event
from sidecar.lib.threads import Worker

# Shorter steps would cost ten times as much when idle, and half a second is soon enough.
_STEP_MILLISECONDS = 500
_PAUSE_SECONDS = 5.0
_log = logging.getLogger(__name__)

FileState = tuple[int, ...]
"""Device, inode, size and times (ns) of a file; empty if it is missing."""


class FileListener(Protocol):
    """Is told of changes of a file, in the thread of the watcher."""

    def file_changed(self, state: FileState) -> None:
        """Take that the file is in another state now."""


class FileWatcher(Worker):
    """Tells `listener`, from a thread of its own, of each change of the file at `path`.

    The directory may be missing, may vanish and be replaced: it is checked each `pause`
    seconds. So is the file itself, for changes of which the system sends no events: those
    on a network file system, or where no more directories can be watched. The first state
    is that at construction. Closing takes at most half a second, one step.
    """

    def __init__(
        self, path: Path, listener: FileListener, *, pause: float = _PAUSE_SECONDS
    ) -> None:
        self._path = Path(os.path.abspath(path))  # noqa: PTH100 - resolving would follow the link
        self._listener = listener
        self._pause = pause
        self._seen = _state_of(self._path)
        self._is_logged = False
        super().__init__("document")

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._watch()
            except FileNotFoundError:
                self._check()
            except (OSError, RuntimeError) as error:
                # The library raises RuntimeError for some failures of the system.
                self._log_failure(error)
                self._check()
            self._closing.wait(self._pause)

    def _watch(self) -> None:
        """Watch the directory until another, or none, is in its place."""
        directory = self._path.parent
        watched = _state_of(directory)[:2]
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
                self._check()
                if _state_of(directory)[:2] != watched:
                    return

    def _check(self) -> None:
        if (seen := _state_of(self._path)) != self._seen:
            self._seen = seen
            self._listener.file_changed(seen)

    def _concerns(self, _: Change, path: str) -> bool:
        """Return whether a path is the document, what it links to beside it, or the directory."""
        names = {self._path.name}
        with suppress(OSError):
            names.add(self._path.readlink().name)
        place = Path(path)
        return place == self._path.parent or place.name in names

    def _log_failure(self, error: Exception) -> None:
        if not self._is_logged:
            self._is_logged = True
            log_event(
                _log, logging.WARNING, "document.unwatched", reason=str(error), every=self._pause
            )


def _state_of(path: Path) -> FileState:
    try:
        found = path.stat()
    except OSError:
        return ()
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return (found.st_dev, found.st_ino, found.st_size, *times)
