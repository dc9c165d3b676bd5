"""The state of all backups, as a table for people and as JSON."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sidecar.backrest.operations import OperationEnd, PastRun
from sidecar.cli.output.terminal import Cell, Column, Meaning, Styled, table
from sidecar.cli.output.text import printable
from sidecar.lib.duration import render_duration
from sidecar.reconciler.status import StatusReport, WorkloadStatus

_COLUMNS = (
    Column("workload"),
    Column("plan", drop=1, has_prefix=True),
    Column("last run", drop=2),
    Column("outcome"),
    Column("age"),
    Column("next run", drop=3),
    Column("", folds=True),
)
_MEANINGS = {
    OperationEnd.SUCCESS: Meaning.GOOD,
    OperationEnd.WARNING: Meaning.UNSURE,
    OperationEnd.FAILED: Meaning.BAD,
    OperationEnd.CANCELLED: Meaning.BAD,
}
_NONE = "–"


def render_status(report: StatusReport, form: str, width: int | None = None) -> str:
    """Write a report as `table`, for a terminal of that width, or `json`."""
    if form == "json":
        return _render_json(report)
    return "\n".join(_lines(report, width))


def _render_json(report: StatusReport) -> str:
    """Write reasons, ids and times only: no message, command, address or path of a container."""
    shown = {
        "config": report.config,
        "now": report.now.isoformat(timespec="seconds"),
        "runsKnown": report.trouble is None,
        "trouble": report.trouble,
        "waits": [
            {"kind": one.kind.value, "names": list(one.names), "because": one.because or None}
            for one in report.waits
        ],
        "plans": [_row_json(row, report) for row in report.rows],
    }
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _row_json(row: WorkloadStatus, report: StatusReport) -> dict[str, Any]:
    runs, last, now = row.runs, row.runs.last, report.now
    is_known = row.is_written and report.trouble is None
    return {
        "workload": row.workload or None,
        "plan": row.plan or None,
        "owner": row.owner or None,
        "written": row.is_written,
        "lastRun": last and _run_json(last, now),
        "lastGood": _moment(runs.good.end if runs.good else None, now),
        "ageSeconds": last and _age(last, now),
        "runningSince": _moment(runs.running_since, now),
        "nextRun": _moment(row.next.time if row.next else None, now),
        "nextRunComputed": bool(row.next and row.next.is_computed),
        "loaded": not row.is_unloaded if is_known else None,
        "orphan": row.is_orphan,
        "orphanSince": _moment(row.orphan_since, now),
        "disabled": row.is_disabled,
        "drift": list(row.drift),
        **({"runnersDocument": True} if row.is_runners else {}),
        **({"formerRepositories": list(row.former)} if row.former else {}),
        "problems": [
            {"reason": p.reason, "severity": p.severity.value, "label": p.label}
            for p in row.problems
        ],
    }


def _run_json(run: PastRun, now: datetime) -> dict[str, Any]:
    return {
        "start": _moment(run.start, now),
        "end": _moment(run.end, now),
        "outcome": run.ending.value,
    }


def _moment(time: float | None, now: datetime) -> str | None:
    if time is None:
        return None
    return datetime.fromtimestamp(time, now.tzinfo).isoformat(timespec="seconds")


def _age(run: PastRun, now: datetime) -> int:
    """Return the whole seconds since a run ended; not below 0, for Backrest has its own clock."""
    return max(0, int(now.timestamp() - run.end))


def _lines(report: StatusReport, width: int | None) -> Iterator[str]:
    if report.rows:
        yield table(_COLUMNS, [_cells(row, report.now) for row in report.rows], width)
        yield ""
    yield from _summary(report)


def _cells(row: WorkloadStatus, now: datetime) -> tuple[Cell, ...]:
    last = row.runs.last
    return (
        row.workload or _NONE,
        row.plan or _NONE,
        _when(last.start, now) if last else _NONE,
        Styled(last.ending.value, _MEANINGS[last.ending]) if last else _NONE,
        render_duration(_age(last, now)) if last else _NONE,
        _next_words(row, now),
        "; ".join(_notes(row, now)),
    )


def _when(time: float, now: datetime) -> str:
    return f"{datetime.fromtimestamp(time, now.tzinfo):%a %Y-%m-%d %H:%M %Z}"


def _next_words(row: WorkloadStatus, now: datetime) -> str:
    if row.next is None:
        return _NONE
    about = "about " if row.next.is_computed else ""
    return f"{about}{_when(row.next.time, now)}"


def _notes(row: WorkloadStatus, now: datetime) -> Iterator[str]:
    runs = row.runs
    if runs.running_since is not None:
        yield "runs now"
    if runs.last and runs.good and runs.last != runs.good:
        yield f"last good {render_duration(_age(runs.good, now))} ago"
    if row.is_orphan:
        yield _orphan_words(row, now)
    if row.owner and row.owner != row.workload:
        yield f"belongs to {printable(row.owner)}"
    if row.is_disabled:
        yield "disabled"
    yield from _document_notes(row)
    if row.drift:
        yield f"would change: {', '.join(row.drift)}"
    if row.problems:
        yield ", ".join(dict.fromkeys(problem.reason for problem in row.problems))


def _document_notes(row: WorkloadStatus) -> Iterator[str]:
    if not row.is_written:
        yield "no plan in the document" if row.problems else "not written yet"
    elif row.is_unloaded:
        yield "not loaded by Backrest"
    elif row.is_runners:
        yield "run by backrest-runner"
    if row.former:
        yield f"no retention any more in {printable(', '.join(row.former))}"


def _orphan_words(row: WorkloadStatus, now: datetime) -> str:
    if row.orphan_since is None:
        return "no workload"
    return f"no workload for {render_duration(now.timestamp() - row.orphan_since)}"


def _summary(report: StatusReport) -> Iterator[str]:
    if not report.rows:
        yield "No container is labelled, and there is no plan of ours."
    if report.words:
        yield printable(report.words)
    for wait in report.waits:
        yield printable(f"{wait.words[:1].upper()}{wait.words[1:]}.")
    if any(row.problems or row.drift for row in report.rows):
        yield "`backrest-sidecar reconcile --dry-run` tells what is wrong and what would change."
