"""Read a small file whole, if it is one: nothing is waited for, and no device is touched.

Imports next to nothing, because `healthcheck`, which runs every few seconds, imports it.
"""

import errno
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotAFileError(OSError):
    """There is something else of that name; `strerror` says what, for example `it is a FIFO`."""


def read_file(path: Path, limit: int) -> bytes:
    """Read a regular file, or what a link leads to; of a larger one `limit` + 1 bytes.

    Raises OSError, for anything but a file NotAFileError.
    """
    # Before it is opened: a FIFO waits for its other end, to open a device can be an act.
    refuse_other_kinds(path.stat(), path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - opened with flags of its own
        refuse_other_kinds(os.fstat(descriptor), path)
        return file.read(limit + 1)


def kind_of(mode: int) -> str:
    """Return what an inode of that mode is, for example `a FIFO`; empty: a regular file."""
    kind = stat.S_IFMT(mode)
    return "" if kind == stat.S_IFREG else _KINDS.get(kind, "something else")


def refuse_other_kinds(status: os.stat_result, path: Path) -> None:
    """Raise NotAFileError for anything but a regular file."""
    if kind := kind_of(status.st_mode):
        raise NotAFileError(errno.EINVAL, f"it is {kind}, not a file", str(path))
