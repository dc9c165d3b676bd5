"""The markers by which the hook scripts remember what they have stopped.

They lie in `.quiesced/` beside the document, one a container or Swarm service, named
after it. The scripts that write them run in the backrest container, so their content is
not trusted: it is checked against Docker before anything is done about it.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sidecar.lib import files as atomic
from sidecar.lib.errors import StoreError

DIRECTORY = ".quiesced"
PART_SUFFIX = ".new"
"""How the name of a marker ends while it is written; a container's name may end so too."""

_TAKEN = ".taken"
_LIMIT = 4096
_MOST = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", re.ASCII)
_IDENTITY = re.compile(r"[0-9a-z]{12,64}", re.ASCII)
_MOST_REPLICAS = 9


class _Signature(NamedTuple):
    inode: int = 0
    size: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Marker:
    """One marker: `container` was `state` before `plan` stopped it.

    `container` is an id, of a service where `state` is `scaled`, and empty in a torn
    marker. `finished` is when it stopped, as Docker writes it, empty if the script died
    before it knew; `replicas` are those of the service. `written_at` in unix seconds by
    the clock of the file system. `signature` tells this marker from the next of its name.
    """

    name: str
    plan: str = ""
    container: str = ""
    state: str = ""
    finished: str = ""
    replicas: int = 0
    written_at: float = 0.0
    signature: _Signature = field(default_factory=_Signature)

    @property
    def is_of_service(self) -> bool:
        """Whether it names a Swarm service."""
        return self.state == "scaled"


def read_markers(directory: Path) -> list[Marker]:
    """Return the markers in `directory`, sorted by name; none where there is no directory.

    Follows no link and reads no file that is too large to be one. Raises StoreError when
    the directory or a marker cannot be read.
    """
    with _opened(directory) as descriptor:
        if descriptor is None:
            return []
        _put_back_taken(descriptor)
        names = [name for name in atomic.list_names(descriptor)[:_MOST] if _NAME.fullmatch(name)]
        found = (_read(descriptor, name) for name in names)
        return [marker for marker in found if marker is not None]


def remove_marker(directory: Path, marker: Marker) -> bool:
    """Remove the marker, but never another that a new run wrote under the same name.

    Returns whether it is gone. Raises StoreError when it cannot be removed.
    """
    with _opened(directory) as descriptor:
        if descriptor is None or _read(descriptor, marker.name) != marker:
            return descriptor is None
        taken = f".{marker.name}{_TAKEN}"
        try:
            atomic.replace(descriptor, marker.name, taken)
        except FileNotFoundError:
            return True
        # A run may have written its own since it was read: that one has to go back.
        if _signature(descriptor, taken) != marker.signature:
            _put_back(descriptor, taken)
            return False
        atomic.remove(descriptor, taken)
        atomic.sync_directory(descriptor)
        return True


@contextmanager
def _opened(directory: Path) -> Iterator[int | None]:
    """Open the directory, None if there is none; the body's OSErrors become StoreError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        try:
            descriptor = os.open(directory, flags)
        except FileNotFoundError:
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(
            f"the markers in {directory} cannot be used: {error.strerror}",
            "let the sidecar's user read and write that directory",
        ) from error


def _read(directory: int, name: str) -> Marker | None:
    """Read one marker; None for what is gone, or is no marker at all."""
    # Before it is opened: to open a device can be an act in itself.
    try:
        if not stat.S_ISREG(os.lstat(name, dir_fd=directory).st_mode):
            return None
        descriptor = atomic.open_present(directory, name)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
        content = atomic.read_all(descriptor, _LIMIT)
    finally:
        os.close(descriptor)
    if len(content) > _LIMIT:
        return None
    return _parse(name, content, status)


def _parse(name: str, content: bytes, status: os.stat_result) -> Marker:
    # A last line without its end was being written when its script died.
    lines = content.decode("utf-8", "replace").split("\n")[:-1]
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    replicas, container = fields.get("replicas", ""), fields.get("container", "")
    return Marker(
        name=name,
        plan=fields.get("plan", ""),
        container=container if _IDENTITY.fullmatch(container) else "",
        state=fields.get("state", ""),
        finished=fields.get("finished", ""),
        replicas=_count(replicas),
        written_at=status.st_mtime,
        signature=_Signature(status.st_ino, status.st_size, status.st_mtime_ns),
    )


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_REPLICAS else 0


def _signature(directory: int, name: str) -> _Signature | None:
    try:
        status = os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return None
    return _Signature(status.st_ino, status.st_size, status.st_mtime_ns)


def _put_back_taken(directory: int) -> None:
    """Undo a removal that was interrupted: the marker is decided about once more."""
    for name in atomic.list_names(directory):
        if name.startswith(".") and name.endswith(_TAKEN):
            _put_back(directory, name)


def _put_back(directory: int, taken: str) -> None:
    name = taken[1:].removesuffix(_TAKEN)
    try:
        atomic.rename_new(directory, taken, name)
    except FileExistsError:
        # A still newer one is there, and it names the same container.
        atomic.remove(directory, taken)
