"""The markers by which the hook scripts remember what they have stopped.

They lie in `.quiesced/` beside the document: `NAME` for a container, `.service@NAME` for a
Swarm service, each while it is written with `.new` and while it is removed with `.taken` in
front (`.new@NAME`, `.taken.service@NAME`). No container's name begins with a dot. An older
version wrote `NAME` for a service too, `NAME.new` and `.NAME.taken`: those are read as well.

A marker is written before its command is given, a line `KEY=VALUE` each: `plan`, `container` (an
id), `state` as it was before, `verb`, `at` in unix seconds, `timeout` (how long the container has
to stop) and of a service `replicas`. The last line, `finished`, comes when the command has
returned: without it, what was asked for may still be under way.

The scripts that write them run in the runner's container, so their content is
not trusted: it is checked against Docker before anything is done about it.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sidecar.docker.stopped import DEFAULT_SECONDS, ENDLESS, NotedStop, StopVerb
from sidecar.lib import files as atomic
from sidecar.lib.errors import StoreError

DIRECTORY = ".quiesced"
PART_SUFFIX = ".new"
"""How the name of a marker that an older version was writing ends; a container's may end so too."""

_TAKEN = ".taken"
_LIMIT = 4096
_MOST = 10_000
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}"
_FILE = re.compile(rf"(?:(?=\.)(\.new)?(\.service)?@)?({_NAME})", re.ASCII)
_TAKEN_FILE = re.compile(rf"\.taken((?:\.new)?(?:\.service)?@{_NAME})", re.ASCII)
_OLDER_TAKEN_FILE = re.compile(rf"\.({_NAME})\.taken", re.ASCII)
_IDENTITY = re.compile(r"[0-9a-z]{12,64}", re.ASCII)
_MOST_DIGITS = 9
_MOST_TIME = 11


class _Signature(NamedTuple):
    inode: int = 0
    size: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Marker:
    """One marker: `container` was `state` before `plan` stopped it.

    `name` is that of the container or service, `file` that of the marker's file; `is_part`:
    it was still being written when its script died.

    `container` is an id, of a service where `state` is `scaled`, and empty in a torn
    marker. `stop` is what was done to it; an older version did not write when: then it was
    when the file was written. `written_at` in unix seconds by the clock of the file system.
    `signature` tells this marker from the next of its name.
    """

    name: str
    plan: str = ""
    container: str = ""
    state: str = ""
    stop: NotedStop = field(default_factory=NotedStop)
    written_at: float = 0.0
    signature: _Signature = field(default_factory=_Signature)
    file: str = ""
    is_part: bool = False

    @property
    def is_of_service(self) -> bool:
        """Whether it names a Swarm service."""
        return self.state == "scaled" or ".service@" in self.file

    def was_never_used(self, actual: str = "") -> bool:
        """Return whether its script died before it stopped anything.

        `actual` is the name of what it speaks of: `web.new` may be the marker of the
        container `web.new`, or that of `web` which an older version was writing.
        """
        return self.is_part or (self.name.endswith(PART_SUFFIX) and actual != self.name)


def read_markers(directory: Path) -> list[Marker]:
    """Return the markers in `directory`, sorted by name; none where there is no directory.

    Follows no link and reads no file that is too large to be one. Raises StoreError when
    the directory or a marker cannot be read.
    """
    with _opened(directory) as descriptor:
        if descriptor is None:
            return []
        _put_back_taken(descriptor)
        names = [name for name in atomic.list_names(descriptor)[:_MOST] if _FILE.fullmatch(name)]
        found = (_read(descriptor, name) for name in names)
        return sorted(
            (marker for marker in found if marker is not None), key=lambda m: (m.name, m.file)
        )


def remove_marker(directory: Path, marker: Marker) -> bool:
    """Remove the marker, but never another that a new run wrote under the same name.

    Returns whether it is gone. Raises StoreError when it cannot be removed.
    """
    with _opened(directory) as descriptor:
        if descriptor is None or _read(descriptor, marker.file) != marker:
            return descriptor is None
        taken = f"{_TAKEN}{'' if marker.file.startswith('.') else '@'}{marker.file}"
        try:
            atomic.replace(descriptor, marker.file, taken)
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


def _read(directory: int, file: str) -> Marker | None:
    """Read one marker; None for what is gone, or is no marker at all."""
    if not (match := _FILE.fullmatch(file)):
        return None
    # Before it is opened: to open a device can be an act in itself.
    try:
        if not stat.S_ISREG(os.lstat(file, dir_fd=directory).st_mode):
            return None
        descriptor = atomic.open_present(directory, file)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
        content = atomic.read_all(descriptor, _LIMIT)
    finally:
        os.close(descriptor)
    if len(content) > _LIMIT:
        return None
    return _parse(match, content, status)


def _parse(match: re.Match[str], content: bytes, status: os.stat_result) -> Marker:
    # A last line without its end was being written when its script died.
    lines = content.decode("utf-8", "replace").split("\n")[:-1]
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    container = fields.get("container", "")
    return Marker(
        name=match[3],
        plan=fields.get("plan", ""),
        container=container if _IDENTITY.fullmatch(container) else "",
        state=fields.get("state", ""),
        stop=_parse_stop(fields, status.st_mtime),
        written_at=status.st_mtime,
        signature=_Signature(status.st_ino, status.st_size, status.st_mtime_ns),
        file=match[0],
        is_part=match[1] is not None,
    )


def _parse_stop(fields: Mapping[str, str], written_at: float) -> NotedStop:
    verb, timeout = fields.get("verb", ""), fields.get("timeout", "")
    is_endless = timeout == str(ENDLESS)
    return NotedStop(
        verb=StopVerb(verb) if verb in set(StopVerb) else StopVerb.UNKNOWN,
        at=_number(fields.get("at", ""), 0, most=_MOST_TIME) or written_at,
        seconds=ENDLESS if is_endless else _number(timeout, DEFAULT_SECONDS),
        finished=fields.get("finished", ""),
        replicas=_number(fields.get("replicas", ""), 0),
    )


def _number(text: str, default: int, most: int = _MOST_DIGITS) -> int:
    """Return the number that a text is, and the default where it is none or far too large."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= most else default


def _signature(directory: int, name: str) -> _Signature | None:
    try:
        status = os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return None
    return _Signature(status.st_ino, status.st_size, status.st_mtime_ns)


def _put_back_taken(directory: int) -> None:
    """Undo a removal that was interrupted: the marker is decided about once more."""
    for taken in atomic.list_names(directory):
        if _TAKEN_FILE.fullmatch(taken) or _OLDER_TAKEN_FILE.fullmatch(taken):
            _put_back(directory, taken)


def _put_back(directory: int, taken: str) -> None:
    match = _TAKEN_FILE.fullmatch(taken) or _OLDER_TAKEN_FILE.fullmatch(taken)
    name = match[1].removeprefix("@") if match else taken
    try:
        atomic.rename_new(directory, taken, name)
    except FileExistsError:
        # A still newer one is there, and it names the same container.
        atomic.remove(directory, taken)
