"""Let either a run of a plan or a restore of it be at work, also across processes.

One file in the state folder holds all locks: a byte of it stands for a plan. A process that dies
leaves none.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

FILE = "plans.lock"

# What the kernel's `struct flock` is: kind, whence, start, length, process.
_LOCK = struct.Struct("@hhqqi")
_TAKEN = {errno.EAGAIN, errno.EACCES}


class PlanTurns:
    """The locks of plans, in the state folder; safe for threads.

    Where the folder cannot be written, or its file system has no such locks, nobody holds one.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / FILE

    def is_held(self, plan: str) -> bool:
        """Return whether somebody works on a plan, in this process or another."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _lock_of(plan, fcntl.F_WRLCK))
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return bool(_LOCK.unpack(found)[0] != fcntl.F_UNLCK)

    @contextmanager
    def hold(self, plan: str) -> Iterator[bool]:
        """Hold the lock of a plan, for the block; False if somebody else has it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError:
            yield True
            return
        try:
            yield _try(descriptor, _lock_of(plan, fcntl.F_WRLCK))
        finally:
            os.close(descriptor)


def _try(descriptor: int, lock: bytes) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
    except OSError as error:
        return error.errno not in _TAKEN
    return True


def _lock_of(plan: str, kind: int) -> bytes:
    place = int.from_bytes(sha256(plan.encode(errors="surrogateescape")).digest()[:7])
    return _LOCK.pack(kind, os.SEEK_SET, place, 1, 0)
