"""Find the extended attributes of entries in the records of a snapshot's folders. Pure.

`restic ls` does not tell them. A folder's record, a tree, is a JSON object of its entries, with
the name of the record of each folder in it.
"""

import base64
import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sidecar.engines.base import EngineError, EntryAttributes, FailureClass

_ESCAPE = re.compile(
    rb"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL
)
_PLAIN = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

ReadTree = Callable[[str], bytes]
"""Returns the record of a folder by its name; raises EngineError."""


def find_attributes(snapshot: bytes, path: str, read: ReadTree) -> Iterator[EntryAttributes]:
    """Yield what has extended attributes at and below an absolute path, a folder at a time.

    `snapshot` is the record of the snapshot. Raises EngineError.
    """
    names = [name.encode(errors="surrogateescape") for name in path.split("/") if name]
    waiting = [(b"/", str(_parse(snapshot).get("tree", "")), names)]
    while waiting:
        folder, tree, wanted = waiting.pop()
        for node in _nodes(read(tree)):
            name = unquote(str(node.get("name", "")))
            if wanted and name != wanted[0]:
                continue
            here = posixpath.join(folder, name)
            if not wanted[1:] and (held := _attributes(node)):
                yield EntryAttributes(here, held)
            if subtree := node.get("subtree"):
                waiting.append((here, str(subtree), wanted[1:]))


def unquote(name: str) -> bytes:
    """Return the bytes of a name, which restic writes as Go quotes a string."""
    return _ESCAPE.sub(_plain_bytes, name.encode(errors="surrogateescape"))


def _plain_bytes(found: "re.Match[bytes]") -> bytes:
    if found[1] or found[4]:
        return bytes([int(found[1], 16) if found[1] else int(found[4], 8)])
    if code := found[2] or found[3]:
        return chr(int(code, 16)).encode(errors="surrogatepass")
    return _PLAIN.get(found[5], found[5])


def _attributes(node: Mapping[str, Any]) -> dict[str, bytes]:
    try:
        return {
            str(one["name"]): base64.b64decode(one.get("value") or "", validate=True)
            for one in node.get("extended_attributes") or ()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable() from error


def _nodes(tree: bytes) -> list[Mapping[str, Any]]:
    nodes = _parse(tree).get("nodes")
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise _unreadable()
    return nodes


def _parse(record: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(record[record.find(b"{") :])
    except (ValueError, RecursionError) as error:
        raise _unreadable() from error
    if not isinstance(found, dict):
        raise _unreadable()
    return found


def _unreadable() -> EngineError:
    message = "restic's record of a folder cannot be read"
    return EngineError(FailureClass.UNKNOWN, message)
