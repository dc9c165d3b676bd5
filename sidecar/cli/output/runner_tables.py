"""The runner's plans, runs and snapshots: read, then as tables for people or as JSON."""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import compress
from typing import TYPE_CHECKING, Any

from sidecar.backrest.names import Names
from sidecar.backrest.reading import RunPlan, Timing
from sidecar.cli.output.runs import MEANINGS, name_of
from sidecar.cli.output.terminal import Cell, Column, Styled, table
from sidecar.cli.output.text import printable
from sidecar.lib.duration import render_duration
from sidecar.lib.errors import DocumentError, StoreError, UsageError
from sidecar.lib.text import counted, render_size, short_id
from sidecar.lib.zones import local_zone
from sidecar.runner.due import JobKind, Scheduler, backup_job
from sidecar.runner.identity import switch_user
from sidecar.runner.journal import Journal, MissedFires, Past, Run
from sidecar.runner.loader import load
from sidecar.runner.settings import JOURNAL, RunnerSettings
from sidecar.runner.timetable import Timetable
from sidecar.runner.union import DocumentName

if TYPE_CHECKING:
    from sidecar.engines.base import HeldLock, Snapshot
    from sidecar.runner.foreground import Unlocked

_NONE = "–"
_PLAN_COLUMNS = (
    Column("plan", has_prefix=True),
    Column("id", has_prefix=True),
    Column("repository", drop=3),
    Column("schedule", drop=4),
    Column("next run", drop=5),
    Column("last run", drop=1),
    Column("outcome"),
    Column("last success"),
    Column("document", drop=2),
)
_HISTORY_COLUMNS = (
    Column("when"),
    Column("what", has_prefix=True),
    Column("id", has_prefix=True),
    Column("outcome"),
    Column("took", drop=3),
    Column("added", drop=2),
    Column("snapshot", drop=1),
    Column("reason", folds=True),
)
_SNAPSHOT_COLUMNS = (
    Column("snapshot"),
    Column("when"),
    Column("files", drop=1),
    Column("size", drop=2),
    Column("paths", folds=True),
)
_OF_LOCKS_LEFT = (
    "  → a lock goes when its holder ends; if that died elsewhere, `unlock` removes it half an "
    "hour after that time"
)
_AT_ONCE = ", and `restic unlock --remove-all` at once"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan, its last runs, and when it is due; `now` and `next_fire` in unix seconds.

    `waits` is why this runner does not execute it, in two words; empty: it does. `name` is what
    the plan is called, empty: by its id.
    """

    plan: RunPlan
    past: Past | None
    next_fire: float | None
    now: float
    document: DocumentName = DocumentName.CONFIG
    waits: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class HistoryView:
    """How runs are shown: `shown` are the names of plans by their ids.

    `is_verbose`: with what the program of each said. `is_wide`: with the ids of plans.
    """

    shown: Mapping[str, str] = field(default_factory=dict)
    is_verbose: bool = False
    is_wide: bool = False


def read_plans(
    settings: RunnerSettings, environ: Mapping[str, str], shown: Mapping[str, str]
) -> tuple[PlanRow, ...]:
    """Read the plans of the documents, and what the journal has of them; `shown` by id."""
    documents = load(settings.files, environ)
    switch_user(settings, environ)
    zone, _ = local_zone(environ)
    timetable, now = Timetable(Scheduler(zone)), time.time()
    with closing(_open_journal(settings)) as journal:
        past = journal.past.history().past

    def row(plan: RunPlan, document: DocumentName, waits: str) -> PlanRow:
        known = past.get(backup_job(plan))
        fire = None if waits else timetable.next_fire(plan.timing, known, now)
        return PlanRow(plan, known, fire, now, document, waits, shown.get(plan.id, ""))

    theirs = documents.backrest_plans
    rows = [
        row(plan, documents.name_of_plan(plan.id), "by Backrest" if plan.id in theirs else "")
        for plan in documents.config.plans
    ]
    rows += [row(plan, DocumentName.RUNNER, "plan.moving") for plan in documents.moving]
    return tuple(rows)


def _open_journal(settings: RunnerSettings) -> Journal:
    """Open the runner's journal; raises JournalError."""
    return Journal(settings.state_directory / JOURNAL, settings.journal_keep)


def render_plans(
    rows: Sequence[PlanRow], form: str, width: int | None = None, *, is_wide: bool = False
) -> str:
    """Write plans as `table`, for a terminal of that width, or `json`; a wide one has their ids."""
    if form == "json":
        return json.dumps([_plan_json(row) for row in rows], indent=2)
    if not rows:
        return "The document has no plan."
    has_both = any(row.document is DocumentName.RUNNER for row in rows)
    left_out = {*(() if has_both else ("document",)), *(() if is_wide else ("id",))}
    return _table_without(left_out, _PLAN_COLUMNS, [_plan_cells(row) for row in rows], width)


