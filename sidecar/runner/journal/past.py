"""The past of each job: when it was first seen, last started, missed, ended."""

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sidecar.runner.due import Job, Missed
from sidecar.runner.journal.database import Database
from sidecar.runner.journal.memory import RunMemory
from sidecar.runner.journal.records import JournalError, MissedFires, Past, RunHistory
from sidecar.runner.journal.rows import OF_JOB, PAST_COLUMNS, job_of, past_values, read_past
from sidecar.schedule.fires import EARLIEST

_BELIEVED_SECONDS = 60.0
_PAST = f"SELECT {PAST_COLUMNS} FROM works"  # noqa: S608 - our own names
_MARKS = ", ".join("?" * len(PAST_COLUMNS.split(", ")))
_PUT = f"INSERT OR REPLACE INTO works ({PAST_COLUMNS}) VALUES ({_MARKS})"  # noqa: S608
_MISSED = "INSERT OR REPLACE INTO missed VALUES (?, ?, ?, ?, ?, ?, ?)"
_SHORTEN_MISSED = (
    f"DELETE FROM missed WHERE {OF_JOB} AND last <= (SELECT last FROM missed "  # noqa: S608
    f"WHERE {OF_JOB} ORDER BY last DESC LIMIT 1 OFFSET ?)"
)


class PastRuns:
    """The past of each job, in memory and in the file; `keep` missed fires of each are kept."""

    def __init__(self, database: Database, memory: RunMemory, keep: int) -> None:
        self._file = database
        self._memory = memory
        self._keep = keep
        self._version = -1
        self._refresh()

    def history(self) -> RunHistory:
        """Return what is known of past runs; cheap, and works even while the file does not."""
        with self._file.lock:
            self._refresh()
            return self._memory.history()

    def first_seen(self, jobs: Iterable[Job], at: float) -> None:
        """Record `at` as the first sight of those jobs that were never seen before."""
        with self._file.lock:
            self._refresh()
            new = [job for job in dict.fromkeys(jobs) if job not in self._memory.past]
            if not new:
                return

            def change(connection: sqlite3.Connection) -> None:
                for job in new:
                    amend(connection, job, at)

            for job in new:
                self._memory.remember(job, at)
            self._memory.note_saved(
                new, is_saved=self._file.try_change("what was first seen", change)
            )

    def carry_over(self, moved: Mapping[Job, Job]) -> None:
        """Let jobs go on where others end: those of plans that go to another repository now.

        `moved` has the old job of each new one. A fire that the old one has answered is not
        answered again, and one that it was to try again the new one tries.
        """
        with self._file.lock:
            self._refresh()
            past, changed = self._memory.past, dict[Job, Past]()
            for new, old in moved.items():
                before, known = past.get(old), past.get(new)
                if before is None:
                    continue
                latest, waiting = before.moments.latest, before.retry
                known = known or Past(latest)
                if known.moments.latest < latest:
                    known = replace(known, first_seen=latest)
                if waiting is not None and waiting.at is not None:
                    changed[old] = replace(before, retry=None)
                    if (known.last_start or 0.0) <= waiting.fire:
                        known = replace(known, retry=waiting)
                if known != past.get(new):
                    changed[new] = known
            self._put(changed, "plans that have moved")

    def take_over(self, jobs: Iterable[Job], at: float) -> None:
        """Let jobs count from `at`: others have answered their fires before."""
        with self._file.lock:
            self._refresh()
            past = self._memory.past
            known = {job: past.get(job) or Past(at) for job in jobs}
            self._put(
                {job: replace(one, first_seen=at, retry=None) for job, one in known.items()},
                "plans that were taken over",
            )

    def _put(self, changed: Mapping[Job, Past], what: str) -> None:
        """Replace the pasts of jobs, in memory and in the file."""
        if not changed:
            return

        def change(connection: sqlite3.Connection) -> None:
            connection.executemany(_PUT, [past_values(*one) for one in changed.items()])

        self._memory.take_all(changed)
        self._memory.note_saved(changed, is_saved=self._file.try_change(what, change))

    def pull_back(self, now: float) -> tuple[Job, ...]:
        """Let what lies ahead of `now` count as having been now; return the jobs concerned.

        It was recorded while the clock was wrong. Believed, it would keep a job from being due,
        and make it look well, until that time comes. Little is believed: clocks are corrected
        by seconds all the time, and nothing is to run twice for that. A clock that knows no
        year yet, as after a start without its battery, pulls nothing back.
        """
        if now < EARLIEST:
            return ()
        with self._file.lock:
            self._refresh()
            latest = now + _BELIEVED_SECONDS
            ahead = {
                job: past.pulled_back(now)
                for job, past in self._memory.past.items()
                if past.pulled_back(latest) != past
            }
            self._put(ahead, "clocks that were wrong")
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
            amend(connection, job, at, **fields)
            connection.execute(_MISSED, values)
            connection.execute(_SHORTEN_MISSED, (*job, *job, self._keep))

        with self._file.lock:
            self._memory.remember(job, at, **fields)
            self._memory.note_saved([job], is_saved=self._file.try_change("missed fires", change))

    def give_up(self, job: Job, at: float) -> None:
        """Record that a job is not tried again: somebody does not want it any more."""
        with self._file.lock:
            self._memory.remember(job, at, retry=None)
            saved = self._file.try_change("a retry", lambda db: amend(db, job, at, retry=None))
            self._memory.note_saved([job], is_saved=saved)

    def missed_fires(self, subject: str | None = None, limit: int = 100) -> tuple[MissedFires, ...]:
        """List the missed fires of a plan or repository, or of all, newest first."""
        where, values = ("", ()) if subject is None else ("WHERE subject = ?", (subject,))
        query = f"SELECT * FROM missed {where} ORDER BY last DESC LIMIT ?"  # noqa: S608 - ours
        rows = self._file.read(
            lambda connection: connection.execute(query, (*values, limit)).fetchall()
        )
        return tuple(
            MissedFires(job, *row[3:]) for row in rows if (job := job_of(*row[:3])) is not None
        )

    def _refresh(self) -> None:
        """Read again what another process has written, but keep what is only in memory."""
        # A file that cannot be read leaves what was known before.
        with contextlib.suppress(JournalError):
            (version,) = self._file.read(lambda db: db.execute("PRAGMA data_version").fetchone())
            if version != self._version:
                found = self._file.read(lambda db: read_past(db.execute(_PAST)))
                self._memory.take_file(found)
                self._version = version


def amend(connection: sqlite3.Connection, job: Job, at: float, **fields: Any) -> None:
    """Change the past of a job in the file; one that was never seen is first seen `at`."""
    known = read_past(connection.execute(f"{_PAST} WHERE {OF_JOB}", job)).get(job) or Past(at)
    connection.execute(_PUT, past_values(job, replace(known, **fields)))
