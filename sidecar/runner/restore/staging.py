"""A hidden folder in which restored data waits until it is whole, and how it gets out of it.

It lies in the folder that receives the data (`receiver`), so that everything is moved by
renaming: what was there before is moved aside, what was restored is moved in, and only then
the old is deleted. The receiver itself stays the same folder, so it may be a mount point.

    .backrest-restore-XXXX/      locked as long as a restore uses it
      tree/    what the engine restores, below full paths
      new/     the entries to be moved in; named `ready` once nothing old is in the way
      shape/   empty, with the owner, mode, times and attributes that the folder shall have
      old/     what was there before; named `trash` once everything new is in

If this is interrupted, `settle` sees by the names what is missing: with `ready` all that is
new is moved in, otherwise all that is old is moved back.
"""

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sidecar.lib.files import list_names, sync_file_system, try_lock
from sidecar.lib.log import log_event
from sidecar.runner.restore.choose import RestoreError
from sidecar.runner.restore.shape import FOLDER, Shape, give_shape, read_shape
from sidecar.service.signals import uninterrupted

PREFIX = ".backrest-restore-"
"""How the names of these folders begin."""

_log = logging.getLogger(__name__)

_CACHE_MARK = b"Signature: 8a477f597d28d172789f06886806bc55"
_KEPT = frozenset({"lost+found"})
_FINISHED = "an interrupted restore was brought to its end"
_NEW, _READY, _OLD, _TRASH, _SHAPE, _TREE = "new", "ready", "old", "trash", "shape", "tree"


def is_ours(name: str) -> bool:
    """Return whether an entry is none of a folder's contents: our folder, or `lost+found`."""
    return name.startswith(PREFIX) or name in _KEPT


@contextlib.contextmanager
def open_staging(receiver: Path) -> Iterator["Staging"]:
    """Make a hidden folder in the existing folder `receiver`; it is removed, whatever happens.

    Raises OSError if it cannot be made, RestoreError if the restore has stopped halfway.
    """
    path = receiver / f"{PREFIX}{secrets.token_hex(6)}"
    with _opened(receiver) as folder:
        before = os.fstat(folder)
        path.mkdir(mode=0o700)
        entered = os.fstat(folder).st_mtime_ns
        with _opened(path) as held:
            staging = Staging(path, folder, held)
            try:
                try_lock(held)
                # A backup that runs meanwhile skips a folder with this mark.
                (path / "CACHEDIR.TAG").write_bytes(_CACHE_MARK)
                staging.tree.mkdir()
                yield staging
            finally:
                # What is left of it would take space for good, and lie in others' data.
                with uninterrupted():
                    if staging.remove(entered):
                        os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


@dataclass(frozen=True, slots=True)
class Staging:
    """A hidden folder that `open_staging` has made; both descriptors are open meanwhile.

    Attributes:
        path: its path.
        receiver: the descriptor of the folder that it lies in.
        held: its own descriptor.
    """

    path: Path
    receiver: int
    held: int

    @property
    def tree(self) -> Path:
        """The folder that an engine restores into."""
        return self.path / _TREE

    @property
    def new(self) -> Path:
        """The folder whose entries are moved in."""
        return self.path / _NEW

    def take_folder(self, source: str) -> None:
        """Prepare a restored folder: its contents to be moved in, its shape for the receiver."""
        shape = self.shape_of(source)
        self._below(source).rename(self.new)
        for name in filter(is_ours, os.listdir(self.new)):
            _remove_entry(self.new / name)
        (self.path / _SHAPE).mkdir()
        with _opened(self.path / _SHAPE) as folder:
            give_shape(folder, shape)

    def take_entry(self, source: str, name: str) -> None:
        """Prepare what was restored as the only entry to be moved in, under this name."""
        self.new.mkdir()
        self._below(source).rename(self.new / name)

    def sync(self) -> None:
        """Have what was restored on the disk: what it replaces is gone soon. Raises OSError."""
        sync_file_system(self.held)

    def swap(self, leaving: Iterable[str]) -> None:
        """Move the entries `leaving` aside, what is new in, and delete what was there before.

        If this raises, what was there before is there, or all that is new. Raises OSError.
        """
        self.sync()
        with uninterrupted():
            (self.path / _OLD).mkdir()
            try:
                with _opened_at(self.held, _OLD) as old:
                    _move(self.receiver, old, leaving)
                os.rename(_NEW, _READY, src_dir_fd=self.held, dst_dir_fd=self.held)
            finally:
                settle_held(self.receiver, self.held)

    def shape_of(self, folder: str) -> Shape:
        """Return the shape of a restored folder. Raises OSError."""
        with _opened(self._below(folder)) as found:
            return read_shape(found)

    def holds(self, source: str) -> bool:
        """Return whether something was restored from that path."""
        return os.path.lexists(self._below(source))

    def give_shape_of(self, source: str, folder: Path) -> None:
        """Give a folder the shape of a restored one; does nothing if that was not restored."""
        with contextlib.suppress(FileNotFoundError), _opened(folder) as found:
            give_shape(found, self.shape_of(source))

    def _below(self, source: str) -> Path:
        return self.tree / source.lstrip("/")

    def remove(self, entered: int) -> bool:
        """Remove it; return whether the receiver is as it was at mtime `entered`, in ns."""
        if not _is_settled(self.held):
            raise RestoreError(
                f"the restore into {self.path.parent} stopped halfway: {self.path} holds what was "
                f"there before in `{_OLD}`, and what is yet to come in `{_READY}`",
                "put out of the way what is in it, and restore again: that ends both",
            )
        is_as_before = not _has(self.held, _READY) and (
            os.fstat(self.receiver).st_mtime_ns == entered
        )
        _remove_held(self.receiver, self.held, self.path)
        return is_as_before


