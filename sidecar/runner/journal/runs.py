"""The journal's runs: begun, gone on, ended."""

import sqlite3
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from sidecar.lib.process import Child
from sidecar.runner.due import Work
from sidecar.runner.journal.pasts import OF_WORK, Pasts, amend
from sidecar.runner.journal.records import Ended, Outcome, Phase, Run, Trigger, Unfinished
from sidecar.runner.journal.rows import RUN_COLUMNS, ended_values, read_runs, unfinished_of
from sidecar.runner.journal.schema import Row, Rows

_OPEN_COLUMNS = "resume, child_pid, child_started, snapshot"
_BEGUN_COLUMNS = ("kind", "subject", "repo", "cause", "started", "phase", "resume")
_BEGIN = f"INSERT INTO runs ({', '.join(_BEGUN_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_OPEN = f"SELECT {_OPEN_COLUMNS}, {RUN_COLUMNS} FROM runs WHERE ended IS NULL"  # noqa: S608
_PHASE = (
    "UPDATE runs SET phase = ?, snapshot = CASE WHEN ? = '' THEN snapshot ELSE ? END "
    "WHERE id = ? AND ended IS NULL"
)
_CHILD = "UPDATE runs SET child_pid = ?, child_started = ? WHERE id = ? AND ended IS NULL"
_END = (
    "UPDATE runs SET ended = ?, outcome = ?, snapshot = ?, stats = ?, failure = ?, reason = ?, "
    "excerpt = ?, resume = '', child_pid = NULL, child_started = NULL "
    "WHERE id = ? AND ended IS NULL"
)
_SHORTEN = (
    f"DELETE FROM runs WHERE {OF_WORK} AND ended IS NOT NULL AND id <= (SELECT id FROM runs "  # noqa: S608
    f"WHERE {OF_WORK} AND ended IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?)"
)


class Runs(Pasts):
    """The part of the journal that knows runs."""

    def __init__(self, path: Path, keep: int = 1000, wall: Callable[[], float] = time.time) -> None:
        self._running: dict[int, Unfinished] = {}
        super().__init__(path, keep, wall)

    def begin(self, work: Work, trigger: Trigger, at: float, resume: str) -> int:
        """Record a run durably before it does anything; give its number.

        `resume` is kept until the run ends. Raises JournalError: then nothing may be stopped.
        """
        with self._lock:
            run = Run(0, work, trigger, at)
            number = self._change(lambda connection: _insert(connection, run, resume))
            self._running[number] = Unfinished(replace(run, id=number), resume)
            self._remember(work, at, last_start=at)
            self._settle((), is_saved=True)
            return number

    def hold(self, work: Work, trigger: Trigger, at: float) -> int:
        """Bear a run in mind that could not be recorded; `end` records it if it then can be."""
        with self._lock:
            number = min(0, *self._running, 0) - 1
            self._running[number] = Unfinished(Run(number, work, trigger, at), "")
            self._remember(work, at, last_start=at)
            self._settle([work], is_saved=False)
            return number

    def phase(self, run: int, phase: Phase, snapshot: str = "") -> None:
        """Record how far a run has come, and what it has made."""
        with self._lock:
            if known := self._running.get(run):
                moved = replace(known.run, phase=phase)
                made = snapshot or known.snapshot
                self._running[run] = replace(known, run=moved, snapshot=made)
            self._update(run, "a phase", _PHASE, (phase.value, snapshot, snapshot, run))

    def child(self, run: int, child: Child | None) -> None:
        """Record the program that works for a run now; None: none does."""
        pid, started = (None, None) if child is None else (child.pid, child.started)
        with self._lock:
            if known := self._running.get(run):
                self._running[run] = replace(known, child=child)
            self._update(run, "a child", _CHILD, (pid, started, run))

    def end(self, run: int, ended: Ended) -> None:
        """Record how a run ended, once; what had to be done if it died is forgotten."""
        with self._lock:
            known = self._running.pop(run, None)
            if known is None:
                return
            begun, past = known.run, _past_fields(ended)

            def change(connection: sqlite3.Connection) -> None:
                # Not there: it could not be recorded when it began, or its file has gone.
                number = run if _is_there(connection, run) else _insert(connection, begun, "")
                if connection.execute(_END, (*ended_values(ended), number)).rowcount:
                    amend(connection, begun.work, begun.started, **past)
                    connection.execute(_SHORTEN, (*begun.work, *begun.work, self._keep))

            self._remember(begun.work, begun.started, **past)
            self._settle([begun.work], is_saved=self._try("the end of a run", change))

    def unfinished(self) -> tuple[Unfinished, ...]:
        """List the recorded runs that have no end, oldest first. Raises JournalError."""
        with self._lock:
            rows = self._read(lambda db: db.execute(f"{_OPEN} ORDER BY id").fetchall())
            found = tuple(one for row in rows if (one := unfinished_of(row)) is not None)
            self._running.update({one.run.id: one for one in found})
            return found

    def runs(self, subject: str | None = None, limit: int = 100) -> tuple[Run, ...]:
        """List the newest runs of a plan or repository, or of all. Raises JournalError."""
        where, values = ("", ()) if subject is None else ("WHERE subject = ?", (subject,))
        return self._select(f"{where} ORDER BY id DESC LIMIT ?", (*values, limit))

    def last(self, work: Work, outcomes: Collection[Outcome] = ()) -> Run | None:
        """Give the newest run of a work, or the newest that ended in one of these ways."""
        marks = ", ".join("?" * len(outcomes))
        ended = f"AND outcome IN ({marks})" if outcomes else ""
        values = (*work, *(outcome.value for outcome in outcomes))
        found = self._select(f"WHERE {OF_WORK} {ended} ORDER BY id DESC LIMIT 1", values)
        return next(iter(found), None)

    def _select(self, rest: str, values: tuple[object, ...]) -> tuple[Run, ...]:
        query = f"SELECT {RUN_COLUMNS} FROM runs {rest}"  # noqa: S608 - our own names
        return self._read(lambda connection: tuple(read_runs(connection.execute(query, values))))

    def _update(self, run: int, what: str, statement: str, values: tuple[object, ...]) -> None:
        """Change the row of a run, if it has one."""
        if run > 0:
            self._try(what, lambda connection: connection.execute(statement, values))

    def _in_mind(self) -> Rows:
        """What runs and can be recorded, and the past."""
        running = [_open_row(one) for one in self._running.values() if one.run.id > 0]
        return running + super()._in_mind()


def _insert(connection: sqlite3.Connection, run: Run, resume: str) -> int:
    values = (*run.work, run.trigger.value, run.started, run.phase.value, resume)
    amend(connection, run.work, run.started, last_start=run.started)
    return int(connection.execute(_BEGIN, values).lastrowid or 0)


def _is_there(connection: sqlite3.Connection, run: int) -> bool:
    return connection.execute("SELECT 1 FROM runs WHERE id = ?", (run,)).fetchone() is not None


def _past_fields(ended: Ended) -> dict[str, Any]:
    fields: dict[str, Any] = {"last_end": ended.at, "last_outcome": ended.outcome}
    return fields | ({"last_success": ended.at} if ended.outcome.is_good else {})


def _open_row(one: Unfinished) -> Row:
    run, child = one.run, one.child
    columns = ("id", *_BEGUN_COLUMNS, "snapshot", "child_pid", "child_started")
    head = (run.id, *run.work, run.trigger.value, run.started, run.phase.value, one.resume)
    tail = (None, None) if child is None else (child.pid, child.started)
    return "runs", columns, (*head, one.snapshot, *tail)