def _table_without(
    left_out: Collection[str],
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    width: int | None,
    below: Sequence[Sequence[str]] = (),
) -> str:
    """Return a table without the columns of these titles."""
    kept = [column.title not in left_out for column in columns]
    cells = [list(compress(row, kept)) for row in rows]
    return table(list(compress(columns, kept)), cells, width, below)


def _plan_cells(row: PlanRow) -> tuple[Cell, ...]:
    past = row.past
    outcome = None if past is None else past.last_outcome
    success = None if past is None else past.last_success
    return (
        row.name or row.plan.id,
        row.plan.id,
        row.plan.repo,
        _timing_words(row.plan.timing),
        row.waits or _moment(row.next_fire),
        _moment(None if past is None else past.last_start),
        _NONE if outcome is None else Styled(outcome.value, MEANINGS[outcome]),
        _NONE if success is None else f"{render_duration(row.now - success)} ago",
        row.document.value,
    )


def _plan_json(row: PlanRow) -> dict[str, Any]:
    past = row.past
    return {
        "plan": row.plan.id,
        "name": row.name or row.plan.id,
        "repo": row.plan.repo,
        "document": row.document.value,
        "waits": row.waits or None,
        "schedule": _timing_words(row.plan.timing),
        "next_run": _iso(row.next_fire),
        "first_seen": _iso(None if past is None else past.first_seen),
        "last_run": _iso(None if past is None else past.last_start),
        "last_outcome": past and past.last_outcome and past.last_outcome.value,
        "last_success": _iso(None if past is None else past.last_success),
    }


def _timing_words(timing: Timing) -> str:
    """Return when something is due, in words."""
    if timing.cron:
        return timing.cron
    return f"every {render_duration(timing.every_seconds)}" if timing.every_seconds else "never"


def read_history(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    names: Names | None,
    asked: str | None,
    limit: int,
) -> tuple[Run | MissedFires, ...]:
    """Read the newest runs and missed fires, newest first.

    `asked` names a plan or a repository; None: all. Raises UsageError where it does neither.
    """
    switch_user(settings, environ)
    with closing(_open_journal(settings)) as journal:
        subject = asked
        if asked is not None and names is not None:
            with suppress(UsageError):
                subject = names.find(asked).plan
        rows: list[Run | MissedFires] = [*journal.runs.list(subject, limit)]
        rows += journal.past.missed_fires(subject, limit)
        if subject is not None and not rows:
            _check_known(subject, settings, environ, journal, names)
    return tuple(sorted(rows, key=_order, reverse=True)[:limit])


def _check_known(
    subject: str,
    settings: RunnerSettings,
    environ: Mapping[str, str],
    journal: Journal,
    names: Names | None,
) -> None:
    """Raise UsageError if there is no such plan or repository, nor was one."""
    # Of a document that cannot be read the journal still knows the plans that ran.
    with suppress(DocumentError, StoreError):
        config = load(settings.files, environ).config
        known = {plan.id for plan in config.plans} | {repo.id for repo in config.repos}
        known |= {job.subject for job in journal.past.history().past}
        if subject in known:
            return
        if names is not None and names.workloads(subject):
            # It means several, or something without a plan: that is told.
            names.find(subject)
        hint = (names or Names((), ())).with_ids(known).hint(subject)
        raise UsageError(f"there is no plan or repository {subject!r}", hint)


def _order(row: Run | MissedFires) -> float:
    return row.started if isinstance(row, Run) else row.last


def render_history(
    rows: Sequence[Run | MissedFires],
    form: str,
    width: int | None = None,
    view: HistoryView | None = None,
) -> str:
    """Write runs as `table`, for a terminal of that width, or `json`."""
    view = view or HistoryView()
    if form == "json":
        return json.dumps([_history_json(row, view.shown) for row in rows], indent=2)
    if not rows:
        return "Nothing was run yet."
    below = [_output_lines(row) for row in rows] if view.is_verbose else ()
    cells = [_history_cells(row, view.shown) for row in rows]
    return _table_without(() if view.is_wide else ("id",), _HISTORY_COLUMNS, cells, width, below)


def _output_lines(row: Run | MissedFires) -> list[str]:
    """Return the last lines of the program of a run."""
    ended = row.ended if isinstance(row, Run) else None
    return [] if ended is None else ended.excerpt.splitlines()


def _history_cells(row: Run | MissedFires, shown: Mapping[str, str]) -> tuple[Cell, ...]:
    what = (name_of(row.job, shown), row.job.subject)
    if isinstance(row, MissedFires):
        times = f"{row.count} times since {_moment(row.first)}" if row.count > 1 else ""
        return (_moment(row.last), *what, "missed", _NONE, _NONE, _NONE, times)
    ended = row.ended
    if ended is None:
        return (_moment(row.started), *what, row.phase.value, _NONE, _NONE, _NONE, "has not ended")
    return (
        _moment(row.started),
        *what,
        Styled(ended.outcome.value, MEANINGS[ended.outcome]),
        render_duration(ended.at - row.started),
        _NONE if ended.stats is None else render_size(ended.stats.bytes_added),
        short_id(ended.snapshot) or _NONE,
        ended.reason,
    )


