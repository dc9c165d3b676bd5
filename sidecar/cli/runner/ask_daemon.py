"""Having the daemon run something, and telling how that goes."""

import click

from sidecar.cli.output.runs import COLOURS, FAILED, ProgressLine, exit_of, render_counts
from sidecar.cli.output.text import printable
from sidecar.lib.duration import render_duration
from sidecar.runner.due import JobKind
from sidecar.runner.settings import RunnerSettings
from sidecar.web.control import ask
from sidecar.web.messages import Message, outcome_of, parse_progress

_STATES = {
    "queued": "is queued",
    "joined": "waits or runs already: its end is waited for",
}


def ask_daemon(settings: RunnerSettings, kind: JobKind, subject: str) -> int:
    """Have it run, and give the exit status of its end; raises NoDaemon if there is none."""
    name, line = f"{kind.value} {subject}", ProgressLine()
    for message in ask(settings.state_directory, {"do": kind.value, "of": subject}):
        if progress := parse_progress(message):
            line.show(name, progress)
        elif (state := str(message.get("state", ""))) in _STATES:
            click.echo(f"{printable(name)} {_STATES[state]}", err=True)
        elif message.get("last"):
            line.clear()
            click.echo(f"{printable(name)}: {_render_end(message)}")
            return exit_of(outcome_of(message))
    return FAILED


def _render_end(message: Message) -> str:
    outcome = outcome_of(message)
    reason = printable(str(message.get("reason") or ""))
    if outcome is None:
        return f"{click.style('not run', fg='red')}: {reason}"
    parts = [f"in {render_duration(float(message.get('seconds') or 0))}"]
    if message.get("size") is not None:
        counts = (int(message[name]) for name in ("files", "size", "added"))
        parts.append(render_counts(*counts))
    if message.get("snapshot"):
        parts.append(f"snapshot {str(message['snapshot'])[:8]}")
    word = click.style(outcome.value, fg=COLOURS[outcome])
    return f"{word} {', '.join(parts)}{f': {reason}' if reason else ''}"
