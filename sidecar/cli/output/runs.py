"""Runs for people: a progress line while one is at work, and a line for how it ended."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TextIO

import click

from sidecar.cli.output.terminal import Meaning, styled, terminal_width
from sidecar.cli.output.text import can_redraw, choose_colour, printable, without_commands
from sidecar.engines.base import FailureClass, Progress, Stats
from sidecar.lib.duration import render_duration
from sidecar.lib.text import counted, render_size, short_id
from sidecar.runner.due import Job, JobKind
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
    {
        "run.ended",
        "run.dropped",
        "plan.emptied",
        "snapshot.ahead",
        "snapshot.forged",
        "restore.differs",
    }
)
_ENDED_KEYS = (
    *("kind", "of", "outcome", "failure", "reason"),
    *("seconds", "files", "size", "added", "snapshot"),
)
_LEAST_BAR = 10
_WIDEST_BAR = 40
_USUAL_WIDTH = 80
_LINE_SECONDS = 30.0
_CLEAR = "\r\x1b[K"


class ProgressLine:
    """Shows how far runs are on `stream`, by default standard error.

    A terminal gets one line, as wide as that is, which is drawn anew; a log gets a line each half
    minute.
    """

    def __init__(
        self, stream: TextIO | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._monotonic = monotonic
        self._is_terminal = can_redraw(self._stream, os.environ)
        self._is_coloured = choose_colour(os.environ) is not False
        self._due = monotonic() + _LINE_SECONDS
        self._running = dict[str, Progress]()
        self._is_shown = False

    def show(self, name: str, progress: Progress) -> None:
        """Show how far the run of that name is, beside others that have not ended."""
        self._running[printable(name)] = progress
        if self._is_terminal:
            line = render_line(self._running, (terminal_width(self._stream) or _USUAL_WIDTH) - 1)
            self._stream.write(f"{_CLEAR}{line if self._is_coloured else click.unstyle(line)}")
            self._stream.flush()
            self._is_shown = True
        elif self._monotonic() >= self._due:
            self._due = self._monotonic() + _LINE_SECONDS
            for one, far in self._running.items():
                line = f"{one} {_render_progress(far)}"
                self._stream.write(f"{without_commands(line)}\n")
            self._stream.flush()

    def end(self, name: str) -> None:
        """Make room for how the run of that name has ended; others are shown again later."""
        self._running.pop(printable(name), None)
        if self._is_shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._is_shown = False

    def clear(self) -> None:
        """Make room for what comes next; no run is at work any more."""
        for name in tuple(self._running):
            self.end(name)


def render_line(running: Mapping[str, Progress], width: int) -> str:
    """Write how far runs are in one line of at most `width` columns.

    For one run it is a bar with numbers, the most important ones where there is no more room; for
    several the share that each has done.
    """
    from rich.cells import cell_len, set_cell_size

    if len(running) > 1:
        shares = (f"{name} {one.fraction:.0%}" for name, one in running.items())
        line = "  ".join(shares)
        return line if cell_len(line) <= width else f"{set_cell_size(line, width - 1).rstrip()}…"
    ((name, progress),) = running.items()
    share = f"{progress.fraction:4.0%}"
    numbers = next(
        (
            one
            for one in _numbers(progress)
            if cell_len(f"{name}    {share}{one}") + _LEAST_BAR <= width
        ),
        "",
    )
    room = width - len(f"  {share}{numbers}")
    if cell_len(name) > room:
        name = f"{set_cell_size(name, max(0, room - 1)).rstrip()}…"
    bar = min(room - cell_len(name) - 2, _WIDEST_BAR)
    if bar < _LEAST_BAR:
        return f"{name}  {share}{numbers}"[:width]
    return f"{name}  {_bar(progress.fraction, bar)}  {share}{numbers}"


def _numbers(progress: Progress) -> Iterator[str]:
    """Yield what is known of a run besides its share, the most first."""
    size = f"  {render_size(progress.bytes)} of {render_size(progress.total_bytes)}"
    files = f"  {progress.files} of {counted(progress.total_files, 'file')}"
    left = progress.seconds_left
    rest = "" if left is None else f"  {render_duration(left)} left"
    yield from (f"{size}{files}{rest}", f"{size}{rest}", rest)


def _bar(fraction: float, width: int) -> str:
    done = round(min(max(fraction, 0.0), 1.0) * width)
    rest = styled("·" * (width - done), Meaning.MUTED) if done < width else ""
    return f"{styled('━' * done, Meaning.GOOD) if done else ''}{rest}"


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


def name_of(job: Job, shown: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return what a job is called in lines for people, for example `backup media/db`.

    `shown` are the names of plans by their ids.
    """
    is_of_repo = job.kind in {JobKind.CHECK, JobKind.FORGET, JobKind.PRUNE}
    subject = job.subject if is_of_repo else shown.get(job.subject, job.subject)
    return f"{job.kind.value} {subject}"


def outcome_of(finished: RunFinished) -> RunOutcome | None:
    """Return how a run ended; None: there was no run."""
    run = finished.run
    return None if run is None or run.ended is None else run.ended.outcome


def failure_of(finished: RunFinished) -> FailureClass | None:
    """Return the class of what went wrong in a run; None if nothing did."""
    run = finished.run
    return None if run is None or run.ended is None else run.ended.failure


def render_end(name: str, finished: RunFinished) -> str:
    """Write how a run ended as one line, for example `backup web: success in 3 s, snapshot ...`."""
    name, run = printable(name), finished.run
    if run is None or run.ended is None:
        return f"{name}: {render_outcome(None, (), finished.reason)}"
    ended = run.ended
    parts = [
        f"in {render_duration(ended.at - run.started)}",
        *([] if ended.stats is None else [render_stats(ended.stats)]),
        *([f"snapshot {short_id(ended.snapshot)}"] if ended.snapshot else []),
    ]
    return f"{name}: {render_outcome(ended.outcome, parts, ended.reason)}"


def render_end_json(job: Job, finished: RunFinished) -> str:
    """Write how a run ended as an object on one line; what is not known is null."""
    run = finished.run
    ended = None if run is None else run.ended
    if run is None or ended is None:
        return _object_line(job, outcome=None, reason=finished.reason)
    stats = ended.stats
    return _object_line(
        job,
        outcome=ended.outcome.value,
        reason=ended.reason,
        failure=ended.failure and ended.failure.value,
        seconds=round(ended.at - run.started, 3),
        files=None if stats is None else stats.files_processed,
        size=None if stats is None else stats.bytes_processed,
        added=None if stats is None else stats.bytes_added,
        snapshot=ended.snapshot,
    )


def render_last_json(job: Job, message: Mapping[str, Any]) -> str:
    """Write the daemon's last message about a run as such an object."""
    told = {name: message.get(name) for name in _ENDED_KEYS if name not in {"kind", "of"}}
    return _object_line(job, **told)


def _object_line(job: Job, **told: object) -> str:
    shown: dict[str, object] = dict.fromkeys(_ENDED_KEYS)
    shown |= {name: value for name, value in told.items() if value != ""}
    return json.dumps(shown | {"kind": job.kind.value, "of": job.subject}, ensure_ascii=False)


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
