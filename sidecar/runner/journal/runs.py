"""The journal's runs, from their begin to their end."""

import sqlite3
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sidecar.lib.process import Child
from sidecar.lib.text import short_id
from sidecar.runner.due import Job, Retry
from sidecar.runner.journal.database import Database
from sidecar.runner.journal.memory import RunMemory
from sidecar.runner.journal.past import amend
from sidecar.runner.journal.records import Ended, Phase, Run, RunCause, RunOutcome, Unfinished
from sidecar.runner.journal.rows import (
    OF_JOB,
    RUN_COLUMNS,
    START_COLUMNS,
    ended_values,
    read_runs,
    stats_of,
    unfinished_of,
)

_UNFINISHED_COLUMNS = "resume, child_pid, child_started, snapshot"
_BEGIN = f"INSERT INTO runs ({', '.join(START_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_UNFINISHED = f"SELECT {_UNFINISHED_COLUMNS}, {RUN_COLUMNS} FROM runs WHERE ended IS NULL"  # noqa: S608
_PHASE = (
    "UPDATE runs SET phase = ?, snapshot = CASE WHEN ? = '' THEN snapshot ELSE ? END "
    "WHERE id = ? AND ended IS NULL"
)
_CHILD = "UPDATE runs SET child_pid = ?, child_started = ? WHERE id = ? AND ended IS NULL"
# A command that restores or verifies may live on where a daemon that starts takes it for dead.
_END = (
    "UPDATE runs SET ended = ?, outcome = ?, snapshot = ?, stats = ?, failure = ?, reason = ?, "
    "excerpt = ?, resume = '', child_pid = NULL, child_started = NULL "
    "WHERE id = ? AND (ended IS NULL OR outcome = 'interrupted')"
)
_STATS_OF = (
    f"SELECT stats FROM runs WHERE {OF_JOB} AND snapshot IN (?, ?) "  # noqa: S608
    "AND stats IS NOT NULL ORDER BY id DESC LIMIT 1"
)
_SHORTEN = (
    f"DELETE FROM runs WHERE {OF_JOB} AND ended IS NOT NULL AND id <= (SELECT id FROM runs "  # noqa: S608
    f"WHERE {OF_JOB} AND ended IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?)"
)


