"""Read the names of the paths of a backup once, and tell which are taken and which are left out.

What is left out is told at its top, and not looked into: the list of that is short. Names are
bytes. Links are not followed, nothing is kept of what has been told.
"""

import os
import posixpath
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from sidecar.backrest.backup_flags import FolderTag
from sidecar.engines.excludes.matcher import ExcludeMatcher, Place

CACHE_TAG: Final = FolderTag("CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55")


class Fate(Enum):
    """What becomes of a path."""

    FOLDER = "folder"
    """It is a folder and taken; what is in it is told by itself."""
    TAKEN = "taken"
    """It is anything else and taken."""
    LEFT_OUT = "left-out"
    """It is left out, and what is in it too."""
    UNREAD = "unread"
    """It cannot be looked at; or not be looked into, if it was told as a folder before."""


class Seen(NamedTuple):
    """A path, what becomes of it, and for one that cannot be read why."""

    path: bytes
    fate: Fate
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Excludes:
    """What a backup leaves out.

    Attributes:
        matcher: by patterns.
        tags: the files that exclude the folder in which they are.
        largest: what is larger, in bytes, is left out; None: nothing for its size.
        one_file_system: whether file systems that are mounted below a path are left out.
        folders: absolute paths of folders that are left out besides, such as a repository.
    """

    matcher: ExcludeMatcher
    tags: tuple[FolderTag, ...] = (CACHE_TAG,)
    largest: int | None = None
    one_file_system: bool = False
    folders: frozenset[bytes] = frozenset()


def walk(
    paths: Sequence[bytes], excludes: Excludes, told: Collection[bytes] | None = None
) -> Iterator[Seen]:
    """Yield absolute paths that are to be backed up, and what is below them; each once.

    Of what is taken and no folder only the paths themselves are yielded, and what has one of the
    names `told`; None: all.

    As restic has it: sockets are left out. A file that excludes its folder is taken itself. Where
    another file system is left out, the folder is taken on which it is mounted. A path that lies
    below another one is decided by itself, also where folders above it are left out.
    """
    return _Walk(paths, excludes, told).run()


class _Folder(NamedTuple):
    """A folder that is to be read.

    Attributes:
        path: its path.
        place: what the patterns say of what is in it.
        device: the file system that is read, by its number; 0: any.
        own_device: that of the folder itself, 0 likewise.
        is_passage: whether it is left out but for what leads to a path that is not.
    """

    path: bytes
    place: Place
    device: int = 0
    own_device: int = 0
    is_passage: bool = False