def settle(receiver: Path) -> tuple[str, ...]:
    """Finish or undo restores that were killed; returns what was done, in words.

    Raises RestoreError if one is at work there, OSError if it cannot be done.
    """
    with _opened(receiver) as folder:
        names = [name for name in list_names(folder) if name.startswith(PREFIX)]
        done = [_settle_one(receiver, folder, name) for name in names]
    return tuple(filter(None, done))


def _settle_one(receiver: Path, folder: int, name: str) -> str:
    try:
        held = os.open(name, FOLDER, dir_fd=folder)
    except OSError:
        # A link or a file with such a name is not ours.
        return ""
    with _closing(held):
        if os.fstat(held).st_uid != os.geteuid():
            return ""
        if not try_lock(held):
            raise RestoreError(f"another restore is at work in {receiver}", "wait for its end")
        done = settle_held(folder, held)
        _remove_held(folder, held, receiver / name)
    return f"{receiver}: {done}"


def settle_held(receiver: int, held: int) -> str:
    """Finish or undo the move that a staging folder is in the middle of; return which, in words."""
    if _has(held, _READY):
        with _opened_at(held, _READY) as ready:
            _move(ready, receiver, list_names(ready))
        _shape_receiver(receiver, held)
        os.fsync(receiver)
        if _has(held, _OLD):
            os.rename(_OLD, _TRASH, src_dir_fd=held, dst_dir_fd=held)
        return _FINISHED
    if _has(held, _NEW):
        with _opened_at(held, _NEW) as new:
            # A single file takes the place of what was there in one step.
            if not list_names(new):
                return _FINISHED
    if _has(held, _OLD):
        with _opened_at(held, _OLD) as old:
            _move(old, receiver, list_names(old))
    return "an interrupted restore was undone: everything is as it was before"


def _remove_held(receiver: int, held: int, path: Path) -> None:
    """Remove a settled staging folder; the times of a receiver with a new shape are restored."""
    times = None
    if _has(held, _READY) and _has(held, _SHAPE):
        with _opened_at(held, _SHAPE) as shape:
            times = read_shape(shape).times
    _remove_entry(path)
    if path.exists():
        log_event(_log, logging.WARNING, "restore.left", path=str(path))
    if times is not None:
        os.utime(receiver, ns=times)


def _is_settled(held: int) -> bool:
    """Return whether neither `ready` nor `old` holds anything."""
    for name in {_READY, _OLD} & set(list_names(held)):
        with _opened_at(held, name) as folder:
            if list_names(folder):
                return False
    return True


def _shape_receiver(receiver: int, held: int) -> None:
    if _has(held, _SHAPE):
        with _opened_at(held, _SHAPE) as shape:
            give_shape(receiver, read_shape(shape))


def _move(source: int, target: int, names: Iterable[str]) -> None:
    for name in names:
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)


def _has(folder: int, name: str) -> bool:
    return name in list_names(folder)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    with _closing(os.open(path, FOLDER)) as descriptor:
        yield descriptor


@contextlib.contextmanager
def _opened_at(folder: int, name: str) -> Iterator[int]:
    with _closing(os.open(name, FOLDER, dir_fd=folder)) as descriptor:
        yield descriptor


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_entry(path: Path) -> None:
    """Remove a file or a folder with all that is in it, as far as that can be done."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
