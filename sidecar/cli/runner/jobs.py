"""Running jobs for a command, by the daemon or in this process.

Progress goes to standard error, how each run ended to standard output, and what is returned is
an exit status.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from sidecar.cli.exits import FAILED, status_of, worst
from sidecar.cli.names import shown_names
from sidecar.cli.output.runs import (
    ProgressLine,
    failure_of,
    is_shown_at_end,
    name_of,
    outcome_of,
    render_counts,
    render_end,
    render_end_json,
    render_last_json,
    render_outcome,
)
from sidecar.cli.output.text import echo, printable
from sidecar.cli.output.warnings import hold_back, tell_held
from sidecar.engines.base import BackupType
from sidecar.lib.duration import render_duration
from sidecar.lib.log import leave_out
from sidecar.lib.text import short_id
from sidecar.runner.due import Job, JobKind

if TYPE_CHECKING:
    from sidecar.runner.settings import RunnerSettings
    from sidecar.runner.union import Documents
    from sidecar.web.messages import Message

_STATES = {
    "queued": "is queued",
    "joined": "waits or runs already: its end is waited for",
}


def run_by_daemon(
    settings: "RunnerSettings",
    kind: JobKind,
    subject: str,
    form: str = "text",
    *,
    accept_empty: bool = False,
    wanted: BackupType | None = None,
) -> int:
    """Have the daemon run a job and wait for its end; raises NoDaemon if there is none.

    `form` is text or json. `accept_empty`: the plan may hold no file, until it holds some again.
    `wanted` is the type of a backup.
    """
    from sidecar.web.client import run_job
    from sidecar.web.messages import parse_failure, parse_outcome, parse_progress

    job, line = Job(kind, subject, ""), ProgressLine()
    name = name_of(job, _shown(settings))
    events = run_job(
        settings.state_directory, kind, subject, accept_empty=accept_empty, wanted=wanted
    )
    for message in events:
        if progress := parse_progress(message):
            line.show(name, progress)
        elif (state := str(message.get("state", ""))) in _STATES:
            echo(f"{printable(name)} {_STATES[state]}", err=True)
        elif message.get("last"):
            line.clear()
            if form == "json":
                echo(render_last_json(job, message), form=form)
            else:
                echo(f"{printable(name)}: {_render_last(message)}")
            return status_of(parse_outcome(message), parse_failure(message))
    return FAILED


def run_in_foreground(
    settings: "RunnerSettings",
    documents: "Documents",
    jobs: Sequence[Job],
    accepted: Collection[str] = (),
    wanted: BackupType | None = None,
    form: str = "text",
) -> int:
    """Run jobs of the documents one after another, in this process.

    `form` is text or json. `accepted` are the ids of plans that may hold no file, until they hold
    some again. `wanted` is the type of the backups; None: their engines choose.
    """
    from sidecar.runner.foreground import run_here
    from sidecar.runner.job.progress import RunFinished

    line, statuses, shown = ProgressLine(), list[int](), _shown(settings)
    leave_out(is_shown_at_end)
    hold_back()
    events = run_here(settings, dict(os.environ), documents, jobs, accepted, wanted)
    with ExitStack() as stack:
        stack.callback(tell_held)
        stack.enter_context(closing(events))
        for job, event in events:
            if isinstance(event, RunFinished):
                line.end(name_of(job, shown))
                told = render_end(name_of(job, shown), event)
                tell_held(told)
                echo(render_end_json(job, event) if form == "json" else told, form=form)
                statuses.append(status_of(outcome_of(event), failure_of(event)))
            else:
                line.show(name_of(job, shown), event)
    return worst(statuses)


def _shown(settings: "RunnerSettings") -> Mapping[str, str]:
    """Return what plans are called, by their ids."""
    from sidecar.cli.runner.settings import read_names_for

    return shown_names(read_names_for(settings))


def _render_last(message: "Message") -> str:
    """Write the last message about a run: how it ended, and what it counted."""
    from sidecar.web.messages import parse_outcome

    parts = [f"in {render_duration(float(message.get('seconds') or 0))}"]
    if message.get("size") is not None:
        counts = (int(message[name]) for name in ("files", "size", "added"))
        parts.append(render_counts(*counts))
    if message.get("snapshot"):
        parts.append(f"snapshot {short_id(str(message['snapshot']))}")
    return render_outcome(parse_outcome(message), parts, str(message.get("reason") or ""))
