"""What the sidecar remembers from run to run: small, written atomically, and expendable.

It lies in `.sidecar/` beside the document (`--state-dir`). Whatever is lost is found
again or errs on the safe side: an orphan's grace begins anew, Backrest's mounts are
read when it is seen, a document counts as not yet loaded.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidecar.docker.models import Mount
from sidecar.lib import files as atomic
from sidecar.lib.log import log_event
from sidecar.lib.read_file import read_file
from sidecar.lib.write_file import write_small
from sidecar.planner.ids import Owner

if TYPE_CHECKING:
    from pydantic import RootModel

_FILE = "state.json"
_LIMIT = 16 * 1024 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunnerSeen:
    """The backrest container as it was last seen: the name it was looked up by, its mounts."""

    name: str
    mounts: tuple[Mount, ...]


@dataclass(frozen=True, slots=True)
class ApplyTrouble:
    """An apply that failed: how often in a row, and the unix time before which to wait."""

    failures: int = 0
    not_before: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FirstRun:
    """A plan with a pause: since when there is one, and when Backrest was asked to run it.

    Times are unix seconds, `asked_at` 0 for not yet. `is_over`: it has run, or was asked for
    in vain.
    """

    seen_at: float
    asked_at: float = 0.0
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """One version of the memory; times are unix seconds, plans are given by their ids.

    Its fields are those of `state.json`.

    `engine_id`: Docker's own id. `orphans`: since when a plan is without its workload.
    `accepted`: orphans that may be acted upon although they are many. `disabled`: the
    schedule that a plan had when it was disabled because its workload was gone;
    `disabling`: those whose write was not confirmed; `enabling`: the schedule that a plan
    got back lately, and when. `runner`: the backrest container. `written_at`: our last
    write of the document that Backrest may not have loaded, 0 for none. `restarts`: when
    we restarted Backrest. `image_labels`: what the images in use say, by their ids, for
    when Docker does not have one any more. `owners`: whose each plan is. `first_runs`: the
    plans of ours with a pause, which Backrest counts from its own start until they have run.
    `former`: the repositories that a plan was saved to before it moved to the other document.
    """

    engine_id: str = ""
    orphans: Mapping[str, float] = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    disabled: Mapping[str, Any] = field(default_factory=dict)
    disabling: tuple[str, ...] = ()
    enabling: Mapping[str, tuple[Any, float]] = field(default_factory=dict)
    runner: RunnerSeen | None = None
    written_at: float = 0.0
    trouble: ApplyTrouble = ApplyTrouble()
    restarts: tuple[float, ...] = ()
    image_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    owners: Mapping[str, Owner] = field(default_factory=dict)
    first_runs: Mapping[str, FirstRun] = field(default_factory=dict)
    former: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@cache
def _model() -> "type[RootModel[State]]":
    """Return what reads and writes a state; made where there is one, for it takes its time."""
    from pydantic import RootModel  # noqa: PLC0415

    return RootModel[State]


class Memory:
    """Holds the state of one directory; thread-safe. A directory of None remembers nothing.

    Nothing is created before there is something to remember. A state that cannot be read
    counts as lost. One that cannot be written is logged once, kept in memory, and written
    with the next change. `read_only`: nothing is written at all.
    """

    def __init__(self, directory: Path | None, *, read_only: bool = False) -> None:
        self.directory = directory
        self.is_read_only = read_only
        self._lock = threading.RLock()
        self._is_locked = False
        self._state = State()
        self._seen: tuple[int, ...] = ()
        self._is_logged = False
        self.is_saved = True
        """Whether the state would survive this process, unless nothing may be written."""
        self.refresh()

    @property
    def state(self) -> State:
        """The state as it was last read or written."""
        return self._state

    def refresh(self) -> State:
        """Read the state again if another process has written it."""
        if self.directory is None:
            return self._state
        with self._lock:
            signature = file_signature(self.directory / _FILE)
            if signature != self._seen:
                self._state, self._seen = _load(self.directory / _FILE), signature
            return self._state

    def change(self, **fields: Any) -> State:
        """Replace fields of the state; written only if that makes a difference."""
        with self.turn() as state:
            changed = replace(state, **fields)
            if changed == state and self.is_saved:
                return state
            if not self._is_locked and self._make_directory():
                # There was nothing to lock: another process may have been the first to write.
                return self.change(**fields)
            self._state = changed
            self._save(_model()(changed).model_dump_json().encode())
            return changed

    @contextmanager
    def turn(self) -> Iterator[State]:
        """Give the state as it is; until the body ends nobody else changes it, only the body may.

        Nobody is no other thread and no other process. One that dies has no turn any more. Where
        another file is locked as well, such as the document's, this comes first.
        """
        with self._lock, self._locked_directory():
            yield self.refresh()

    @contextmanager
    def _locked_directory(self) -> Iterator[None]:
        """Keep other processes from changing the state; no error where there is no directory."""
        descriptor = None
        if self.directory is not None and not self._is_locked:
            with suppress(OSError):
                descriptor = atomic.open_directory(self.directory)
        if descriptor is None:
            yield
            return
        try:
            atomic.lock(descriptor)
            self._is_locked = True
            yield
        finally:
            self._is_locked = False
            os.close(descriptor)

    def _make_directory(self) -> bool:
        """Make the directory; False if it is there, or nothing may be written there."""
        if self.directory is None or self.is_read_only or self.directory.is_dir():
            return False
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            return False
        return True

    def _save(self, content: bytes) -> None:
        if self.directory is None or self.is_read_only:
            return
        try:
            write_in_turn(self.directory, _FILE, content)
            self._seen = file_signature(self.directory / _FILE)
            self.is_saved, self._is_logged = True, False
        except OSError as error:
            self.is_saved = False
            self._forget()
            if not self._is_logged:
                fields = {"directory": str(self.directory), "reason": error.strerror}
                log_event(_log, logging.WARNING, "state.not-saved", **fields)
            self._is_logged = True

    def _forget(self) -> None:
        """Remove a state file that is out of date: wrong values do more harm than none."""
        if self.directory is not None:
            with suppress(OSError):
                (self.directory / _FILE).unlink()
        self._seen = ()


def write_in_turn(directory: Path, name: str, content: bytes) -> None:
    """Replace a file of the state directory, as long as the turn is ours. Raises OSError.

    Nobody else writes it meanwhile: what a killed process left of it is removed.
    """
    for part in directory.glob(f".{name}.*.part"):
        part.unlink(missing_ok=True)
    write_small(directory, name, content, durable=True)


def file_signature(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _load(path: Path) -> State:
    try:
        content = read_file(path, _LIMIT)
        return _model().model_validate_json(content).root
    except FileNotFoundError:
        return State()
    except (OSError, ValueError) as error:
        # Not its text: that would show what stands in the file.
        what = type(error).__name__
        log_event(_log, logging.WARNING, "state.lost", file=str(path), reason=what)
        return State()
