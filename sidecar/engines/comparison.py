"""Find what differs between two listings, of any length and in any order."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from sidecar.engines.base import Change, ChangeKind, Entry

# Without a name the database is a file that nobody else sees; of it so much is in memory.
_SETTINGS = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384"
_COLUMNS = "path TEXT, turn INTEGER, kind TEXT, size INTEGER, mtime REAL"
_CONTENTS = ("file", "symlink")
_FIND = """
SELECT older.path, older.turn, older.kind, older.size, older.mtime,
    newer.kind, newer.size, newer.mtime
FROM older LEFT JOIN newer USING (path, turn)
WHERE newer.kind IS NULL OR newer.kind <> older.kind OR (
    newer.kind IN (?, ?)
    AND (newer.size <> older.size OR abs(newer.mtime - older.mtime) >= ?))
UNION ALL
SELECT newer.path, newer.turn, NULL, NULL, NULL, newer.kind, newer.size, newer.mtime
FROM newer LEFT JOIN older USING (path, turn) WHERE older.kind IS NULL
ORDER BY 1, 2
"""


def compare(older: Iterable[Entry], newer: Iterable[Entry], resolution: float) -> Iterator[Change]:
    """Yield what differs, by kinds, sizes and times, in the order of the paths.

    Times that are less than `resolution` seconds apart are the same. Paths that are not exact
    may be those of several entries: they are compared in their order. What is compared lies on the
    disk, not in memory.
    """
    with closing(sqlite3.connect("")) as database:
        database.executescript(_SETTINGS)
        for name, entries in (("older", older), ("newer", newer)):
            table = f"CREATE TABLE {name} ({_COLUMNS}, PRIMARY KEY (path, turn)) WITHOUT ROWID"
            database.execute(table)
            database.executemany(
                f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - one of two names
                _rows(entries),
            )
        for path, _, *facts in database.execute(_FIND, (*_CONTENTS, resolution)):
            before, after = _entry(path, *facts[:3]), _entry(path, *facts[3:])
            yield Change(_kind(before, after), path, before, after)


def _rows(entries: Iterable[Entry]) -> Iterator[tuple[Any, ...]]:
    turns: Counter[str] = Counter()
    for one in entries:
        if not one.has_exact_path:
            turns[one.path] += 1
        yield one.path, turns.get(one.path, 0), one.kind or "", one.size or 0, one.mtime or 0.0


def _entry(path: str, kind: str | None, size: int | None, mtime: float | None) -> Entry | None:
    return None if kind is None else Entry(path, kind, size, mtime=mtime)


def _kind(before: Entry | None, after: Entry | None) -> ChangeKind:
    if before is None:
        return ChangeKind.ADDED
    return ChangeKind.REMOVED if after is None else ChangeKind.CHANGED
