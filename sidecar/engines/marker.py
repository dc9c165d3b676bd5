"""The marker of a repository that is a folder: one small file with its id.

It tells a repository from any other folder, also from the empty one that is there while a disk is
not mounted. Only `create_marker` makes one.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidecar.backrest.engine_name import EngineName
from sidecar.engines.base import EngineError, FailureClass
from sidecar.lib import files

MARKER = ".backrest-runner.repository"
"""The name of its file, directly in the folder of the repository."""

_PART = re.compile(rf"{re.escape(MARKER)}\.[0-9a-f]{{8}}\.part")
_LIMIT = 4096
_VERSION = 1
_ID = re.compile(r"[0-9a-f]{64}")
_NOTE = "This folder is a repository of backrest-runner, which does not use it without this file."
# What a file system answers that can neither link nor rename without replacing.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK})

_GONE = (FailureClass.NETWORK, "does not answer any more", "is the disk there?")
_CLOSED = (FailureClass.PERMISSION, "is closed to this user", "")
_FAILURES = {
    errno.ENOENT: (FailureClass.REPO_NOT_FOUND, "is not there", "is the disk mounted?"),
    errno.ENOTDIR: (FailureClass.REPO_NOT_FOUND, "is no folder", "name a folder"),
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.EROFS: (FailureClass.PERMISSION, "is on a file system that is read-only", ""),
    errno.ENOSPC: (FailureClass.DISK_FULL, "has no space left", "free some"),
    errno.EDQUOT: (FailureClass.DISK_FULL, "has no space left in its quota", "free some"),
    errno.ENODEV: _GONE,
    errno.ENXIO: _GONE,
    errno.ENOTCONN: _GONE,
    errno.ESTALE: _GONE,
    errno.ETIMEDOUT: _GONE,
    errno.EHOSTDOWN: _GONE,
    errno.EHOSTUNREACH: _GONE,
}


def render_marker(engine: EngineName, guid: str) -> bytes:
    """Return the content of the marker of a new repository with this id."""
    plain = {"version": _VERSION, "engine": engine.value, "id": guid, "note": _NOTE}
    return json.dumps(plain).encode() + b"\n"


def parse_marker(content: bytes, engine: EngineName) -> str:
    """Return the id of the repository that has this marker; it has to be one of the engine.

    Raises EngineError.
    """
    try:
        plain = json.loads(content)
        version, owner, guid = plain["version"], plain["engine"], plain["id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _damaged() from None
    if type(version) is not int or version < 1:
        raise _damaged()
    if version > _VERSION:
        message = "the repository was made by a later version of backrest-runner"
        raise EngineError(FailureClass.UNKNOWN, message, "use that version")
    if owner != engine:
        others = [one for one in EngineName if one == owner]
        message = f"the folder is a repository of {others[0] if others else 'another engine'}"
        raise EngineError(FailureClass.REPO_NOT_FOUND, message, "use a folder for each engine")
    if not isinstance(guid, str) or not _ID.fullmatch(guid):
        raise _damaged()
    return guid


def read_marker(folder: Path, engine: EngineName) -> str:
    """Return the id of the repository in a folder; creates nothing. Raises EngineError."""
    with explained(), opened(folder) as directory:
        return _read(directory, engine)


def create_marker(folder: Path, engine: EngineName) -> str:
    """Make a folder a repository unless it is one; return its id.

    The folder is made if it is missing. A marker that is there stays, whatever it says. Whoever is
    killed meanwhile leaves a folder with a marker or without, never with half of one.

    Raises EngineError.
    """
    with explained():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with opened(folder) as directory:
            if MARKER not in files.list_names(directory):
                _create(directory, render_marker(engine, secrets.token_hex(32)))
            guid = _read(directory, engine)
            for name in filter(_PART.fullmatch, files.list_names(directory)):
                files.remove(directory, name)
            return guid


@contextmanager
def explained() -> Iterator[None]:
    """Raise an OSError as an EngineError that says what is wrong with a repository's folder."""
    try:
        yield
    except OSError as error:
        unknown = (FailureClass.UNKNOWN, f"cannot be used: {error.strerror}", "")
        failure, what, hint = _FAILURES.get(error.errno or 0, unknown)
        raise EngineError(failure, f"the folder of the repository {what}", hint) from error


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """Open a folder as a descriptor until the end of the block. Raises OSError."""
    directory = files.open_directory(folder)
    try:
        yield directory
    finally:
        os.close(directory)


def _damaged() -> EngineError:
    hint = f"write {MARKER} anew from a copy, or use another folder"
    return EngineError(FailureClass.DAMAGED, "the marker of the repository is damaged", hint)


def _read(directory: int, engine: EngineName) -> str:
    try:
        descriptor = files.open_present(directory, MARKER)
    except FileNotFoundError:
        message = "there is no repository in its folder"
        hint = "is the disk mounted? A new repository has to be initialised"
        raise EngineError(FailureClass.REPO_NOT_FOUND, message, hint) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _damaged() from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _damaged()
        return parse_marker(files.read_all(descriptor, _LIMIT), engine)
    finally:
        os.close(descriptor)


def _create(directory: int, content: bytes) -> None:
    """Write a marker, whole or not at all, unless somebody else was faster."""
    part = f"{MARKER}.{secrets.token_hex(4)}.part"
    try:
        descriptor = files.create_new(directory, part)
        try:
            files.write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        # Not found: whoever was faster has put our part away, too.
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            _rename(directory, part)
        files.sync_directory(directory)
    finally:
        files.remove(directory, part)


def _rename(directory: int, part: str) -> None:
    try:
        files.rename_new(directory, part, MARKER)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with alone(directory):
            if MARKER not in files.list_names(directory):
                files.replace(directory, part, MARKER)


@contextmanager
def alone(directory: int) -> Iterator[None]:
    """Hold the lock on a folder, where its file system has locks. Raises EngineError if held."""
    if not _try_lock(directory):
        message = "somebody else is looking at the folder of the repository"
        raise EngineError(FailureClass.LOCKED, message, "try again")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            files.unlock(directory)


def _try_lock(directory: int) -> bool:
    try:
        return files.try_lock(directory)
    except OSError:
        # NFS locks no folders.
        return True
