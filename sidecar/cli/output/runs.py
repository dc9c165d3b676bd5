"""Runs for people: a progress line while one is at work, and a line for how it ended."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

from sidecar.cli.output.terminal import Meaning, styled
from sidecar.cli.output.text import can_redraw, printable, without_commands
from sidecar.engines.base import FailureClass, Progress, Stats
from sidecar.lib.duration import render_duration
from sidecar.lib.text import counted, render_size, short_id
from sidecar.runner.due import Job
from sidecar.runner.job.progress import RunFinished
from sidecar.runner.journal import RunOutcome

MEANINGS = {
    RunOutcome.SUCCESS: Meaning.GOOD,
    RunOutcome.SKIPPED: Meaning.GOOD,
    RunOutcome.WARNING: Meaning.UNSURE,
    RunOutcome.FAILED: Meaning.BAD,
    RunOutcome.CANCELLED: Meaning.BAD,
    RunOutcome.INTERRUPTED: Meaning.BAD,
}
_TOLD_AT_END = frozenset(
    {"run.ended", "run.dropped", "plan.emptied", "snapshot.ahead", "snapshot.forged"}
)
_BAR_WIDTH = 24
_LINE_SECONDS = 30.0
_CLEAR = "\r\x1b[K"


class ProgressLine:
    """Shows one run after another on `stream`, by default standard error.

    A terminal gets a bar that is drawn anew; a log gets a line each half minute.
    """

    def __init__(
        self, stream: TextIO | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._monotonic = monotonic
        self._is_terminal = can_redraw(self._stream, os.environ)
        self._due = monotonic() + _LINE_SECONDS
        self._is_shown = False

    def show(self, name: str, progress: Progress) -> None:
        """Show how far the run of that name is."""
        if self._is_terminal:
            self._stream.write(f"{_CLEAR}{printable(name)} {_render_bar(progress)}")
            self._stream.flush()
            self._is_shown = True
        elif self._monotonic() >= self._due:
            self._due = self._monotonic() + _LINE_SECONDS
            line = f"{printable(name)} {_render_progress(progress)}"
            self._stream.write(f"{without_commands(line)}\n")
            self._stream.flush()

    def clear(self) -> None:
        """Make room for what comes next."""
        if self._is_shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._is_shown = False


def _render_bar(progress: Progress) -> str:
    """Draw a bar, with the same in numbers behind it."""
    done = int(progress.fraction * _BAR_WIDTH)
    return f"[{'#' * done}{'.' * (_BAR_WIDTH - done)}] {_render_progress(progress)}"


def _render_progress(progress: Progress) -> str:
    left = progress.seconds_left
    rest = "" if left is None else f", {render_duration(left)} left"
    return (
        f"{progress.fraction:.0%}, {render_size(progress.bytes)} of "
        f"{render_size(progress.total_bytes)}, {progress.files} of "
        f"{counted(progress.total_files, 'file')}"
        f"{rest}"
    )


def is_shown_at_end(event: str, fields: Mapping[str, object]) -> bool:
    """Return whether the line for the end of a run says what an event of the log does.

    There is none for a run that is tried again.
    """
    return event in _TOLD_AT_END and "again" not in fields


def name_of(job: Job) -> str:
    """Return what a job is called in lines for people, for example `backup web`."""
    return f"{job.kind.value} {job.subject}"


def outcome_of(finished: RunFinished) -> RunOutcome | None:
    """Return how a run ended; None: there was no run."""
    run = finished.run
    return None if run is None or run.ended is None else run.ended.outcome


def failure_of(finished: RunFinished) -> FailureClass | None:
    """Return the class of what went wrong in a run; None if nothing did."""
    run = finished.run
    return None if run is None or run.ended is None else run.ended.failure


def render_end(job: Job, finished: RunFinished) -> str:
    """Write how a run ended as one line, for example `backup web: success in 3 s, snapshot ...`."""
    name, run = printable(name_of(job)), finished.run
    if run is None or run.ended is None:
        return f"{name}: {render_outcome(None, (), finished.reason)}"
    ended = run.ended
    parts = [
        f"in {render_duration(ended.at - run.started)}",
        *([] if ended.stats is None else [render_stats(ended.stats)]),
        *([f"snapshot {short_id(ended.snapshot)}"] if ended.snapshot else []),
    ]
    return f"{name}: {render_outcome(ended.outcome, parts, ended.reason)}"


def render_outcome(outcome: RunOutcome | None, parts: Iterable[str], reason: str) -> str:
    """Write an outcome in colour, what is known of the run, and why it ended so."""
    if outcome is None:
        return f"{styled('not run', Meaning.BAD)}: {printable(reason)}"
    why = f": {printable(reason)}" if reason else ""
    return f"{styled(outcome.value, MEANINGS[outcome])} {', '.join(parts)}{why}"


def render_stats(stats: Stats) -> str:
    """Write what a backup counted."""
    return render_counts(stats.files_processed, stats.bytes_processed, stats.bytes_added)


def render_counts(files: int, size: int, added: int) -> str:
    """Write how much was read and how much of it was new, both in bytes."""
    return f"{counted(files, 'file')} of {render_size(size)} read, {render_size(added)} added"