class _Walk:
    """One walk over the paths of a backup."""

    def __init__(
        self, paths: Sequence[bytes], excludes: Excludes, told: Collection[bytes] | None
    ) -> None:
        self._excludes = excludes
        self._told = told
        self._looks = excludes.largest is not None or excludes.one_file_system
        cleaned = dict.fromkeys(b"/" + posixpath.normpath(path).strip(b"/") for path in paths)
        above = {path: set(_folders_above(path)) for path in cleaned}
        self._outer = [path for path in cleaned if not above[path] & cleaned.keys()]
        # Paths below others, until they have been told, and the folders that lead there.
        self._inner = dict.fromkeys(path for path in cleaned if above[path] & cleaned.keys())
        self._passages = {folder for path in self._inner for folder in above[path]}
        self._waiting: list[_Folder] = []

    def run(self) -> Iterator[Seen]:
        """Yield all; folders are read one after the other, the last found first."""
        for path in self._outer:
            yield from self._start(path)
        while self._inner:
            # Nothing led there: a link, or a folder that could not be read.
            yield from self._start(next(iter(self._inner)))

    def _start(self, path: bytes) -> Iterator[Seen]:
        yield from self._begin(path)
        while self._waiting:
            yield from self._read(self._waiting.pop())

    def _begin(self, path: bytes) -> Iterator[Seen]:
        """Yield one of the paths that are to be backed up, which decides by itself."""
        self._inner.pop(path, None)
        try:
            status = os.lstat(path)
        except OSError as error:
            yield _unread(path, error)
            return
        folder, name = posixpath.split(path)
        place = self._excludes.matcher.place(path)
        kept = self._kept_by_tags(folder) if name else None
        is_out = place.is_left_out or not (kept is None or name in kept)
        is_out = is_out or path in self._excludes.folders
        device = status.st_dev if self._excludes.one_file_system else 0
        if stat.S_ISDIR(status.st_mode) and (not is_out or path in self._passages):
            self._waiting.append(_Folder(path, place, device, device, is_out))
            yield Seen(path, Fate.FOLDER)
        elif is_out or self._is_too_large(status) or stat.S_ISSOCK(status.st_mode):
            yield Seen(path, Fate.LEFT_OUT)
        else:
            yield Seen(path, Fate.TAKEN)

    def _read(self, folder: _Folder) -> Iterator[Seen]:
        leaves_out, kept = folder.place.decider(), self._kept_by_tags(folder.path)
        is_quick, told = not self._looks, self._told
        try:
            with os.scandir(folder.path) as entries:
                for entry in entries:
                    if self._inner and entry.path in self._inner:
                        yield from self._begin(entry.path)
                    elif (
                        (leaves_out is not None and leaves_out(entry.name))
                        or (kept is not None and entry.name not in kept)
                        or folder.is_passage
                    ):
                        yield self._left_out(folder, entry)
                    elif is_quick and entry.is_file(follow_symlinks=False):
                        # Most of a tree: of these nothing is made where nobody is told of them.
                        if told is None or entry.name in told:
                            yield Seen(entry.path, Fate.TAKEN)
                    else:
                        seen = self._seen(folder, entry)
                        if seen.fate is not Fate.TAKEN or told is None or entry.name in told:
                            yield seen
        except OSError as error:
            yield _unread(folder.path, error)

    def _seen(self, folder: _Folder, entry: os.DirEntry[bytes]) -> Seen:
        """Return what becomes of an entry that no pattern and no tag leaves out."""
        is_folder = entry.is_dir(follow_symlinks=False)
        own_device = 0
        if self._looks:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                return _unread(entry.path, error)
            own_device = status.st_dev if folder.device else 0
            is_mounted = is_folder and folder.own_device == folder.device
            if own_device != folder.device and not is_mounted:
                return self._left_out(folder, entry)
            if not is_folder and self._is_too_large(status):
                return Seen(entry.path, Fate.LEFT_OUT)
        if is_folder:
            if entry.path in self._excludes.folders:
                return self._left_out(folder, entry)
            place = folder.place.below(entry.name)
            self._waiting.append(_Folder(entry.path, place, folder.device, own_device))
            return Seen(entry.path, Fate.FOLDER)
        is_taken = (
            entry.is_file(follow_symlinks=False) or entry.is_symlink() or _is_no_socket(entry)
        )
        return Seen(entry.path, Fate.TAKEN if is_taken else Fate.LEFT_OUT)

    def _left_out(self, folder: _Folder, entry: os.DirEntry[bytes]) -> Seen:
        """Return an entry that is left out, unless it leads to a path that is not."""
        if entry.path not in self._passages or not entry.is_dir(follow_symlinks=False):
            return Seen(entry.path, Fate.LEFT_OUT)
        place = folder.place.below(entry.name)
        self._waiting.append(_Folder(entry.path, place, folder.device, is_passage=True))
        return Seen(entry.path, Fate.FOLDER)

    def _is_too_large(self, status: os.stat_result) -> bool:
        return self._excludes.largest is not None and status.st_size > self._excludes.largest

    def _kept_by_tags(self, folder: bytes) -> Collection[bytes] | None:
        """Return what the tags in a folder do not exclude: themselves, one by one; None: all."""
        held = {_name_of(tag) for tag in self._excludes.tags if _holds(folder, tag)}
        return None if not held else held if len(held) == 1 else ()


def _folders_above(path: bytes) -> Iterator[bytes]:
    while path != b"/":
        path = posixpath.dirname(path)
        yield path


def _unread(path: bytes, error: OSError) -> Seen:
    return Seen(path, Fate.UNREAD, error.strerror or str(error))


def _is_no_socket(entry: os.DirEntry[bytes]) -> bool:
    try:
        return not stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return True


def _name_of(tag: FolderTag) -> bytes:
    return tag.name.encode(errors="surrogateescape")


def _holds(folder: bytes, tag: FolderTag) -> bool:
    """Return whether a tag lies in a folder. A pipe is none: restic would read it for ever."""
    path = posixpath.join(folder, _name_of(tag))
    try:
        if not tag.header:
            os.lstat(path)
            return True
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - bytes
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return os.read(descriptor, len(tag.header)) == tag.header
    except OSError:
        return False
    finally:
        os.close(descriptor)
