"""Moving restored data into a folder that keeps what else it holds."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sidecar.runner.restore.shape import give_shape, read_shape

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def conflicts(new: Path, room: Path) -> Iterator[Path]:
    """Find what is a folder on one side only: neither can take the place of the other."""
    for entry in sorted(new.iterdir()):
        there = room / entry.name
        if not os.path.lexists(there):
            continue
        if _is_folder(entry) and _is_folder(there):
            yield from conflicts(entry, there)
        elif _is_folder(entry) or _is_folder(there):
            yield there


def merge(new: Path, room: Path) -> None:
    """Rename all that is in `new` into `room`, over what has the same name. Raises OSError."""
    for entry in sorted(new.iterdir()):
        there = room / entry.name
        if _is_folder(entry) and os.path.lexists(there):
            _merge_folder(entry, there)
        else:
            entry.replace(there)


def _merge_folder(new: Path, there: Path) -> None:
    descriptor = os.open(new, _FOLDER)
    try:
        shape = read_shape(descriptor)
    finally:
        os.close(descriptor)
    merge(new, there)
    descriptor = os.open(there, _FOLDER)
    try:
        give_shape(descriptor, shape)
    finally:
        os.close(descriptor)


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)