def _history_json(row: Run | MissedFires, shown: Mapping[str, str]) -> dict[str, Any]:
    job = row.job
    name = name_of(job, shown).removeprefix(f"{job.kind.value} ")
    about = {"kind": job.kind.value, "of": job.subject, "name": name, "repo": job.repo}
    if isinstance(row, MissedFires):
        times = {"first": _iso(row.first), "last": _iso(row.last), "count": row.count}
        return {**about, "outcome": "missed", **times}
    ended = row.ended
    run = {**about, "started": _iso(row.started), "trigger": row.trigger.value}
    if ended is None:
        return {**run, "outcome": None, "phase": row.phase.value}
    stats = ended.stats
    return {
        **run,
        "ended": _iso(ended.at),
        "outcome": ended.outcome.value,
        "failure": ended.failure and ended.failure.value,
        "reason": ended.reason,
        "excerpt": ended.excerpt or None,
        "snapshot": ended.snapshot or None,
        "files": None if stats is None else stats.files_processed,
        "size": None if stats is None else stats.bytes_processed,
        "added": None if stats is None else stats.bytes_added,
    }


def read_snapshots(
    settings: RunnerSettings, environ: Mapping[str, str], plan: str
) -> "tuple[Snapshot, ...]":
    """Read the snapshots of a plan from its repository; raises UsageError or EngineError."""
    from sidecar.runner.control import find_job
    from sidecar.runner.parts import make_engine

    documents = load(settings.files, environ)
    config = documents.config
    changed = switch_user(settings, environ)
    job = find_job(JobKind.BACKUP, plan, config)
    if not config.instance:
        raise UsageError("the document names no instance", "snapshots are found by its name")
    engine = make_engine(settings, changed, documents, job.repo)
    return engine.snapshots(config.plan(plan), config.instance)


def render_snapshots(rows: "Sequence[Snapshot]", form: str, width: int | None = None) -> str:
    """Write snapshots as `table`, for a terminal of that width, or `json`."""
    if form == "json":
        return json.dumps([_snapshot_json(row) for row in rows], indent=2)
    if not rows:
        return "There is no snapshot."
    return table(_SNAPSHOT_COLUMNS, [_snapshot_cells(row) for row in rows], width)


def _snapshot_cells(row: "Snapshot") -> tuple[Cell, ...]:
    files, size = row.files_processed, row.bytes_processed
    return (
        short_id(row.id),
        _moment(row.time.timestamp()),
        _NONE if files is None else str(files),
        _NONE if size is None else render_size(size),
        ", ".join(row.paths),
    )


def _snapshot_json(row: "Snapshot") -> dict[str, Any]:
    return {
        "snapshot": row.id,
        "time": _iso(row.time.timestamp()),
        "paths": list(row.paths),
        "tags": list(row.tags),
        "files": row.files_processed,
        "size": row.bytes_processed,
    }


def render_unlocked(found: "Unlocked", form: str = "text") -> str:
    """Write what became of a repository's locks.

    `form` is text, a line and one for each that is left, or json, an object on one line.
    """
    if form == "json":
        left = [
            {
                "id": one.id,
                "host": one.hostname,
                "pid": one.pid,
                "time": _iso(one.time),
                "exclusive": one.is_exclusive,
                "plan": one.plan or None,
            }
            for one in found.left
        ]
        shown = {"repo": found.repo, "reason": found.reason or None, "left": left}
        return json.dumps(shown, ensure_ascii=False)
    name = printable(found.repo)
    if found.reason:
        return f"{name}: {printable(found.reason)}"
    if not found.left:
        return f"{name}: unlocked"
    lines = [f"{name}: {counted(len(found.left), 'lock')} left"]
    hint = f"{_OF_LOCKS_LEFT}{_AT_ONCE if found.is_restic else ''}"
    return "\n".join((*lines, *(f"  {_lock(one)}" for one in found.left), hint))


def _lock(held: "HeldLock") -> str:
    kind = ", exclusive" if held.is_exclusive else ""
    return f"{printable(str(held))}, made or renewed {_moment(held.time)}{kind}"


def _moment(at: float | None) -> str:
    """Write unix seconds for people, in the zone of this process."""
    if at is None:
        return _NONE
    return f"{datetime.fromtimestamp(at, local_zone()[0]):%Y-%m-%d %H:%M %Z}"


def _iso(at: float | None) -> str | None:
    """Write unix seconds as ISO 8601 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
