"""What the journal knows of the past of each piece of work: what decides when it is due."""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sidecar.runner.due import Missed, Work
from sidecar.runner.journal.database import Database
from sidecar.runner.journal.records import History, JournalError, MissedFires, Past
from sidecar.runner.journal.rows import PAST_COLUMNS, history_of, past_values, read_past, work_of
from sidecar.runner.journal.schema import Row, Rows

OF_WORK = "kind = ? AND subject = ? AND repo = ?"

_PAST = f"SELECT {PAST_COLUMNS} FROM works"  # noqa: S608 - our own names
_PUT = f"INSERT OR REPLACE INTO works ({PAST_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_MISSED = "INSERT OR REPLACE INTO missed VALUES (?, ?, ?, ?, ?, ?, ?)"
_SHORTEN_MISSED = (
    f"DELETE FROM missed WHERE {OF_WORK} AND last <= (SELECT last FROM missed "  # noqa: S608
    f"WHERE {OF_WORK} ORDER BY last DESC LIMIT 1 OFFSET ?)"
)


class Pasts(Database):
    """The part of the journal that knows the past; `keep`: how much of each work is kept.

    It is also in mind, so that nothing is due again and again where nothing can be written.
    """

    def __init__(self, path: Path, keep: int = 1000, wall: Callable[[], float] = time.time) -> None:
        self._keep = max(keep, 1)
        self._past: dict[Work, Past] = {}
        self._unsaved: set[Work] = set()
        self._history: History | None = None
        self._version = -1
        super().__init__(path, wall)
        self._refresh()

    def history(self) -> History:
        """Give what is known of the past; cheap, and there even while the file is not."""
        with self._lock:
            self._refresh()
            if self._history is None:
                self._history = history_of(dict(self._past))
            return self._history

    def first_seen(self, works: Iterable[Work], at: float) -> None:
        """Start the clock of what was never seen before."""
        with self._lock:
            self._refresh()
            new = [work for work in dict.fromkeys(works) if work not in self._past]
            if not new:
                return

            def change(connection: sqlite3.Connection) -> None:
                for work in new:
                    amend(connection, work, at)

            for work in new:
                self._remember(work, at)
            self._settle(new, is_saved=self._try("what was first seen", change))

    def missed(self, missed: Missed, at: float) -> None:
        """Record fires that no run answers."""
        work = missed.work
        values = (*work, missed.first, missed.last, missed.count, at)

        def change(connection: sqlite3.Connection) -> None:
            amend(connection, work, at, last_missed=missed.last)
            connection.execute(_MISSED, values)
            connection.execute(_SHORTEN_MISSED, (*work, *work, self._keep))

        with self._lock:
            self._remember(work, at, last_missed=missed.last)
            self._settle([work], is_saved=self._try("missed fires", change))

    def missed_fires(self, subject: str | None = None, limit: int = 100) -> tuple[MissedFires, ...]:
        """List what was missed of a plan or repository, or of all, newest first."""
        where, values = ("", ()) if subject is None else ("WHERE subject = ?", (subject,))
        query = f"SELECT * FROM missed {where} ORDER BY last DESC LIMIT ?"  # noqa: S608 - ours
        rows = self._read(lambda connection: connection.execute(query, (*values, limit)).fetchall())
        return tuple(
            MissedFires(work, *row[3:]) for row in rows if (work := work_of(*row[:3])) is not None
        )

    def _remember(self, work: Work, at: float, **fields: Any) -> None:
        """Bear in mind what is to be written, too."""
        self._past[work] = replace(self._past.get(work) or Past(at), **fields)
        self._history = None

    def _settle(self, works: Iterable[Work], *, is_saved: bool) -> None:
        """Take note whether what is in mind is also in the file."""
        if is_saved:
            self._unsaved.clear()
        else:
            self._unsaved.update(works)

    def _refresh(self) -> None:
        """Read again what another process has written, but keep what is only in mind."""
        # A file that cannot be read leaves what was known before.
        with contextlib.suppress(JournalError):
            (version,) = self._read(lambda db: db.execute("PRAGMA data_version").fetchone())
            if version != self._version:
                found = self._read(lambda db: read_past(db.execute(_PAST)))
                kept = {work: self._past[work] for work in self._unsaved}
                self._past, self._version, self._history = found | kept, version, None

    def _in_mind(self) -> Rows:
        """The past, which a new file must have."""
        return [past_row(work, past) for work, past in self._past.items()]


def past_row(work: Work, past: Past) -> Row:
    """Give a row of the past."""
    return "works", tuple(PAST_COLUMNS.split(", ")), past_values(work, past)


def amend(connection: sqlite3.Connection, work: Work, at: float, **fields: Any) -> None:
    """Change what is known of a work; what was never seen is first seen `at`."""
    known = read_past(connection.execute(f"{_PAST} WHERE {OF_WORK}", work)).get(work) or Past(at)
    connection.execute(_PUT, past_values(work, replace(known, **fields)))
