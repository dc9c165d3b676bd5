"""How far a restic is: its status lines, not more of them than somebody wants to see."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sidecar.engines.base import Progress, Report
from sidecar.engines.restic.messages import number_of, parse_message
from sidecar.lib.process import Patience

# `[2:31] 40.00%  4 / 10 packs`: that time goes by is no progress.
_ELAPSED = re.compile(rb"^\[[\d:]+\] *")


class Signs:
    """Takes the lines of a restic: what moved renews the patience, and is reported now and then.

    Reports come at most every `every` seconds of `clock`: the first one at once, and that of
    the end in any case.
    """

    def __init__(
        self,
        report: Report | None,
        patience: Patience | None,
        clock: Callable[[], float],
        every: float = 1.0,
    ) -> None:
        self._report = report
        self._patience = patience
        self._clock = clock
        self._every = every
        self._last: object = None
        self._due = clock()

    def take(self, line: bytes) -> None:
        """Take one line of standard output."""
        message = parse_message(line) or {}
        kind = message.get("message_type")
        if kind == "status":
            progress = parse_progress(message)
            self._see((*_counts(progress), message.get("error_count")))
            if self._clock() >= self._due:
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
        self._due = self._clock() + self._every
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
