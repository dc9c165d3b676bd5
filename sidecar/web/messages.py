"""The events of a job as JSON objects: written by the daemon, read by the command.

The first is `{"state": "queued"}` or `"joined"`. The last has `"last": true`; it says how the run
ended, or why there was none.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from sidecar.engines.base import FailureClass, Progress
from sidecar.runner.job.progress import RunFinished
from sidecar.runner.journal import RunOutcome

if TYPE_CHECKING:
    from sidecar.runner.control import JobEvent

JOBS = "/jobs"
"""Where a job is asked for: POST `{"kind": "backup", "of": "web"}`."""
Message: TypeAlias = Mapping[str, Any]


def render_event(event: "JobEvent") -> Message:
    """Return the message for one event of a job."""
    if isinstance(event, RunFinished):
        return {**_render_end(event), "last": True}
    return render_progress(event) if isinstance(event, Progress) else {"state": event.value}


def render_progress(progress: Progress) -> Message:
    """Return the message for how far a run is."""
    return {
        "fraction": progress.fraction,
        "files": progress.files,
        "total_files": progress.total_files,
        "bytes": progress.bytes,
        "total_bytes": progress.total_bytes,
        "seconds_left": progress.seconds_left,
    }


def parse_progress(message: Message) -> Progress | None:
    """Return how far a run is; None if the message is about something else."""
    if "fraction" not in message:
        return None
    left = message.get("seconds_left")
    return Progress(
        float(message["fraction"]),
        int(message["files"]),
        int(message["total_files"]),
        int(message["bytes"]),
        int(message["total_bytes"]),
        None if left is None else float(left),
    )


def _render_end(finished: RunFinished) -> dict[str, Any]:
    run = finished.run
    if run is None or run.ended is None:
        return {"outcome": None, "reason": finished.reason}
    ended, stats = run.ended, run.ended.stats
    return {
        "outcome": ended.outcome.value,
        "failure": ended.failure and ended.failure.value,
        "reason": ended.reason,
        "snapshot": ended.snapshot,
        "seconds": round(ended.at - run.started, 3),
        "files": None if stats is None else stats.files_processed,
        "size": None if stats is None else stats.bytes_processed,
        "added": None if stats is None else stats.bytes_added,
    }


def parse_outcome(message: Message) -> RunOutcome | None:
    """Return how a run ended; None if there was no run."""
    value = message.get("outcome")
    return next((outcome for outcome in RunOutcome if outcome.value == value), None)


def parse_failure(message: Message) -> FailureClass | None:
    """Return the class of what went wrong in a run; None if nothing did."""
    value = message.get("failure")
    return next((failure for failure in FailureClass if failure.value == value), None)
