"""Replace a file in one step: directory descriptors, exclusive creation, renames with flags.

Names are single names relative to a directory descriptor, so that nobody can move
the directory away between two calls. Everything raises OSError and nothing else.
"""

import ctypes
import errno
import fcntl
import os
import platform
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import cast

_NOREPLACE = 1
_EXCHANGE = 2

# What a kernel, a file system or a container's system call filter answers when it
# does not offer a flag of renameat2. A real lack of permission shows again at once,
# in the plain call that the caller falls back to.
_NOT_OFFERED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})

# For a C library without a renameat2 of its own (musl): machine, pointer size → number.
_NUMBERS = {
    ("x86_64", 8): 316,
    ("aarch64", 8): 276,
    ("riscv64", 8): 276,
    ("ppc64le", 8): 357,
    ("s390x", 8): 347,
    ("armv7l", 4): 382,
    ("armv6l", 4): 382,
    ("i686", 4): 353,
}

# Seals over the old content: copied, they would be wrong for the new one.
_SEALS = frozenset({"security.ima", "security.evm"})


def open_directory(path: Path) -> int:
    """Open a directory for use as a descriptor; the caller closes it."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def try_lock(directory: int) -> bool:
    """Take the exclusive advisory lock on the directory unless another open one has it."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock(directory: int) -> None:
    """Wait for the exclusive advisory lock on the directory; closing it releases the lock."""
    fcntl.flock(directory, fcntl.LOCK_EX)


def unlock(directory: int) -> None:
    """Release the lock at once, even if a forked child still has the descriptor."""
    fcntl.flock(directory, fcntl.LOCK_UN)


def list_names(directory: int) -> list[str]:
    """List what is in the directory, sorted."""
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in entries)


def open_present(directory: int, name: str) -> int:
    """Open for reading; follows no link and never waits for the other end of a FIFO."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=directory)


def create_new(directory: int, name: str) -> int:
    """Create a file that only its owner can read, and open it for writing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=directory)


def read_all(descriptor: int, limit: int) -> bytes:
    """Read to the end, but never more than `limit` + 1 bytes."""
    parts: list[bytes] = []
    left = limit + 1
    while left > 0 and (part := os.read(descriptor, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte, however few the system takes at a time."""
    rest = memoryview(content)
    while rest:
        written = os.write(descriptor, rest)
        if written == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest = rest[written:]


def give_owner(descriptor: int, user: int, group: int) -> bool:
    """Make `user` and `group` the owner; False if that is not possible."""
    if not _is_owner(descriptor, user, group):
        # EINVAL: an owner that has no number in this user namespace.
        with _tolerated(errno.EPERM, errno.EINVAL, errno.ENOSYS):
            os.fchown(descriptor, user, group)
    return _is_owner(descriptor, user, group)


def give_mode(descriptor: int, mode: int) -> bool:
    """Set the permission bits; False if the file system does not keep them."""
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        os.fchmod(descriptor, mode)
    return stat.S_IMODE(os.fstat(descriptor).st_mode) == mode


def copy_attributes(source: int, target: int) -> None:
    """Give `target` the extended attributes of `source` (ACL, label), as far as allowed.

    One that only `target` has, such as an ACL inherited from the directory, is removed.
    """
    wanted = _attributes(source)
    for name in _attributes(target).keys() - wanted.keys():
        with suppress(OSError):
            os.removexattr(target, name)
    for name, value in wanted.items():
        with suppress(OSError):
            os.setxattr(target, name, value)


def exchange(directory: int, one: str, other: str) -> bool:
    """Swap two names in one step; False if this kernel or file system cannot."""
    return _rename_with_flag(directory, one, other, _EXCHANGE)


def rename_new(directory: int, old: str, new: str) -> None:
    """Rename, but never over something: FileExistsError if `new` is there."""
    if not _rename_with_flag(directory, old, new, _NOREPLACE):
        os.link(old, new, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        os.unlink(old, dir_fd=directory)


def replace(directory: int, old: str, new: str) -> None:
    """Rename over whatever file `new` is."""
    os.replace(old, new, src_dir_fd=directory, dst_dir_fd=directory)


def remove(directory: int, name: str) -> None:
    """Remove a file. No error if it is missing."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def sync_directory(directory: int) -> None:
    """Make renames and removals durable, where the file system can."""
    with _tolerated(errno.EINVAL, errno.EOPNOTSUPP):
        os.fsync(directory)


def sync_file_system(descriptor: int) -> None:
    """Force all that was written to the file system of an open file to disk, and wait for it.

    Where the system does not offer that, all file systems are waited for, and no error is told.
    """
    call = _syncfs()
    if call is not None and call(descriptor) == 0:
        return
    code = errno.ENOSYS if call is None else ctypes.get_errno()
    if code not in _NOT_OFFERED:
        raise OSError(code, os.strerror(code))
    os.sync()


def _is_owner(descriptor: int, user: int, group: int) -> bool:
    status = os.fstat(descriptor)
    return (status.st_uid, status.st_gid) == (user, group)


def _attributes(descriptor: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with _tolerated(errno.EOPNOTSUPP, errno.ENOSYS):
        for name in os.listxattr(descriptor):
            with suppress(OSError):
                found[name] = os.getxattr(descriptor, name)
    return {name: value for name, value in found.items() if name not in _SEALS}


@contextmanager
def _tolerated(*codes: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in codes:
            raise


def _rename_with_flag(directory: int, old: str, new: str, flag: int) -> bool:
    call = _renameat2()
    if call is None:
        return False
    if call(directory, os.fsencode(old), directory, os.fsencode(new), flag) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_OFFERED:
        return False
    raise OSError(code, os.strerror(code), old, None, new)


@cache
def _renameat2() -> Callable[..., int] | None:
    """Return the C library's renameat2, else the bare system call, else None."""
    library = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    if hasattr(library, "renameat2"):
        library.renameat2.argtypes = arguments
        return cast("Callable[..., int]", library.renameat2)
    number = _NUMBERS.get((platform.machine(), struct.calcsize("P")))
    if number is None:
        return None
    library.syscall.argtypes = (ctypes.c_long, *arguments)
    library.syscall.restype = ctypes.c_long
    return partial(cast("Callable[..., int]", library.syscall), number)


@cache
def _syncfs() -> Callable[[int], int] | None:
    """Return the C library's syncfs, else None."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "syncfs"):
        return None
    library.syncfs.argtypes = (ctypes.c_int,)
    return cast("Callable[[int], int]", library.syncfs)
