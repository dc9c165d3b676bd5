"""Parse restic's output: messages in JSON or plain text, times, progress, of every version."""

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
# `[2:31] 40.00%  4 / 10 packs`: elapsed time alone is no progress.
_ELAPSED = re.compile(rb"^\[[\d:]+\] *")


@dataclass(frozen=True, slots=True)
class Unread:
    """A file or folder that a backup could not read, or a restore not write, and why."""

    item: str
    message: str


@dataclass(frozen=True, slots=True)
class ResticOutput:
    """What a restic has written until it ended.

    Attributes:
        lines: text about errors.
        shown: text about progress and results.
        fatal: the error that ended it; empty if there was none.
        unread: files that could not be read or written.
        summary: the summary message of a backup or a restore.
    """

    lines: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    fatal: str = ""
    unread: tuple[Unread, ...] = ()
    summary: Mapping[str, Any] | None = None


def parse_output(out: bytes, err: bytes) -> ResticOutput:
    """Parse the two streams of a restic that ended, or the last bytes of them."""
    lines: list[str] = []
    fatal = ""
    unread: dict[str, Unread] = {}
    for text in _lines(err):
        message = parse_message(text)
        plain = _text_of(message) if message else text
        lines += plain.splitlines()
        if (message or {}).get("message_type") == "exit_error" or _FATAL.match(plain):
            fatal = _FATAL.sub("", plain)
        if found := _unread(message, text):
            unread.setdefault(found.item, found)
    return ResticOutput(tuple(lines), _shown(out), fatal, tuple(unread.values()), _summary(out))


def _shown(out: bytes) -> tuple[str, ...]:
    """Return the lines for people: all but lists and objects in JSON."""
    return tuple(
        line
        for line in _lines(out)
        if '"message_type"' not in line and not line.startswith(("[{", "{", "}", '  "'))
    )


def parse_message(text: str | bytes) -> Mapping[str, Any] | None:
    """Parse a line that is a JSON object; None if it is not one."""
    try:
        message = json.loads(text) if text.lstrip()[:1] in ("{", b"{") else None
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def number_of(message: Mapping[str, Any], *names: str) -> float:
    """Return the number of the first of the names that exists; 0 if none, as restic omits zeros."""
    value = next((message[name] for name in names if name in message), 0)
    return value if isinstance(value, int | float) and math.isfinite(value) else 0


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 time to an aware datetime, to the microsecond. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _lines(stream: bytes) -> Iterator[str]:
    for line in stream.decode(errors="replace").splitlines():
        if line.strip():
            yield line.strip("\r")


def _text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message for people."""
    text = message.get("message")
    if isinstance(text, str):
        return text.strip()
    return f"{message.get('item', '')}: {_cause(message.get('error'))}"


def _unread(message: Mapping[str, Any] | None, text: str) -> Unread | None:
    if message is None:
        skipped = _SKIPPED.match(text)
        return Unread(skipped["item"], "does not exist") if skipped else None
    if "item" in message and "error" in message:
        return Unread(str(message["item"]), _cause(message["error"]))
    return None


def _cause(error: Any) -> str:
    """Return the text of an error; before restic 0.17 it is an errno, or nothing."""
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


class ProgressParser:
    """Parses lines of a running restic: progress renews `patience` and is reported.

    Reports come at most every `every` seconds of `monotonic`; the first one comes at once, that
    of the end in any case.
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
            self._note((*_counts(progress), message.get("error_count")))
            if self._monotonic() >= self._due:
                self._send(progress)
        else:
            self._note(_ELAPSED.sub(b"", line))
            if kind == "summary":
                self._send(parse_end(message))

    def _note(self, state: object) -> None:
        """Renew the patience if anything differs from the last line."""
        if state != self._last and self._patience is not None:
            self._patience.renew()
        self._last = state

    def _send(self, progress: Progress) -> None:
        self._due = self._monotonic() + self._every
        if self._report is not None:
            self._report(progress)


def parse_progress(message: Mapping[str, Any]) -> Progress:
    """Parse a status message of a backup or a restore."""
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
    """Parse the summary of a backup or a restore into the progress of its end."""
    files = int(number_of(summary, "total_files_processed", "files_restored"))
    size = int(number_of(summary, "total_bytes_processed", "bytes_restored"))
    return Progress(1.0, files, files, size, size)


def _counts(progress: Progress) -> tuple[int, int, int, int]:
    return progress.files, progress.total_files, progress.bytes, progress.total_bytes
