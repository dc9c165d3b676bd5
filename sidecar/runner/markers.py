"""A small file for each plan that says how its last run ended, for scripts and other eyes.

`PLAN.success` holds the time of the last success; `PLAN.failed` is there as long as the last
run failed, and holds three lines: FAILED, the time, and why. Times are unix seconds.
"""

import hashlib
import logging
from pathlib import Path
from urllib.parse import quote

from sidecar.lib.log import log_event
from sidecar.lib.write_file import write_small
from sidecar.runner.due import Kind
from sidecar.runner.journal import Outcome, Run

_BAD = frozenset({Outcome.FAILED, Outcome.INTERRUPTED})
_MOST_NAME = 200
_log = logging.getLogger(__name__)


def write_marker(directory: Path, run: Run) -> None:
    """Write down how a backup ended; raises nothing, and tells what cannot be written."""
    ended = run.ended
    if run.work.kind is not Kind.BACKUP or ended is None:
        return
    name = marker_name(run.work.subject)
    try:
        if ended.outcome.is_good:
            write_small(directory, f"{name}.success", f"{ended.at:.0f}\n".encode(), durable=True)
            (directory / f"{name}.failed").unlink(missing_ok=True)
        elif ended.outcome in _BAD:
            reason = " ".join(ended.reason.split()) or ended.outcome.value
            content = f"FAILED\n{ended.at:.0f}\n{reason}\n".encode(errors="replace")
            write_small(directory, f"{name}.failed", content, durable=True)
    except OSError as error:
        log_event(
            _log, logging.ERROR, "marker.not-written", plan=run.work.subject, reason=str(error)
        )


def marker_name(plan: str) -> str:
    """Give the name under which a plan's files stand: its id, if that can be one."""
    name = quote(plan, safe="")
    if len(name) <= _MOST_NAME:
        return name
    return f"{name[:_MOST_NAME]}-{hashlib.sha256(plan.encode()).hexdigest()[:16]}"
