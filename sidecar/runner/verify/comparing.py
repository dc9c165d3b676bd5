"""Comparing a restored file with what the snapshot says of it, and with the live one."""

import stat
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.engines.base import Entry

_PIECE = 1 << 20
# As text a time has microseconds at the least, and a float of today about as many.
_SAME_TIME = 1e-5


@dataclass(slots=True)
class Found:
    """What was found so far; `differences` in words."""

    same: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def compare(entry: Entry, scratch: Path, found: Found) -> None:
    """Look at what was restored below `scratch` of a file. Raises OSError.

    A live file that has another size or time than in the snapshot is not compared: it has
    changed since. One that changes while it is read has changed as well.
    """
    restored = scratch / entry.path.lstrip("/")
    wrong = _unlike(entry, restored)
    if wrong:
        found.differences.append(f"{entry.path}: {wrong}")
    elif not _is_unchanged(entry):
        # The engine has compared the content with its checksums when it restored it.
        found.changed.append(entry.path)
    elif _is_equal(restored, Path(entry.path)):
        found.same.append(entry.path)
    elif _is_unchanged(entry):
        said = "its content is another than that of the live file, which looks unchanged"
        found.differences.append(f"{entry.path}: {said}")
    else:
        found.changed.append(entry.path)


def _unlike(entry: Entry, restored: Path) -> str:
    """Tell in what a restored file is not what the snapshot says; nothing if it is."""
    try:
        held = restored.lstat()
    except FileNotFoundError:
        return "was not restored"
    if not stat.S_ISREG(held.st_mode):
        return "is no regular file"
    if held.st_size != entry.size:
        return f"has {held.st_size} bytes instead of {entry.size}"
    if stat.S_IMODE(held.st_mode) != entry.mode:
        return f"has the mode {stat.S_IMODE(held.st_mode):04o} instead of {entry.mode:04o}"
    if abs(held.st_mtime - entry.mtime) > _SAME_TIME:
        return "has another modification time"
    return ""


def _is_unchanged(entry: Entry) -> bool:
    """Whether the live file is still the one of the snapshot, as far as that can be seen."""
    try:
        held = Path(entry.path).lstat()
    except OSError:
        return False
    is_same = held.st_size == entry.size and abs(held.st_mtime - entry.mtime) <= _SAME_TIME
    return stat.S_ISREG(held.st_mode) and is_same


def _is_equal(one: Path, other: Path) -> bool:
    try:
        with one.open("rb") as first, other.open("rb") as second:
            while piece := first.read(_PIECE):
                if piece != second.read(_PIECE):
                    return False
            return not second.read(1)
    except FileNotFoundError:
        return False
