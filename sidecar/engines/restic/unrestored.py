"""Tell a restore that lacks owners, modes or attributes from one that lacks contents. Pure.

Restic goes on after an error of an entry, and ends with status 1 and their number. If each of
them is about what an entry has beside its content, all contents were written.
"""

import re

from sidecar.engines.base import Unrestored
from sidecar.engines.restic.messages import parse_message

_NUMBER = re.compile(r"There were (\d+) errors")
# Restic before 0.16 writes lines, in which a name may hold anything but NUL.
_BEGIN = re.compile(r"^ignoring error for (?=/)", re.MULTILINE)
_END = re.compile(r"^(?=Fatal: )", re.MULTILINE)
_REFUSED = r"(?:operation not (?:permitted|supported)|permission denied|invalid argument)"
_HARMLESS = re.compile(
    rf"(?:Lchown: )?lchown .*: {_REFUSED}"
    rf"|f?chmod .*: {_REFUSED}"
    rf"|xattr\.L?Set .* (?P<attribute>\S+): {_REFUSED}"
    rf"|(?:failed to restore timestamp of|UtimesNano|utimensat).*: {_REFUSED}"
    rf"|mknod .*: {_REFUSED}"
    # Of a device node, by restic before 0.16: an entry without a content would be missing.
    r"|operation not permitted",
    re.DOTALL,
)


def parse_unrestored(err: bytes) -> tuple[Unrestored, ...]:
    """Return what entries lack; nothing if one lacks its content, or if that cannot be told.

    `err` is all that a restic wrote to its standard error.
    """
    text = err.decode(errors="replace")
    number = _NUMBER.search(text)
    found = _of_messages(text) or _of_lines(text)
    if number is None or found is None or len(found) != int(number[1]):
        return ()
    return tuple(found)


def _of_messages(text: str) -> list[Unrestored] | None:
    found = []
    for line in text.splitlines():
        message = parse_message(line) or {}
        if message.get("message_type") != "error":
            continue
        error = message.get("error")
        words = str(error.get("message", "")) if isinstance(error, dict) else ""
        known = _HARMLESS.fullmatch(words)
        if known is None:
            return None
        found.append(Unrestored(str(message.get("item", "")), words, known["attribute"] or ""))
    return found


def _of_lines(text: str) -> list[Unrestored] | None:
    found = []
    for piece in _BEGIN.split(text)[1:]:
        line = _END.split(piece)[0].rstrip("\n")
        path, _, words = line.partition(": ")
        # The name may hold a colon: then the path stands once more in the words.
        while (known := _HARMLESS.fullmatch(words)) is None:
            more, separator, words = words.partition(": ")
            if not separator:
                return None
            path = f"{path}: {more}"
        found.append(Unrestored(path, words, known["attribute"] or ""))
    return found
