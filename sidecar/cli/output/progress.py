"""How far a run is, for whoever waits: a bar on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from sidecar.cli.output.text import printable, render_size
from sidecar.engines.base import Progress
from sidecar.lib.duration import render_duration

_WIDTH = 24
_PAUSE = 30.0
_CLEAR = "\r\x1b[K"


class ProgressLine:
    """Shows one run after another on `stream`; elsewhere than on a terminal each half minute."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._is_terminal = self._stream.isatty()
        self._due = clock() + _PAUSE
        self._is_shown = False

    def show(self, name: str, progress: Progress) -> None:
        """Show how far the run of that name is."""
        if self._is_terminal:
            self._stream.write(f"{_CLEAR}{printable(name)} {render_bar(progress)}")
            self._stream.flush()
            self._is_shown = True
        elif self._clock() >= self._due:
            self._due = self._clock() + _PAUSE
            self._stream.write(f"{printable(name)} {render_counts(progress)}\n")
            self._stream.flush()

    def clear(self) -> None:
        """Make room for what comes next."""
        if self._is_shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._is_shown = False


def render_bar(progress: Progress) -> str:
    """Draw a bar, and say the same in numbers."""
    done = int(progress.fraction * _WIDTH)
    return f"[{'#' * done}{'.' * (_WIDTH - done)}] {render_counts(progress)}"


def render_counts(progress: Progress) -> str:
    """Say how far it is, in numbers."""
    left = progress.seconds_left
    rest = "" if left is None else f", {render_duration(left)} left"
    return (
        f"{progress.fraction:.0%}, {render_size(progress.bytes)} of "
        f"{render_size(progress.total_bytes)}, {progress.files} of {progress.total_files} files"
        f"{rest}"
    )
