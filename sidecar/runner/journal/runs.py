"""The journal's runs, from their begin to their end, and the past of each job.

The past, what decides when a job is due, is also kept in memory: so no job is due again and
again while the file cannot be written.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sidecar.lib.process import Child
from sidecar.runner.due import Job, Missed, Retry
from sidecar.runner.journal.database import Database
from sidecar.runner.journal.records import (
    Ended,
    JournalError,
    MissedFires,
    Past,
    Phase,
    Run,
    RunCause,
    RunHistory,
    RunOutcome,
    Unfinished,
)
from sidecar.runner.journal.rows import (
    PAST_COLUMNS,
    RUN_COLUMNS,
    ended_values,
    job_of,
    past_values,
    read_past,
    read_runs,
    stats_of,
    unfinished_of,
)
from sidecar.runner.journal.schema import Row, Rows
from sidecar.schedule.fires import EARLIEST

_BELIEVED_SECONDS = 60.0

_OF_JOB = "kind = ? AND subject = ? AND repo = ?"

_PAST = f"SELECT {PAST_COLUMNS} FROM works"  # noqa: S608 - our own names
_MARKS = ", ".join("?" * len(PAST_COLUMNS.split(", ")))
_PUT = f"INSERT OR REPLACE INTO works ({PAST_COLUMNS}) VALUES ({_MARKS})"  # noqa: S608
_MISSED = "INSERT OR REPLACE INTO missed VALUES (?, ?, ?, ?, ?, ?, ?)"
_SHORTEN_MISSED = (
    f"DELETE FROM missed WHERE {_OF_JOB} AND last <= (SELECT last FROM missed "  # noqa: S608
    f"WHERE {_OF_JOB} ORDER BY last DESC LIMIT 1 OFFSET ?)"
)
_UNFINISHED_COLUMNS = "resume, child_pid, child_started, snapshot"
_START_COLUMNS = ("kind", "subject", "repo", "cause", "started", "phase", "resume")
_BEGIN = f"INSERT INTO runs ({', '.join(_START_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
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
_SHORT_ID = 8
_STATS_OF = (
    f"SELECT stats FROM runs WHERE {_OF_JOB} AND snapshot IN (?, ?) "  # noqa: S608
    "AND stats IS NOT NULL ORDER BY id DESC LIMIT 1"
)
_SHORTEN = (
    f"DELETE FROM runs WHERE {_OF_JOB} AND ended IS NOT NULL AND id <= (SELECT id FROM runs "  # noqa: S608
    f"WHERE {_OF_JOB} AND ended IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?)"
)


class PastRuns(Database):
    """The past of each job: when it was first seen, last started, missed, ended.

    `keep` is how many runs and missed fires of each job are kept, `now` gives unix seconds.
    """

    def __init__(
        self,
        path: Path,
        keep: int = 1000,
        now: Callable[[], float] = time.time,
        *,
        for_daemon: bool = False,
    ) -> None:
        self._keep = max(keep, 1)
        self._past: dict[Job, Past] = {}
        self._unsaved: set[Job] = set()
        self._history: RunHistory | None = None
        self._changed: set[Job] = set()
        self._version = -1
        super().__init__(path, now, for_daemon=for_daemon)
        self._refresh()

    def history(self) -> RunHistory:
        """Return what is known of past runs; cheap, and works even while the file does not."""
        with self._lock:
            self._refresh()
            if self._history is None:
                self._changed.clear()
                moments = {job: known.moments for job, known in self._past.items()}
                retries = _waiting(self._past)
                self._history = RunHistory(dict(self._past), moments, retries)
            elif self._changed:
                changed = {job: self._past[job] for job in self._changed}
                self._changed.clear()
                moments = {job: known.moments for job, known in changed.items()}
                before = self._history
                retries = {
                    job: retry for job, retry in before.retries.items() if job not in changed
                }
                self._history = RunHistory(
                    dict(self._past),
                    {**before.moments, **moments},
                    retries | _waiting(changed),
                )
            return self._history

    def first_seen(self, jobs: Iterable[Job], at: float) -> None:
        """Record `at` as the first sight of those jobs that were never seen before."""
        with self._lock:
            self._refresh()
            new = [job for job in dict.fromkeys(jobs) if job not in self._past]
            if not new:
                return

            def change(connection: sqlite3.Connection) -> None:
                for job in new:
                    _amend(connection, job, at)

            for job in new:
                self._remember(job, at)
            self._note_saved(new, is_saved=self._try("what was first seen", change))

    def pull_back(self, now: float) -> tuple[Job, ...]:
        """Let what lies ahead of `now` count as having been now; return the jobs concerned.

        It was recorded while the clock was wrong. Believed, it would keep a job from being due,
        and make it look well, until that time comes. Little is believed: clocks are corrected
        by seconds all the time, and nothing is to run twice for that. A clock that knows no
        year yet, as after a start without its battery, pulls nothing back.
        """
        if now < EARLIEST:
            return ()
        with self._lock:
            self._refresh()
            latest = now + _BELIEVED_SECONDS
            ahead = {
                job: past.pulled_back(now)
                for job, past in self._past.items()
                if past.pulled_back(latest) != past
            }
            if not ahead:
                return ()

            def change(connection: sqlite3.Connection) -> None:
                connection.executemany(_PUT, [past_values(*one) for one in ahead.items()])

            self._past |= ahead
            self._history = None
            self._note_saved(ahead, is_saved=self._try("clocks that were wrong", change))
            return tuple(ahead)

    def missed(self, missed: Missed, at: float) -> None:
        """Record fires that no run answers; one of them is not tried again any more."""
        job = missed.job
        values = (*job, missed.first, missed.last, missed.count, at)
        known = self.history().past.get(job) or Past(at)
        fields: dict[str, Any] = {"last_missed": max(missed.last, known.last_missed or 0.0)}
        waiting = self.history().retries.get(job)
        if waiting is not None and waiting.fire <= missed.last:
            fields["retry"] = None

        def change(connection: sqlite3.Connection) -> None:
            _amend(connection, job, at, **fields)
            connection.execute(_MISSED, values)
            connection.execute(_SHORTEN_MISSED, (*job, *job, self._keep))

        with self._lock:
            self._remember(job, at, **fields)
            self._note_saved([job], is_saved=self._try("missed fires", change))

    def give_up(self, job: Job, at: float) -> None:
        """Record that a job is not tried again: somebody does not want it any more."""
        with self._lock:
            self._remember(job, at, retry=None)
            saved = self._try("a retry", lambda db: _amend(db, job, at, retry=None))
            self._note_saved([job], is_saved=saved)

    def missed_fires(self, subject: str | None = None, limit: int = 100) -> tuple[MissedFires, ...]:
        """List the missed fires of a plan or repository, or of all, newest first."""
        where, values = ("", ()) if subject is None else ("WHERE subject = ?", (subject,))
        query = f"SELECT * FROM missed {where} ORDER BY last DESC LIMIT ?"  # noqa: S608 - ours
        rows = self._read(lambda connection: connection.execute(query, (*values, limit)).fetchall())
        return tuple(
            MissedFires(job, *row[3:]) for row in rows if (job := job_of(*row[:3])) is not None
        )

    def _remember(self, job: Job, at: float, **fields: Any) -> None:
        """Keep in memory what is written, too."""
        self._past[job] = replace(self._past.get(job) or Past(at), **fields)
        self._changed.add(job)

    def _note_saved(self, jobs: Iterable[Job], *, is_saved: bool) -> None:
        """Note whether what is in memory is also in the file."""
        if is_saved:
            self._unsaved.clear()
        else:
            self._unsaved.update(jobs)

    def _refresh(self) -> None:
        """Read again what another process has written, but keep what is only in memory."""
        # A file that cannot be read leaves what was known before.
        with contextlib.suppress(JournalError):
            (version,) = self._read(lambda db: db.execute("PRAGMA data_version").fetchone())
            if version != self._version:
                found = self._read(lambda db: read_past(db.execute(_PAST)))
                kept = {job: self._past[job] for job in self._unsaved}
                self._past, self._version, self._history = found | kept, version, None

    def _rows_in_memory(self) -> Rows:
        """Return the past."""
        return [_past_row(job, past) for job, past in self._past.items()]


class Runs(PastRuns):
    """Runs of jobs, as they begin, go on and end."""

    def __init__(
        self,
        path: Path,
        keep: int = 1000,
        now: Callable[[], float] = time.time,
        *,
        for_daemon: bool = False,
    ) -> None:
        self._running: dict[int, Unfinished] = {}
        super().__init__(path, keep, now, for_daemon=for_daemon)

    def begin(
        self, job: Job, trigger: RunCause, at: float, resume: str, retry: Retry | None = None
    ) -> int:
        """Record a run durably before it does anything; return its number.

        `resume` is kept until the run ends, `retry` is the fire that it is to answer. Raises
        JournalError: then nothing may be stopped.
        """
        with self._lock:
            run = Run(0, job, trigger, at)

            def change(connection: sqlite3.Connection) -> int:
                number = _insert(connection, run, resume)
                _amend(connection, job, at, retry=retry)
                return number

            number = self._change(change)
            self._running[number] = Unfinished(replace(run, id=number), resume)
            self._remember(job, at, last_start=at, retry=retry)
            self._note_saved((), is_saved=True)
            return number

    def hold(self, job: Job, trigger: RunCause, at: float, retry: Retry | None = None) -> int:
        """Keep a run in memory that could not be recorded; `end` records it if it then can be.

        Return its number, which is negative.
        """
        with self._lock:
            number = min(0, *self._running, 0) - 1
            self._running[number] = Unfinished(Run(number, job, trigger, at), "")
            self._remember(job, at, last_start=at, retry=retry)
            self._note_saved([job], is_saved=False)
            return number

    def phase(self, run: int, phase: Phase, snapshot: str = "") -> None:
        """Record how far a run has come, and the snapshot that it has made."""
        with self._lock:
            if known := self._running.get(run):
                moved = replace(known.run, phase=phase)
                made = snapshot or known.snapshot
                self._running[run] = replace(known, run=moved, snapshot=made)
            self._update(run, "a phase", _PHASE, (phase.value, snapshot, snapshot, run))

    def child(self, run: int, child: Child | None) -> None:
        """Record the program that works for a run now; None: there is none."""
        pid, started = (None, None) if child is None else (child.pid, child.started)
        with self._lock:
            if known := self._running.get(run):
                self._running[run] = replace(known, child=child)
            self._update(run, "a child", _CHILD, (pid, started, run))

    def end(self, run: int, ended: Ended, retry: Retry | None = None) -> None:
        """Record how a run ended, once, and what is tried again; its `resume` is deleted."""
        with self._lock:
            known = self._running.pop(run, None)
            if known is None:
                return
            record, past = known.run, {**_past_fields(ended), "retry": retry}

            def change(connection: sqlite3.Connection) -> None:
                # It is missing if it could not be recorded when it began, or if its file is gone.
                number = run if _is_there(connection, run) else _insert(connection, record, "")
                if connection.execute(_END, (*ended_values(ended), number)).rowcount:
                    _amend(connection, record.job, record.started, **past)
                    connection.execute(_SHORTEN, (*record.job, *record.job, self._keep))

            self._remember(record.job, record.started, **past)
            self._note_saved([record.job], is_saved=self._try("the end of a run", change))

    def unfinished(self) -> tuple[Unfinished, ...]:
        """List the recorded runs without an end, oldest first. Raises JournalError."""
        with self._lock:
            rows = self._read(lambda db: db.execute(f"{_UNFINISHED} ORDER BY id").fetchall())
            found = tuple(one for row in rows if (one := unfinished_of(row)) is not None)
            self._running.update({one.run.id: one for one in found})
            return found

    def runs(self, subject: str | None = None, limit: int = 100) -> tuple[Run, ...]:
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
        found = self._select(f"WHERE {_OF_JOB} {ended} ORDER BY id DESC LIMIT 1", values)
        return next(iter(found), None)

    def latest(self, job: Job, not_after: float) -> Run | None:
        """Return the newest run of a job whose snapshot holds a file, not begun after a moment.

        Raises JournalError.
        """
        query = (
            f"SELECT {RUN_COLUMNS} FROM runs WHERE {_OF_JOB} AND snapshot != '' "  # noqa: S608
            "AND ended IS NOT NULL AND started <= ? ORDER BY id DESC"
        )
        return self._read(
            lambda db: next(
                filter(_holds_file, read_runs(db.execute(query, (*job, not_after)))), None
            )
        )

    def files_in(self, job: Job, snapshot: str) -> int | None:
        """Return how many files a snapshot holds that a job has made; None: not known.

        Raises JournalError.
        """
        # Before restic 0.15 only the first digits of an id were recorded.
        values = (*job, snapshot, snapshot[:_SHORT_ID])
        row = self._read(lambda db: db.execute(_STATS_OF, values).fetchone())
        stats = None if row is None else stats_of(row[0])
        return None if stats is None else stats.files_processed

    def _select(self, rest: str, values: tuple[object, ...]) -> tuple[Run, ...]:
        query = f"SELECT {RUN_COLUMNS} FROM runs {rest}"  # noqa: S608 - our own names
        return self._read(lambda connection: tuple(read_runs(connection.execute(query, values))))

    def _update(self, run: int, what: str, statement: str, values: tuple[object, ...]) -> None:
        """Change the row of a run, if it has one."""
        if run > 0:
            self._try(what, lambda connection: connection.execute(statement, values))

    def _rows_in_memory(self) -> Rows:
        """Return the runs that can be recorded, and the past."""
        running = [_unfinished_row(one) for one in self._running.values() if one.run.id > 0]
        return running + super()._rows_in_memory()


def _holds_file(run: Run) -> bool:
    stats = None if run.ended is None else run.ended.stats
    return stats is not None and stats.files_processed > 0


def _waiting(past: Mapping[Job, Past]) -> dict[Job, Retry]:
    """Return what waits to be tried again."""
    return {
        job: known.retry
        for job, known in past.items()
        if known.retry is not None and known.retry.at is not None
    }


def _past_row(job: Job, past: Past) -> Row:
    """Return a row of the past."""
    return "works", tuple(PAST_COLUMNS.split(", ")), past_values(job, past)


def _amend(connection: sqlite3.Connection, job: Job, at: float, **fields: Any) -> None:
    """Change the past of a job; one that was never seen is first seen `at`."""
    known = read_past(connection.execute(f"{_PAST} WHERE {_OF_JOB}", job)).get(job) or Past(at)
    connection.execute(_PUT, past_values(job, replace(known, **fields)))


def _insert(connection: sqlite3.Connection, run: Run, resume: str) -> int:
    values = (*run.job, run.trigger.value, run.started, run.phase.value, resume)
    _amend(connection, run.job, run.started, last_start=run.started)
    return int(connection.execute(_BEGIN, values).lastrowid or 0)


def _is_there(connection: sqlite3.Connection, run: int) -> bool:
    return connection.execute("SELECT 1 FROM runs WHERE id = ?", (run,)).fetchone() is not None


def _past_fields(ended: Ended) -> dict[str, Any]:
    fields: dict[str, Any] = {"last_end": ended.at, "last_outcome": ended.outcome}
    return fields | ({"last_success": ended.at} if ended.outcome.is_good else {})


def _unfinished_row(one: Unfinished) -> Row:
    run, child = one.run, one.child
    columns = ("id", *_START_COLUMNS, "snapshot", "child_pid", "child_started")
    head = (run.id, *run.job, run.trigger.value, run.started, run.phase.value, one.resume)
    tail = (None, None) if child is None else (child.pid, child.started)
    return "runs", columns, (*head, one.snapshot, *tail)
