"""The shape of a folder: what it is beside its contents (owner, mode, times, attributes)."""

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags by which a folder is opened, and nothing that only leads to one."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A folder's owner, permission bits, times in nanoseconds and extended attributes."""

    user: int
    group: int
    mode: int
    times: tuple[int, int]
    attributes: Mapping[str, bytes]


def read_shape(folder: int) -> Shape:
    """Return the shape of a folder, given by its descriptor. Raises OSError."""
    held = os.fstat(folder)
    return Shape(
        held.st_uid,
        held.st_gid,
        stat.S_IMODE(held.st_mode),
        (held.st_atime_ns, held.st_mtime_ns),
        _attributes(folder),
    )


def give_shape(folder: int, shape: Shape) -> None:
    """Give a shape to a folder, given by its descriptor. Raises OSError.

    Owner and attributes are given as far as we are allowed to.
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
