"""What restic said: messages in JSON and in plain words, of old versions and of new ones.

Moments as restic writes them.

How far a restic is: its status lines, not more of them than somebody wants to see.
"""

import errno
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sidecar.engines.base import Progress, Report
from sidecar.lib.process import SilenceTimeout

_SKIPPED = re.compile(r"^(?P<item>.+) does not exist, skipping$")
_FATAL = re.compile(r"^(?:Fatal: )+")


@dataclass(frozen=True, slots=True)
class Unread:
    """A file or folder that a backup could not read, or a restore not write, and why."""

    item: str
    message: str


@dataclass(frozen=True, slots=True)
class ResticOutput:
    """All that a restic said: `fatal` is why it ended.

    `lines` are its words about what goes wrong, `shown` those about what it does.
    """

    lines: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    fatal: str = ""
    unread: tuple[Unread, ...] = ()
    summary: Mapping[str, Any] | None = None


def parse_said(out: bytes, err: bytes) -> ResticOutput:
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
    return ResticOutput(tuple(lines), _shown(out), fatal, tuple(unread.values()), _summary(out))


def _shown(out: bytes) -> tuple[str, ...]:
    """Return the words for people; a list or an object in JSON is none."""
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
    """Return the number under the first of the names that is there; restic leaves out zeros."""
    value = next((message[name] for name in names if name in message), 0)
    return value if isinstance(value, int | float) and math.isfinite(value) else 0


def _lines(stream: bytes) -> Iterator[str]:
    for line in stream.decode(errors="replace").splitlines():
        if line.strip():
            yield line.strip("\r")


def _words(message: Mapping[str, Any]) -> str:
    """Return what a message says to people."""
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
    """Return the words of an error; before 0.17 it is a number of the system, or nothing."""
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


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 moment, to the microsecond; aware. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# `[2:31] 40.00%  4 / 10 packs`: that time goes by is no progress.
_ELAPSED = re.compile(rb"^\[[\d:]+\] *")


class ProgressParser:
    """Takes the lines of a restic: what moved renews the patience, and is reported now and then.

    Reports come at most every `every` seconds of `monotonic`: the first one at once, and that of
    the end in any case.
    """

    def __init__(
        self,
        report: Report | None,
        patience: SilenceTimeout | None,
        monotonic: Callable[[], float],
        every: float = 1.0,
    ) -> None:
        self._report = report
        self._patience = patience
        self._monotonic = monotonic
        self._every = every
        self._last: object = None
        self._due = monotonic()

    def take(self, line: bytes) -> None:
        """Take one line of standard output."""
        message = parse_message(line) or {}
        kind = message.get("message_type")
        if kind == "status":
            progress = parse_progress(message)
            self._see((*_counts(progress), message.get("error_count")))
            if self._monotonic() >= self._due:
                self._tell(progress)
        else:
            self._see(_ELAPSED.sub(b"", line))
            if kind == "summary":
                self._tell(parse_end(message))

    def _see(self, sign: object) -> None:
        if sign != self._last and self._patience is not None:
            self._patience.renew()
        self._last = sign

    def _tell(self, progress: Progress) -> None:
        self._due = self._monotonic() + self._every
        if self._report is not None:
            self._report(progress)


def parse_progress(message: Mapping[str, Any]) -> Progress:
    """Read a status message of a backup or a restore; what is zero is left out of it."""
    left = number_of(message, "seconds_remaining")
    return Progress(
        fraction=min(1.0, max(0.0, number_of(message, "percent_done"))),
        files=int(number_of(message, "files_done", "files_restored")),
        total_files=int(number_of(message, "total_files")),
        bytes=int(number_of(message, "bytes_done", "bytes_restored")),
        total_bytes=int(number_of(message, "total_bytes")),
        seconds_left=left if "seconds_remaining" in message else None,
    )


def parse_end(summary: Mapping[str, Any]) -> Progress:
    """Read the summary of a backup or a restore: all is done."""
    files = int(number_of(summary, "total_files_processed", "files_restored"))
    size = int(number_of(summary, "total_bytes_processed", "bytes_restored"))
    return Progress(1.0, files, files, size, size)


def _counts(progress: Progress) -> tuple[int, int, int, int]:
    return progress.files, progress.total_files, progress.bytes, progress.total_bytes
