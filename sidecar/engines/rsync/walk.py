"""Read the tree of a snapshot on this machine: its entries and their attributes."""

import os
import stat
from collections.abc import Iterator

from sidecar.engines.base import Entry, EntryAttributes
from sidecar.engines.rsync.output import shown_path
from sidecar.engines.rsync.storage import as_engine_errors

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFBLK: "dev",
    stat.S_IFCHR: "chardev",
    stat.S_IFSOCK: "socket",
}


def walk_entries(root: bytes, path: bytes, *, is_deep: bool = True) -> Iterator[Entry]:
    """Yield what a tree holds at and below an absolute path, as seen from its root.

    Folders come before what is in them, names in order. Unless `is_deep` only what lies directly
    in the path. Raises EngineError.
    """
    for name, status in _walk(root, path, is_deep=is_deep):
        mode = status.st_mode
        kind = _KINDS.get(stat.S_IFMT(mode), "special")
        yield Entry(
            shown_path(name),
            kind,
            status.st_size if kind == "file" else 0,
            stat.S_IMODE(mode),
            status.st_mtime_ns / 1e9,
            status.st_uid,
            status.st_gid,
        )


def walk_attributes(root: bytes, path: bytes) -> Iterator[EntryAttributes]:
    """Yield what has extended attributes at and below an absolute path, as seen from the root.

    Raises EngineError.
    """
    for name, _ in _walk(root, path):
        place = root + name
        with as_engine_errors():
            held = {
                attribute: os.getxattr(place, attribute, follow_symlinks=False)
                for attribute in os.listxattr(place, follow_symlinks=False)
            }
        if held:
            yield EntryAttributes(name, held)


def _walk(
    root: bytes, path: bytes, *, is_deep: bool = True
) -> Iterator[tuple[bytes, os.stat_result]]:
    start = b"/" + path.strip(b"/")
    with as_engine_errors():
        try:
            status = os.lstat(root + start)
        except (FileNotFoundError, NotADirectoryError):
            return
    waiting = [(start, status)]
    while waiting:
        name, status = waiting.pop()
        yield name, status
        if stat.S_ISDIR(status.st_mode) and (is_deep or name == start):
            with as_engine_errors(), os.scandir(root + name) as entries:
                below = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
            waiting += [
                (name.rstrip(b"/") + b"/" + inner, found) for inner, found in reversed(below)
            ]
