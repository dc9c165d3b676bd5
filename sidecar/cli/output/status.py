"""What the sidecar knows of each plan beside its runs: notes for people, and the same as JSON."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sidecar.backrest.operations import PastRun
from sidecar.cli.output.text import printable
from sidecar.lib.duration import render_duration
from sidecar.reconciler.status import StatusReport, WorkloadStatus


def render_notes(report: StatusReport) -> Iterator[str]:
    """Yield what else there is to know of plans and labels, and what waits, line by line."""
    for row in report.rows:
        if notes := [*_notes(row, report)]:
            yield f"{printable(row.workload or row.plan)}: {'; '.join(notes)}"
    for wait in report.waits:
        yield printable(f"{wait.words[:1].upper()}{wait.words[1:]}.")
    if any(row.problems or row.drift for row in report.rows):
        yield "`backrest-sidecar reconcile --dry-run` tells what is wrong and what would change."


def _notes(row: WorkloadStatus, report: StatusReport) -> Iterator[str]:
    if row.is_orphan:
        yield _orphan_words(row, report.now)
    if row.owner and row.owner != row.workload:
        yield f"belongs to {printable(row.owner)}"
    if row.is_disabled:
        yield "disabled"
    if row.is_unloaded:
        yield "not loaded by Backrest"
    if row.former:
        yield f"no retention any more in {printable(', '.join(row.former))}"
    if row.drift:
        yield f"would change: {', '.join(row.drift)}"
    if row.problems:
        yield ", ".join(dict.fromkeys(problem.reason for problem in row.problems))


def _orphan_words(row: WorkloadStatus, now: datetime) -> str:
    if row.orphan_since is None:
        return "no workload"
    return f"no workload for {render_duration(now.timestamp() - row.orphan_since)}"


def notes_json(report: StatusReport) -> dict[str, Any]:
    """Return the same; reasons, ids and times only: no message, command, address or path."""
    return {
        "config": report.config,
        "log_known": report.trouble is None,
        "log_trouble": report.trouble,
        "waits": [
            {"kind": one.kind.value, "names": list(one.names), "because": one.because or None}
            for one in report.waits
        ],
        "plans": [_row_json(row, is_known=report.trouble is None) for row in report.rows],
    }


def _row_json(row: WorkloadStatus, *, is_known: bool) -> dict[str, Any]:
    last, coming = row.runs.last, row.next
    return {
        "workload": row.workload or None,
        "plan": row.plan or None,
        "owner": row.owner or None,
        "written": row.is_written,
        "last_run": last and _run_json(last),
        "running_since": _iso(row.runs.running_since),
        "next_run_computed": bool(coming and coming.is_computed),
        "loaded": not row.is_unloaded if is_known and row.is_written else None,
        "orphan": row.is_orphan,
        "orphan_since": _iso(row.orphan_since),
        "disabled": row.is_disabled,
        "drift": list(row.drift),
        "runners_document": row.is_runners,
        "former_repositories": list(row.former),
        "problems": [
            {"reason": p.reason, "severity": p.severity.value, "label": p.label}
            for p in row.problems
        ],
    }


def _run_json(run: PastRun) -> dict[str, Any]:
    return {"start": _iso(run.start), "end": _iso(run.end), "outcome": run.ending.value}


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