class Runs:
    """Runs of jobs, as they begin, go on and end; the last `keep` of each job are kept."""

    def __init__(self, database: Database, memory: RunMemory, keep: int) -> None:
        self._file = database
        self._memory = memory
        self._keep = keep

    def begin(
        self, job: Job, trigger: RunCause, at: float, resume: str, retry: Retry | None = None
    ) -> int:
        """Record a run durably before it does anything; return its number.

        `resume` is kept until the run ends, `retry` is the fire that it is to answer. Raises
        JournalError: then nothing may be stopped.
        """
        with self._file.lock:
            run = Run(0, job, trigger, at)

            def change(connection: sqlite3.Connection) -> int:
                number = _insert(connection, run, resume)
                amend(connection, job, at, retry=retry)
                return number

            number = self._file.change(change)
            self._memory.running[number] = Unfinished(replace(run, id=number), resume)
            self._memory.remember(job, at, last_start=at, retry=retry)
            self._memory.note_saved((), is_saved=True)
            return number

    def hold(self, job: Job, trigger: RunCause, at: float, retry: Retry | None = None) -> int:
        """Keep a run in memory that could not be recorded; `end` records it if it then can be.

        Return its number, which is negative.
        """
        with self._file.lock:
            number = min(0, *self._memory.running, 0) - 1
            self._memory.running[number] = Unfinished(Run(number, job, trigger, at), "")
            self._memory.remember(job, at, last_start=at, retry=retry)
            self._memory.note_saved([job], is_saved=False)
            return number

    def phase(self, run: int, phase: Phase, snapshot: str = "") -> bool:
        """Record how far a run has come, and the snapshot that it has made.

        Return whether that is on disk.
        """
        with self._file.lock:
            if known := self._memory.running.get(run):
                moved = replace(known.run, phase=phase)
                made = snapshot or known.snapshot
                self._memory.running[run] = replace(known, run=moved, snapshot=made)
            return self._update(run, "a phase", _PHASE, (phase.value, snapshot, snapshot, run))

    def child(self, run: int, child: Child | None) -> None:
        """Record the program that works for a run now; None: there is none."""
        pid, started = (None, None) if child is None else (child.pid, child.started)
        with self._file.lock:
            if known := self._memory.running.get(run):
                self._memory.running[run] = replace(known, child=child)
            self._update(run, "a child", _CHILD, (pid, started, run))

    def end(self, run: int, ended: Ended, retry: Retry | None = None) -> None:
        """Record how a run ended, once, and what is tried again; its `resume` is deleted."""
        with self._file.lock:
            known = self._memory.running.pop(run, None)
            if known is None:
                return
            record, past = known.run, {**_past_fields(ended), "retry": retry}

            def change(connection: sqlite3.Connection) -> None:
                # It is missing if it could not be recorded when it began, or if its file is gone.
                number = run if _is_there(connection, run) else _insert(connection, record, "")
                if connection.execute(_END, (*ended_values(ended), number)).rowcount:
                    amend(connection, record.job, record.started, **past)
                    connection.execute(_SHORTEN, (*record.job, *record.job, self._keep))

            self._memory.remember(record.job, record.started, **past)
            self._memory.note_saved(
                [record.job], is_saved=self._file.try_change("the end of a run", change)
            )

    def unfinished(self) -> tuple[Unfinished, ...]:
        """List the recorded runs without an end, oldest first. Raises JournalError."""
        with self._file.lock:
            rows = self._file.read(lambda db: db.execute(f"{_UNFINISHED} ORDER BY id").fetchall())
            found = tuple(one for row in rows if (one := unfinished_of(row)) is not None)
            self._memory.running.update({one.run.id: one for one in found})
            return found

    def list(self, subject: str | None = None, limit: int = 100) -> tuple[Run, ...]:
        """List the newest runs of a plan or repository, or of all. Raises JournalError."""
        where, values = ("", ()) if subject is None else ("WHERE subject = ?", (subject,))
        return self._select(f"{where} ORDER BY id DESC LIMIT ?", (*values, limit))

    def last(self, job: Job, outcomes: Collection[RunOutcome] = ()) -> Run | None:
        """Return the newest run of a job, or the newest with one of the outcomes.

        Raises JournalError.
        """
        marks = ", ".join("?" * len(outcomes))
        ended = f"AND outcome IN ({marks})" if outcomes else ""
        values = (*job, *(outcome.value for outcome in outcomes))
        found = self._select(f"WHERE {OF_JOB} {ended} ORDER BY id DESC LIMIT 1", values)
        return next(iter(found), None)

    def latest(self, job: Job, not_after: float) -> Run | None:
        """Return the newest run of a job whose snapshot holds a file, not begun after a moment.

        Raises JournalError.
        """
        query = (
            f"SELECT {RUN_COLUMNS} FROM runs WHERE {OF_JOB} AND snapshot != '' "  # noqa: S608
            "AND ended IS NOT NULL AND started <= ? ORDER BY id DESC"
        )
        return self._file.read(
            lambda db: next(
                filter(_holds_file, read_runs(db.execute(query, (*job, not_after)))), None
            )
        )

    def files_in(self, job: Job, snapshot: str) -> int | None:
        """Return how many files a snapshot holds that a job has made; None: not known.

        Raises JournalError.
        """
        # Before restic 0.15 only the first digits of an id were recorded.
        values = (*job, snapshot, short_id(snapshot))
        row = self._file.read(lambda db: db.execute(_STATS_OF, values).fetchone())
        stats = None if row is None else stats_of(row[0])
        return None if stats is None else stats.files_processed

    def _select(self, rest: str, values: tuple[object, ...]) -> tuple[Run, ...]:
        query = f"SELECT {RUN_COLUMNS} FROM runs {rest}"  # noqa: S608 - our own names
        return self._file.read(
            lambda connection: tuple(read_runs(connection.execute(query, values)))
        )

    def _update(self, run: int, what: str, statement: str, values: tuple[object, ...]) -> bool:
        """Change the row of a run, if it has one; return whether it is changed."""
        if run <= 0:
            return False
        return self._file.try_change(what, lambda connection: connection.execute(statement, values))


def _holds_file(run: Run) -> bool:
    stats = None if run.ended is None else run.ended.stats
    return stats is not None and stats.files_processed > 0


def _insert(connection: sqlite3.Connection, run: Run, resume: str) -> int:
    values = (*run.job, run.trigger.value, run.started, run.phase.value, resume)
    amend(connection, run.job, run.started, last_start=run.started)
    return int(connection.execute(_BEGIN, values).lastrowid or 0)


def _is_there(connection: sqlite3.Connection, run: int) -> bool:
    return connection.execute("SELECT 1 FROM runs WHERE id = ?", (run,)).fetchone() is not None


def _past_fields(ended: Ended) -> dict[str, Any]:
    fields: dict[str, Any] = {"last_end": ended.at, "last_outcome": ended.outcome}
    return fields | ({"last_success": ended.at} if ended.outcome.is_good else {})
