"""A hidden folder in which restored data waits until it is whole, and its way into the open.

It lies in the folder that receives the data, so that everything is moved by renaming: what
was there before goes aside in one sweep, what was restored comes in, and only then the old
is deleted. The receiving folder itself stays the same one, so a mount point can receive.

    .backrest-restore-XXXX/      locked as long as somebody works with it
      tree/    what the engine restores, below full paths
      new/     the entries to be moved in; named `ready` once nothing old is in the way
      shape/   empty, with the owner, mode, times and attributes that the folder shall have
      old/     what was there before; named `trash` once everything new is in

If this is interrupted, `settle` tells by the names what is missing: with `ready` all that is
new is moved in, otherwise all that is old is moved back.

What a folder is beside its contents: owner, mode, times, extended attributes.
"""

import contextlib
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sidecar.lib.files import list_names, try_lock
from sidecar.lib.log import log_event
from sidecar.runner.restore.choose import RestoreError


@dataclass(frozen=True, slots=True)
class Shape:
    """A folder's owner, permission bits, times in nanoseconds and extended attributes."""

    user: int
    group: int
    mode: int
    times: tuple[int, int]
    attributes: Mapping[str, bytes]


def read_shape(folder: int) -> Shape:
    """Read that of an open folder. Raises OSError."""
    held = os.fstat(folder)
    return Shape(
        held.st_uid,
        held.st_gid,
        stat.S_IMODE(held.st_mode),
        (held.st_atime_ns, held.st_mtime_ns),
        _attributes(folder),
    )


def give_shape(folder: int, shape: Shape) -> None:
    """Give it to an open folder; the owner and attributes as far as we are allowed to.

    Raises OSError.
    """
    with contextlib.suppress(PermissionError):
        os.fchown(folder, shape.user, shape.group)
    for name in _attributes(folder).keys() - shape.attributes.keys():
        with contextlib.suppress(OSError):
            os.removexattr(folder, name)
    for name, value in shape.attributes.items():
        with contextlib.suppress(OSError):
            os.setxattr(folder, name, value)
    # After the attributes: an ACL among them has its own idea of the group's bits.
    os.fchmod(folder, shape.mode)
    os.utime(folder, ns=shape.times)


