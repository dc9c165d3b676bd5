"""What the file system of a destination keeps, found out by trying it in a hidden folder.

exFAT, FAT, CIFS and NFS lack some of it, and many a program that copies files loses in silence what
the destination does not keep.
"""

import errno
import math
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sidecar.engines.base import EngineError, FailureClass
from sidecar.engines.marker import alone, explained, opened
from sidecar.lib import files

FOLDER = ".backrest-runner.probe"
"""The name of the folder in which things are tried. It is there for a moment only."""

_FILE, _LINK, _SYMLINK = "probe-file", "probe-link", "probe-symlink"
_UPPER, _LOWER, _HOLE, _FIFO = "PROBE-CASE", "probe-case", "probe-hole", "probe-fifo"
_NAMES = frozenset({_FILE, _LINK, _SYMLINK, _UPPER, _LOWER, _HOLE, _FIFO})
_OLD, _NEW = "probe-old", "probe-new"

# What is answered to something that a file system cannot do. A file was just made there, so it is
# no lack of permission.
_CANNOT = frozenset(
    {
        *(errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL),
        *(errno.EMLINK, errno.ENOTTY, errno.EFBIG, errno.EXDEV),
    }
)
_ATTRIBUTE, _VALUE = "user.backrest-runner.probe", b"value"
_ACL = "system.posix_acl_access"
_NOBODY = 0xFFFFFFFF
_OTHER = 1
_CAP_CHOWN = 1 << 0
_HOLE_SIZE = 1 << 20
_BLOCK = 512
# An odd second, and nanoseconds that no coarser clock shows.
_MOMENT = 1_000_000_001_123_456_789
_RESOLUTIONS = (1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
_NANOSECONDS = 1e9
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Destination:
    """What a destination keeps of files; None: that could not be tried.

    Attributes:
        renames: a folder that is renamed keeps what is in it.
        hard_links: one file can have several names.
        symlinks: symbolic links.
        special_files: FIFOs and sockets, and device nodes if this process may make some.
        modes: permissions.
        owners: owners and groups; only who may give them away can try that.
        xattrs: extended attributes of users.
        acls: access control lists.
        case: names that differ in upper and lower case only are two.
        sparse: holes take no space.
        time_resolution: of the times of files, in seconds, for example 2.0 on FAT; `inf`: they
            are not kept.
    """

    renames: bool
    hard_links: bool
    symlinks: bool
    special_files: bool
    modes: bool
    owners: bool | None
    xattrs: bool
    acls: bool
    case: bool
    sparse: bool
    time_resolution: float


def probe_destination(folder: Path) -> Destination:
    """Try what a folder on this machine keeps, and leave nothing behind.

    Needs no privileges, but to try owners. What was left by one that was killed is removed;
    anything else is not touched. Raises EngineError, also where a disk is full.
    """
    with explained(), opened(folder) as parent, _trial(parent) as directory:
        _make(directory, _FILE)
        return Destination(
            renames=_can(_try_rename, directory),
            hard_links=_can(_try_link, directory),
            symlinks=_can(_try_symlink, directory),
            special_files=_can(_try_fifo, directory),
            modes=_can(_try_modes, directory),
            xattrs=_can(_try_attribute, directory),
            acls=_can(_try_acl, directory),
            case=_try_case(directory),
            sparse=_can(_try_hole, directory),
            time_resolution=_find_resolution(directory),
            # The last: afterwards the file is another's.
            owners=_try_owners(directory),
        )


@contextmanager
def _trial(parent: int) -> Iterator[int]:
    """Give an empty folder of ours, which is there until the end of the block."""
    with suppress(FileExistsError):
        os.mkdir(FOLDER, 0o700, dir_fd=parent)
    try:
        directory = os.open(FOLDER, _FOLDER_FLAGS, dir_fd=parent)
    except NotADirectoryError:
        raise _not_ours() from None
    try:
        with alone(directory):
            _clear(directory)
            try:
                yield directory
            finally:
                _clear(directory)
                os.rmdir(FOLDER, dir_fd=parent)
    finally:
        os.close(directory)


def _clear(directory: int) -> None:
    """Remove what a probe has made; raises EngineError, before anything, if more is there."""
    files_held, folders = _list(directory)
    if not (files_held <= _NAMES and folders <= {_OLD, _NEW}):
        raise _not_ours()
    for name in folders:
        with _inside(directory, name) as inner:
            if _list(inner) not in (({_FILE}, set()), (set(), set())):
                raise _not_ours()
    for name in files_held:
        files.remove(directory, name)
    for name in folders:
        with _inside(directory, name) as inner:
            files.remove(inner, _FILE)
        os.rmdir(name, dir_fd=directory)


def _list(directory: int) -> tuple[set[str], set[str]]:
    """Return what is in a folder: the names of folders apart from all others."""
    with os.scandir(directory) as entries:
        found = [(one.name, one.is_dir(follow_symlinks=False)) for one in entries]
    folders = {name for name, is_folder in found if is_folder}
    return {name for name, _ in found} - folders, folders


@contextmanager
def _inside(directory: int, name: str) -> Iterator[int]:
    """Open a folder within another one until the end of the block; follows no link."""
    descriptor = os.open(name, _FOLDER_FLAGS, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _not_ours() -> EngineError:
    message = f"{FOLDER} in the folder of the repository is not of a probe"
    return EngineError(FailureClass.UNKNOWN, message, "give it another name")


def _make(directory: int, name: str) -> None:
    os.close(files.create_new(directory, name))


def _can(attempt: Callable[[int], bool], directory: int) -> bool:
    try:
        return attempt(directory)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise


@contextmanager
def _writing(directory: int, name: str = _FILE) -> Iterator[int]:
    descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_rename(directory: int) -> bool:
    """Return whether nothing is lost: fusefat loses all of it, with success."""
    os.mkdir(_OLD, 0o700, dir_fd=directory)
    with _inside(directory, _OLD) as inner:
        _make(inner, _FILE)
    os.rename(_OLD, _NEW, src_dir_fd=directory, dst_dir_fd=directory)
    with _inside(directory, _NEW) as inner:
        return _list(inner) == ({_FILE}, set())


def _try_link(directory: int) -> bool:
    os.link(_FILE, _LINK, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    with _writing(directory, _LINK) as descriptor:
        os.truncate(descriptor, 1)
    return os.stat(_FILE, dir_fd=directory).st_size == 1


def _try_symlink(directory: int) -> bool:
    os.symlink(_FILE, _SYMLINK, dir_fd=directory)
    return os.readlink(_SYMLINK, dir_fd=directory) == _FILE


def _try_fifo(directory: int) -> bool:
    try:
        os.mkfifo(_FIFO, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        # The answer of FUSE where a file was made instead.
        return False
    return stat.S_ISFIFO(os.stat(_FIFO, dir_fd=directory, follow_symlinks=False).st_mode)


def _try_modes(directory: int) -> bool:
    with _writing(directory) as descriptor:
        return all(files.give_mode(descriptor, mode) for mode in (0o601, 0o640))


def _try_owners(directory: int) -> bool | None:
    if not _may_give_away():
        return None
    with _writing(directory) as descriptor:
        try:
            os.fchown(descriptor, _OTHER, _OTHER)
        except OSError as error:
            if error.errno == errno.EINVAL:
                # A user namespace in which that owner has no number.
                return None
            if error.errno in _CANNOT:
                return False
            raise
        status = os.fstat(descriptor)
        return (status.st_uid, status.st_gid) == (_OTHER, _OTHER)


def _may_give_away() -> bool:
    """Return whether this process may change owners, if the file system has any."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) & _CAP_CHOWN)
    return False


def _try_attribute(directory: int) -> bool:
    with _writing(directory) as descriptor:
        os.setxattr(descriptor, _ATTRIBUTE, _VALUE)
        return os.getxattr(descriptor, _ATTRIBUTE) == _VALUE


def _try_acl(directory: int) -> bool:
    """Give this user an entry of its own, which no permission bits can say."""
    entries = ((1, 6, _NOBODY), (2, 4, os.geteuid()), *((tag, 4, _NOBODY) for tag in (4, 16, 32)))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    with _writing(directory) as descriptor:
        os.setxattr(descriptor, _ACL, acl)
        return os.getxattr(descriptor, _ACL) == acl


def _try_case(directory: int) -> bool:
    _make(directory, _UPPER)
    try:
        _make(directory, _LOWER)
    except FileExistsError:
        return False
    return True


def _try_hole(directory: int) -> bool:
    _make(directory, _HOLE)
    with _writing(directory, _HOLE) as descriptor:
        os.pwrite(descriptor, _VALUE, _HOLE_SIZE)
        return os.fstat(descriptor).st_blocks * _BLOCK < _HOLE_SIZE // 2


def _find_resolution(directory: int) -> float:
    with _writing(directory) as descriptor:
        try:
            os.utime(descriptor, ns=(_MOMENT, _MOMENT))
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            return math.inf
        off = abs(os.fstat(descriptor).st_mtime_ns - _MOMENT)
    return next((one / _NANOSECONDS for one in _RESOLUTIONS if off < one), math.inf)
