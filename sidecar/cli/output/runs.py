"""How runs ended, for people.

How far a run is, for whoever waits: a bar on a terminal, now and then a line elsewhere.

Exit statuses: what scripts may rely on.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

import click

from sidecar.cli.output.text import printable
from sidecar.engines.base import Progress, Stats
from sidecar.lib.duration import render_duration
from sidecar.lib.text import render_size
from sidecar.runner.due import Job
from sidecar.runner.job.progress import RunFinished
from sidecar.runner.journal import RunOutcome

COLOURS = {
    RunOutcome.SUCCESS: "green",
    RunOutcome.SKIPPED: "green",
    RunOutcome.WARNING: "yellow",
    RunOutcome.FAILED: "red",
    RunOutcome.CANCELLED: "red",
    RunOutcome.INTERRUPTED: "red",
}
_SHORT_ID = 8


def name_of(job: Job) -> str:
    """Return what a run is called in lines for people."""
    return f"{job.kind.value} {job.subject}"


def outcome_of(over: RunFinished) -> RunOutcome | None:
    """Return how it ended; None: there was no run."""
    return None if over.run is None or over.run.ended is None else over.run.ended.outcome


def render_end(job: Job, over: RunFinished) -> str:
    """Write how a run ended, in a line."""
    run = over.run
    if run is None or run.ended is None:
        return f"{printable(name_of(job))}: {click.style('not run', fg='red')}: " + printable(
            over.reason
        )
    ended = run.ended
    parts = [
        f"in {render_duration(ended.at - run.started)}",
        *([] if ended.stats is None else [render_stats(ended.stats)]),
        *([f"snapshot {ended.snapshot[:_SHORT_ID]}"] if ended.snapshot else []),
    ]
    word = click.style(ended.outcome.value, fg=COLOURS[ended.outcome])
    reason = f": {printable(ended.reason)}" if ended.reason else ""
    return f"{printable(name_of(job))}: {word} {', '.join(parts)}{reason}"


def render_stats(stats: Stats) -> str:
    """Write what a backup counted."""
    return render_counts(stats.files_processed, stats.bytes_processed, stats.bytes_added)


def render_counts(files: int, size: int, added: int) -> str:
    """Write how much was read and how much was new, in bytes."""
    what = "1 file" if files == 1 else f"{files} files"
    return f"{what} of {render_size(size)} read, {render_size(added)} added"


_WIDTH = 24
_PAUSE = 30.0
_CLEAR = "\r\x1b[K"


class ProgressLine:
    """Shows one run after another on `stream`; elsewhere than on a terminal each half minute."""

    def __init__(
        self, stream: TextIO | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._monotonic = monotonic
        self._is_terminal = self._stream.isatty()
        self._due = monotonic() + _PAUSE
        self._is_shown = False

    def show(self, name: str, progress: Progress) -> None:
        """Show how far the run of that name is."""
        if self._is_terminal:
            self._stream.write(f"{_CLEAR}{printable(name)} {render_bar(progress)}")
            self._stream.flush()
            self._is_shown = True
        elif self._monotonic() >= self._due:
            self._due = self._monotonic() + _PAUSE
            self._stream.write(f"{printable(name)} {render_progress_counts(progress)}\n")
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
    return f"[{'#' * done}{'.' * (_WIDTH - done)}] {render_progress_counts(progress)}"


def render_progress_counts(progress: Progress) -> str:
    """Say how far it is, in numbers."""
    left = progress.seconds_left
    rest = "" if left is None else f", {render_duration(left)} left"
    return (
        f"{progress.fraction:.0%}, {render_size(progress.bytes)} of "
        f"{render_size(progress.total_bytes)}, {progress.files} of {progress.total_files} files"
        f"{rest}"
    )


SUCCESS, FAILED, WARNINGS = 0, 1, 3
STATUSES: Mapping[int, str] = {
    SUCCESS: "done, and nothing needs attention",
    FAILED: "it could not be done, or a run failed; also a wrong flag",
    WARNINGS: "done, but something needs attention: a run ended with warnings",
}
"""What each status means."""

_BADNESS = (SUCCESS, WARNINGS, FAILED)


def exit_of(outcome: RunOutcome | None) -> int:
    """Return the status for the end of a run; None: there was none."""
    if outcome is RunOutcome.WARNING:
        return WARNINGS
    return SUCCESS if outcome is not None and outcome.is_good else FAILED


def worst(statuses: Iterable[int]) -> int:
    """Return the worst of several."""
    return max(statuses, key=_BADNESS.index, default=SUCCESS)
