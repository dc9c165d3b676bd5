"""How runs ended, for people."""

import click

from sidecar.cli.output.text import printable, render_size
from sidecar.engines.base import Stats
from sidecar.lib.duration import render_duration
from sidecar.runner.due import Work
from sidecar.runner.job.progress import Over
from sidecar.runner.journal import Outcome

COLOURS = {
    Outcome.SUCCESS: "green",
    Outcome.SKIPPED: "green",
    Outcome.WARNING: "yellow",
    Outcome.FAILED: "red",
    Outcome.CANCELLED: "red",
    Outcome.INTERRUPTED: "red",
}
_SHORT_ID = 8


def name_of(work: Work) -> str:
    """Give what a run is called in lines for people."""
    return f"{work.kind.value} {work.subject}"


def outcome_of(over: Over) -> Outcome | None:
    """Give how it ended; None: there was no run."""
    return None if over.run is None or over.run.ended is None else over.run.ended.outcome


def render_end(work: Work, over: Over) -> str:
    """Write how a run ended, in a line."""
    run = over.run
    if run is None or run.ended is None:
        return f"{printable(name_of(work))}: {click.style('not run', fg='red')}: " + printable(
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
    return f"{printable(name_of(work))}: {word} {', '.join(parts)}{reason}"


def render_stats(stats: Stats) -> str:
    """Write what a backup counted."""
    return render_counts(stats.files_processed, stats.bytes_processed, stats.bytes_added)


def render_counts(files: int, size: int, added: int) -> str:
    """Write how much was read and how much was new, in bytes."""
    what = "1 file" if files == 1 else f"{files} files"
    return f"{what} of {render_size(size)} read, {render_size(added)} added"