def _attributes(folder: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with contextlib.suppress(OSError):
        for name in os.listxattr(folder):
            with contextlib.suppress(OSError):
                found[name] = os.getxattr(folder, name)
    return found


PREFIX = ".backrest-restore-"
"""How the names of these folders begin."""

_log = logging.getLogger(__name__)

_CACHE_MARK = b"Signature: 8a477f597d28d172789f06886806bc55"
_KEPT = frozenset({"lost+found"})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW, _READY, _OLD, _TRASH, _SHAPE, _TREE = "new", "ready", "old", "trash", "shape", "tree"


def is_ours(name: str) -> bool:
    """Tell whether an entry of a folder is not its contents: ours, or the file system's."""
    return name.startswith(PREFIX) or name in _KEPT


class Staging:
    """One hidden folder in an existing folder `room`; `with` removes it, whatever happens.

    Raises OSError if it cannot be made.
    """

    def __init__(self, room: Path) -> None:
        self.room = room
        self.path = room / f"{PREFIX}{secrets.token_hex(6)}"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._room = stack.enter_context(_opened(self.room))
            before = os.fstat(self._room)
            self._times = (before.st_atime_ns, before.st_mtime_ns)
            self.path.mkdir(mode=0o700)
            self._entered = os.fstat(self._room).st_mtime_ns
            self._held = stack.enter_context(_opened(self.path))
            stack.callback(self._remove)
            try_lock(self._held)
            # A backup that runs meanwhile passes over what bears this mark.
            (self.path / "CACHEDIR.TAG").write_bytes(_CACHE_MARK)
            self.tree.mkdir()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def tree(self) -> Path:
        """The folder that an engine restores into."""
        return self.path / _TREE

    @property
    def new(self) -> Path:
        """The folder whose entries are moved in."""
        return self.path / _NEW

    def take_folder(self, source: str) -> None:
        """Make the contents of a restored folder what is moved in, and its shape the room's."""
        shape = self.shape_of(source)
        self._below(source).rename(self.new)
        for name in filter(is_ours, os.listdir(self.new)):
            _remove_entry(self.new / name)
        (self.path / _SHAPE).mkdir()
        with _opened(self.path / _SHAPE) as folder:
            give_shape(folder, shape)

    def take_entry(self, source: str, name: str) -> None:
        """Make what was restored the one thing that is moved in, under this name."""
        self.new.mkdir()
        self._below(source).rename(self.new / name)

    def swap(self, leaving: Iterable[str]) -> None:
        """Move the entries `leaving` aside, what is new in, and delete what was there before.

        If this raises, what was there before is there, or all that is new. Raises OSError.
        """
        # What was there is deleted soon: what replaces it has to be on the disk.
        os.sync()
        (self.path / _OLD).mkdir()
        try:
            with _opened_at(self._held, _OLD) as old:
                _move(self._room, old, leaving)
            os.rename(_NEW, _READY, src_dir_fd=self._held, dst_dir_fd=self._held)
        finally:
            settle_held(self._room, self._held)

    def shape_of(self, folder: str) -> Shape:
        """Read what a restored folder is like. Raises OSError."""
        with _opened(self._below(folder)) as found:
            return read_shape(found)

    def holds(self, source: str) -> bool:
        """Tell whether something was restored from that path."""
        return os.path.lexists(self._below(source))

    def give_shape_of(self, source: str, folder: Path) -> None:
        """Make a folder what a restored one is; nothing where that was not restored."""
        with contextlib.suppress(FileNotFoundError), _opened(folder) as found:
            give_shape(found, self.shape_of(source))

    def _below(self, source: str) -> Path:
        return self.tree / source.lstrip("/")

    def _remove(self) -> None:
        if not _is_settled(self._held):
            raise RestoreError(
                f"the restore into {self.room} stopped halfway: {self.path} holds what was "
                f"there before in `{_OLD}`, and what is yet to come in `{_READY}`",
                "put out of the way what is in it, and restore again: that ends both",
            )
        is_as_before = not _has(self._held, _READY) and (
            os.fstat(self._room).st_mtime_ns == self._entered
        )
        _remove_held(self._room, self._held, self.path)
        if is_as_before:
            os.utime(self._room, ns=self._times)


def settle(room: Path) -> tuple[str, ...]:
    """Bring restores to an end that were killed; give what was done, in words.

    Raises RestoreError if one is at work there, OSError if it cannot be done.
    """
    with _opened(room) as folder:
        names = [name for name in list_names(folder) if name.startswith(PREFIX)]
        said = [_settle_one(room, folder, name) for name in names]
    return tuple(filter(None, said))


def _settle_one(room: Path, folder: int, name: str) -> str:
    try:
        held = os.open(name, _FOLDER, dir_fd=folder)
    except OSError:
        # A link or a file with such a name is not ours.
        return ""
    with _closing(held):
        if os.fstat(held).st_uid != os.geteuid():
            return ""
        if not try_lock(held):
            raise RestoreError(f"another restore is at work in {room}", "wait for its end")
        done = settle_held(folder, held)
        _remove_held(folder, held, room / name)
    return f"{room}: {done}"


def settle_held(room: int, held: int) -> str:
    """End what a staging folder is in the middle of; give in words what that was."""
    if _has(held, _READY):
        with _opened_at(held, _READY) as ready:
            _move(ready, room, list_names(ready))
        _shape_room(room, held)
        os.fsync(room)
        if _has(held, _OLD):
            os.rename(_OLD, _TRASH, src_dir_fd=held, dst_dir_fd=held)
        return "an interrupted restore was brought to its end"
    if _has(held, _OLD):
        with _opened_at(held, _OLD) as old:
            _move(old, room, list_names(old))
    return "an interrupted restore was undone: everything is as it was before"


def _remove_held(room: int, held: int, path: Path) -> None:
    """Remove a staging folder that is settled; a room with a new shape keeps its time."""
    times = None
    if _has(held, _READY) and _has(held, _SHAPE):
        with _opened_at(held, _SHAPE) as shape:
            times = read_shape(shape).times
    _remove_entry(path)
    if path.exists():
        log_event(_log, logging.WARNING, "restore.left", path=str(path))
    if times is not None:
        os.utime(room, ns=times)


def _is_settled(held: int) -> bool:
    """Return whether nothing that counts is in it."""
    for name in {_READY, _OLD} & set(list_names(held)):
        with _opened_at(held, name) as folder:
            if list_names(folder):
                return False
    return True


def _shape_room(room: int, held: int) -> None:
    if _has(held, _SHAPE):
        with _opened_at(held, _SHAPE) as shape:
            give_shape(room, read_shape(shape))


def _move(source: int, target: int, names: Iterable[str]) -> None:
    for name in names:
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)


def _has(folder: int, name: str) -> bool:
    return name in list_names(folder)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    with _closing(os.open(path, _FOLDER)) as descriptor:
        yield descriptor


@contextlib.contextmanager
def _opened_at(folder: int, name: str) -> Iterator[int]:
    with _closing(os.open(name, _FOLDER, dir_fd=folder)) as descriptor:
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
