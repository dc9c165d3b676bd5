"""Write a small file for each plan that says how its last backup ended, for scripts.

`PLAN.success` holds the time of the last success. `PLAN.failed` exists as long as the last
backup failed, and holds three lines: FAILED, the time, and why. Times are unix seconds.
"""

import hashlib
import logging
from pathlib import Path
from urllib.parse import quote

from sidecar.lib.log import log_event
from sidecar.lib.write_file import write_small
from sidecar.runner.due import JobKind
from sidecar.runner.journal import Run, RunOutcome

_MOST_NAME = 200
_log = logging.getLogger(__name__)


def write_marker(directory: Path, run: Run) -> None:
    """Write how a backup ended; other jobs have no marker.

    Raises nothing: a file that cannot be written is logged.
    """
    ended = run.ended
    if run.job.kind is not JobKind.BACKUP or ended is None:
        return
    name = marker_name(run.job.subject)
    try:
        if ended.outcome.is_good:
            write_small(directory, f"{name}.success", f"{ended.at:.0f}\n".encode(), durable=True)
            (directory / f"{name}.failed").unlink(missing_ok=True)
        elif ended.outcome in {RunOutcome.FAILED, RunOutcome.INTERRUPTED}:
            reason = " ".join(ended.reason.split()) or ended.outcome.value
            content = f"FAILED\n{ended.at:.0f}\n{reason}\n".encode(errors="replace")
            write_small(directory, f"{name}.failed", content, durable=True)
    except OSError as error:
        log_event(
            _log, logging.ERROR, "marker.not-written", plan=run.job.subject, reason=str(error)
        )


def success_marker(directory: Path, plan: str) -> Path:
    """Return the file that holds the time of a plan's last success."""
    return directory / f"{marker_name(plan)}.success"


def marker_name(plan: str) -> str:
    """Return the name of a plan's files: its id, quoted, and cut if it is very long."""
    name = quote(plan, safe="")
    if len(name) <= _MOST_NAME:
        return name
    return f"{name[:_MOST_NAME]}-{hashlib.sha256(plan.encode()).hexdigest()[:16]}"
