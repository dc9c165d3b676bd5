"""The messages of the control socket: requests to the ControlApi and its events, as JSON objects.

A request is `{"do": "status"}`, or `{"do": KIND, "of": ID}` for a run now. The last answer
to one holds `"last": true`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from sidecar.engines.base import Progress
from sidecar.lib.errors import UsageError
from sidecar.runner.control import ON_DEMAND, ControlApi, JobEvent
from sidecar.runner.due import JobKind
from sidecar.runner.job.progress import RunFinished
from sidecar.runner.journal import Run, RunOutcome
from sidecar.runner.status import status_json

Message: TypeAlias = Mapping[str, Any]


def answer_request(api: ControlApi, request: Message) -> Iterator[Message]:
    """Yield the answers to one request; raises SidecarError for one that cannot be met."""
    what, subject = request.get("do"), request.get("of")
    if what == "status":
        yield {"status": status_json(api.status.collect()), "last": True}
    elif isinstance(subject, str) and what in ON_DEMAND:
        yield from map(render_event, api.run(JobKind(what), subject))
    else:
        raise UsageError("that cannot be asked", "the daemon may be of another version")


def render_event(event: JobEvent) -> Message:
    """Return the message of one event."""
    if isinstance(event, RunFinished):
        return {**_render_end(event), "last": True}
    return render_progress(event) if isinstance(event, Progress) else {"state": event.value}


def render_progress(progress: Progress) -> Message:
    """Write how far a run is."""
    return {
        "fraction": progress.fraction,
        "files": progress.files,
        "total_files": progress.total_files,
        "bytes": progress.bytes,
        "total_bytes": progress.total_bytes,
        "seconds_left": progress.seconds_left,
    }


def parse_progress(message: Message) -> Progress | None:
    """Read how far a run is; None if a message does not say."""
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


def _render_end(end: RunFinished) -> dict[str, Any]:
    run = end.run
    if run is None or run.ended is None:
        return {"outcome": None, "reason": end.reason}
    return {"outcome": run.ended.outcome.value, **_render_run(run)}


def _render_run(run: Run) -> Mapping[str, Any]:
    ended = run.ended
    if ended is None:
        return {}
    stats = ended.stats
    return {
        "reason": ended.reason,
        "snapshot": ended.snapshot,
        "seconds": round(ended.at - run.started, 3),
        "files": None if stats is None else stats.files_processed,
        "size": None if stats is None else stats.bytes_processed,
        "added": None if stats is None else stats.bytes_added,
    }


def outcome_of(message: Message) -> RunOutcome | None:
    """Read how a run ended; None if there was no run."""
    said = message.get("outcome")
    return next((outcome for outcome in RunOutcome if outcome.value == said), None)
