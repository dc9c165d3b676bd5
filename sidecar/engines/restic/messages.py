"""What restic said: messages in JSON and in plain words, of old versions and of new ones."""

import errno
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_SKIPPED = re.compile(r"^(?P<item>.+) does not exist, skipping$")
_FATAL = re.compile(r"^(?:Fatal: )+")


@dataclass(frozen=True, slots=True)
class Unread:
    """A file or folder that a backup could not read, or a restore not write, and why."""

    item: str
    message: str


@dataclass(frozen=True, slots=True)
class Said:
    """All that a restic said: `fatal` is why it ended.

    `lines` are its words about what goes wrong, `shown` those about what it does.
    """

    lines: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    fatal: str = ""
    unread: tuple[Unread, ...] = ()
    summary: Mapping[str, Any] | None = None


def parse_said(out: bytes, err: bytes) -> Said:
    """Read the two streams of a restic that ended, or the last bytes of them."""
    lines: list[str] = []
    fatal = ""
    unread: dict[str, Unread] = {}
    for text in _lines(err):
        message = parse_message(text)
        words = _words(message) if message else text
        lines += words.splitlines()
        if (message or {}).get("message_type") == "exit_error" or _FATAL.match(words):
            fatal = _FATAL.sub("", words)
        if found := _unread(message, text):
            unread.setdefault(found.item, found)
    return Said(tuple(lines), _shown(out), fatal, tuple(unread.values()), _summary(out))


def _shown(out: bytes) -> tuple[str, ...]:
    """Give the words for people; a list or an object in JSON is none."""
    return tuple(
        line
        for line in _lines(out)
        if '"message_type"' not in line and not line.startswith(("[{", "{", "}", '  "'))
    )


def parse_message(text: str | bytes) -> Mapping[str, Any] | None:
    """Read a line that is a JSON object; None if it is none."""
    try:
        message = json.loads(text) if text.lstrip()[:1] in ("{", b"{") else None
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def number_of(message: Mapping[str, Any], *names: str) -> float:
    """Give the number under the first of the names that is there; restic leaves out zeros."""
    value = next((message[name] for name in names if name in message), 0)
    return value if isinstance(value, int | float) and math.isfinite(value) else 0


def _lines(stream: bytes) -> Iterator[str]:
    for line in stream.decode(errors="replace").splitlines():
        if line.strip():
            yield line.strip("\r")


def _words(message: Mapping[str, Any]) -> str:
    """Give what a message says to people."""
    said = message.get("message")
    if isinstance(said, str):
        return said.strip()
    return f"{message.get('item', '')}: {_cause(message.get('error'))}"


def _unread(message: Mapping[str, Any] | None, text: str) -> Unread | None:
    if message is None:
        skipped = _SKIPPED.match(text)
        return Unread(skipped["item"], "does not exist") if skipped else None
    if "item" in message and "error" in message:
        return Unread(str(message["item"]), _cause(message["error"]))
    return None


def _cause(error: Any) -> str:
    """Give the words of an error; before 0.17 it is a number of the system, or nothing."""
    if not isinstance(error, dict):
        return "could not be read"
    if isinstance(error.get("message"), str):
        return str(error["message"])
    number = error.get("Err")
    if isinstance(number, int) and number in errno.errorcode:
        return os.strerror(number).lower()
    return "could not be read"


def _summary(out: bytes) -> Mapping[str, Any] | None:
    for line in reversed(out.splitlines()):
        message = parse_message(line)
        if message is not None and message.get("message_type") == "summary":
            return message
    return None
