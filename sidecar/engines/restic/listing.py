"""Parse the output of `snapshots --json`, `forget --json` and `ls --json`."""

import contextlib
import json
import stat
from collections.abc import Mapping
from typing import Any

from sidecar.engines.base import ChangeKind, EngineError, Entry, FailureClass, Snapshot
from sidecar.engines.restic.messages import number_of, parse_message, parse_time

_CHANGES = {"+": ChangeKind.ADDED, "-": ChangeKind.REMOVED}
# Another content, another type, and a content that has changed while nothing else did.
_OF_CONTENT = frozenset("MT?")
# Where Go keeps what Unix keeps above the permissions.
_HIGH_BITS = ((1 << 23, stat.S_ISUID), (1 << 22, stat.S_ISGID), (1 << 20, stat.S_ISVTX))


def parse_snapshots(output: bytes) -> tuple[Snapshot, ...]:
    """Parse a list of snapshots, oldest first; warnings may precede it. Raises EngineError."""
    start = 0 if output.startswith(b"[") else output.find(b"\n[") + 1
    try:
        found = [_snapshot(entry) for entry in json.loads(output[start:]) or ()]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = "restic's list of snapshots cannot be read"
        raise EngineError(FailureClass.UNKNOWN, message) from error
    return tuple(sorted(found, key=lambda snapshot: snapshot.time))


def parse_forgotten(output: bytes) -> tuple[Snapshot, ...]:
    """Parse the snapshots of all groups that `forget` answers with, kept ones and removed ones.

    Nothing follows from an answer that cannot be read: it is of no use then, but what was to be
    forgotten is forgotten.
    """
    start = 0 if output.startswith(b"[") else output.find(b"\n[") + 1
    try:
        return tuple(
            _snapshot(entry)
            for group in json.loads(output[start:]) or ()
            for entry in (*(group.get("keep") or ()), *(group.get("remove") or ()))
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()


def _snapshot(entry: Mapping[str, Any]) -> Snapshot:
    name = str(entry["id"])
    summary = entry.get("summary") or {}
    return Snapshot(
        id=name,
        time=parse_time(entry["time"]),
        paths=tuple(entry.get("paths") or ()),
        tags=tuple(entry.get("tags") or ()),
        bytes_processed=summary.get("total_bytes_processed"),
        files_processed=summary.get("total_files_processed"),
    )


def parse_entry(line: bytes) -> Entry | None:
    """Parse a line of `ls --json`; None if it is no entry."""
    node = parse_message(line)
    if node is None or node.get("struct_type", node.get("message_type")) != "node":
        return None
    mtime = None
    with contextlib.suppress(ValueError, OverflowError):
        mtime = parse_time(str(node.get("mtime", ""))).timestamp()
    mode, size = int(number_of(node, "mode")), int(number_of(node, "size"))
    path, kind = str(node.get("path", "")), str(node.get("type", ""))
    user, group = _owner(node, "uid"), _owner(node, "gid")
    return Entry(path, kind, size, _unix_mode(mode), mtime, user, group)


def parse_change(line: bytes) -> tuple[ChangeKind, str] | None:
    """Parse a line of `diff --json` to what became of a path; None if it tells of none.

    What differs in the owner, the mode or times alone is none.
    """
    message = parse_message(line)
    if message is None or message.get("message_type") != "change":
        return None
    letters, path = str(message.get("modifier", "")), str(message.get("path", ""))
    if letters not in _CHANGES and not set(letters) & _OF_CONTENT:
        return None
    return _CHANGES.get(letters, ChangeKind.CHANGED), path.rstrip("/") or "/"


def parse_stored(output: bytes) -> int | None:
    """Parse the answer of `stats --json` to a size in bytes; None if it cannot be read."""
    for line in reversed(output.splitlines()):
        if (message := parse_message(line)) is not None and "total_size" in message:
            return int(number_of(message, "total_size"))
    return None


def _owner(node: Mapping[str, Any], name: str) -> int | None:
    found = node.get(name)
    return found if isinstance(found, int) else None


def _unix_mode(mode: int) -> int:
    high = sum(bit for held, bit in _HIGH_BITS if mode & held)
    return (mode & 0o777) | high
