"""The journal's tables: open a file, bring it up to date, save what a broken one still holds."""

import contextlib
import glob
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from sidecar.lib.read_file import refuse_other_kinds

# One step for each version. A published step is never changed, and no column is ever removed:
# so rows of a file of any version can be saved by these names.
MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE works (
            kind TEXT NOT NULL, subject TEXT NOT NULL, repo TEXT NOT NULL,
            first_seen REAL NOT NULL, last_start REAL, last_missed REAL, last_end REAL,
            last_outcome TEXT, last_success REAL,
            PRIMARY KEY (kind, subject, repo)) WITHOUT ROWID""",
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL, subject TEXT NOT NULL, repo TEXT NOT NULL,
            cause TEXT NOT NULL, started REAL NOT NULL, phase TEXT NOT NULL,
            resume TEXT NOT NULL, child_pid INTEGER, child_started INTEGER,
            ended REAL, outcome TEXT, snapshot TEXT NOT NULL DEFAULT '', stats TEXT,
            failure TEXT, reason TEXT NOT NULL DEFAULT '', excerpt TEXT NOT NULL DEFAULT '')""",
        "CREATE INDEX runs_of_work ON runs (kind, subject, repo, id)",
        "CREATE INDEX runs_open ON runs (id) WHERE ended IS NULL",
        """CREATE TABLE missed (
            kind TEXT NOT NULL, subject TEXT NOT NULL, repo TEXT NOT NULL,
            first REAL NOT NULL, last REAL NOT NULL, count INTEGER NOT NULL, at REAL NOT NULL,
            PRIMARY KEY (kind, subject, repo, last)) WITHOUT ROWID""",
        """CREATE TABLE verified (
            plan TEXT PRIMARY KEY, at REAL NOT NULL, snapshot TEXT NOT NULL) WITHOUT ROWID""",
        "CREATE TABLE guids (repo TEXT PRIMARY KEY, guid TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE devices (
            plan TEXT NOT NULL, path TEXT NOT NULL,
            device TEXT NOT NULL, non_empty INTEGER NOT NULL,
            PRIMARY KEY (plan, path)) WITHOUT ROWID""",
        """CREATE TABLE stopped (
            container TEXT PRIMARY KEY, name TEXT NOT NULL, run INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE outbox (
            id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, posted REAL NOT NULL,
            due REAL NOT NULL, failures INTEGER NOT NULL DEFAULT 0)""",
    ),
    (
        # It holds a row as long as a daemon has the file open: one that died leaves it.
        "CREATE TABLE in_use (holder TEXT PRIMARY KEY) WITHOUT ROWID",
        "CREATE INDEX runs_of_subject ON runs (subject, id)",
        "CREATE INDEX missed_of_subject ON missed (subject, last)",
        "CREATE INDEX missed_by_time ON missed (last)",
    ),
    (
        """CREATE TABLE lock_holders (
            id INTEGER PRIMARY KEY AUTOINCREMENT, repo TEXT NOT NULL, hostname TEXT NOT NULL,
            pid INTEGER NOT NULL, boot TEXT NOT NULL, namespace TEXT NOT NULL,
            since REAL NOT NULL, over REAL)""",
        "CREATE INDEX lock_holders_of_repo ON lock_holders (repo, id)",
        "CREATE INDEX lock_holders_alive ON lock_holders (id) WHERE over IS NULL",
    ),
    (
        """CREATE TABLE ahead (
            plan TEXT NOT NULL, snapshot TEXT NOT NULL, time REAL NOT NULL,
            PRIMARY KEY (plan, snapshot)) WITHOUT ROWID""",
    ),
    ("CREATE TABLE accepted (plan TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",),
    (
        "ALTER TABLE stopped ADD COLUMN at REAL NOT NULL DEFAULT 0",
        "ALTER TABLE stopped ADD COLUMN seconds INTEGER NOT NULL DEFAULT 0",
    ),
    (
        "ALTER TABLE works ADD COLUMN retry_fire REAL",
        "ALTER TABLE works ADD COLUMN retry_at REAL",
        "ALTER TABLE works ADD COLUMN retry_tries INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE works ADD COLUMN retry_hook_tries INTEGER NOT NULL DEFAULT 0",
    ),
)

# What is saved from a broken file, the most important first: runs to finish and containers to
# start, what decides when a job is due, and what cannot be found out again.
_SAVED = {
    "runs": "WHERE ended IS NULL",
    "stopped": "",
    "works": "",
    "devices": "",
    "ahead": "",
    "accepted": "",
    "verified": "",
    "guids": "",
    "lock_holders": "",
    "outbox": "",
}

_BUSY_SECONDS = 10.0
_MOST_LOG_BYTES = 1 << 20
_ASIDE = ".broken-"
_COMPANIONS = ("", "-wal", "-shm")

Row = tuple[str, tuple[str, ...], tuple[object, ...]]
Rows = list[Row]


def is_broken(error: sqlite3.Error) -> bool:
    """Return whether an error means that the file is broken, rather than out of reach."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def open_file(path: Path, *, for_daemon: bool = False) -> sqlite3.Connection:
    """Open the file or begin a new one, for its owner alone; bring it up to date.

    A daemon reads the whole of a file that the one before it left without `release`: what an
    unclean end has broken is found at the start, not in the middle of a backup.

    Raises OSError or sqlite3.Error; with `is_broken` a new file would help.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        refuse_other_kinds(os.fstat(descriptor), path)
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    # One connection for all threads; whoever uses it holds a lock.
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection)
        if for_daemon and _is_left_over(connection):
            _check(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def open_copy(path: Path) -> sqlite3.Connection:
    """Open a copy of the file in memory, as for reading alone a disk may be too full.

    SQLite keeps what it needs to know of the write-ahead log in a file of its own, unless one
    process has the file for itself. Raises sqlite3.Error.
    """
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        if path.exists():
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as source:
                source.execute("PRAGMA locking_mode = EXCLUSIVE")
                source.backup(copy)
        _prepare(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def open_reading(path: Path) -> sqlite3.Connection:
    """Open the file for reading alone: nothing is made, brought up to date or changed.

    One of an older version is copied into memory, and the copy is brought up to date. Raises
    sqlite3.Error, also where there is no file.
    """
    # Without its log beside it SQLite would make one, which a folder mounted `:ro` refuses.
    has_log = path.with_name(f"{path.name}-wal").exists()
    options = "mode=ro" if has_log or os.access(path.parent, os.W_OK) else "mode=ro&immutable=1"
    source = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{options}",
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )
    try:
        if _version(source) == len(MIGRATIONS):
            return source
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        source.backup(copy)
    except BaseException:
        source.close()
        raise
    source.close()
    try:
        _prepare(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def release(connection: sqlite3.Connection) -> None:
    """Record that the daemon ends cleanly: the next one need not read the whole file."""
    connection.execute("DELETE FROM in_use")


def _is_left_over(connection: sqlite3.Connection) -> bool:
    """Record that a daemon has the file open; return whether one that died had it, too."""
    if connection.execute("SELECT 1 FROM in_use").fetchone() is not None:
        return True
    # A full disk must keep no daemon from starting what is stopped.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("INSERT INTO in_use VALUES ('daemon')")
    return False


def _prepare(connection: sqlite3.Connection) -> None:
    # What is committed has to be on disk, and what is deleted may have been a secret.
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "secure_delete = ON",
        f"journal_size_limit = {_MOST_LOG_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    if _version(connection) < len(MIGRATIONS):
        _migrate(connection)


def _check(connection: sqlite3.Connection) -> None:
    """Read the whole file, which takes as long as it is large: 0.7 s for a million runs."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _corrupt(str(found))


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        for statement in (one for step in MIGRATIONS[version:] for one in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= len(MIGRATIONS):
        # A new file takes over what we can read of it, as from a broken one.
        raise _corrupt(f"its version is {version}, at most {len(MIGRATIONS)} is known")
    return int(version)


def _corrupt(message: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def set_aside(path: Path, at: float) -> Path:
    """Rename the file and its companions; return its new name. Raises OSError."""
    number = int(at)
    while (aside := path.with_name(f"{path.name}{_ASIDE}{number}")).exists():
        number += 1
    for companion in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{companion}").replace(f"{aside}{companion}")
    return aside


def list_set_aside(path: Path) -> tuple[Path, ...]:
    """List the files that were set aside, by their names."""
    found = path.parent.glob(f"{glob.escape(path.name)}{_ASIDE}*")
    return tuple(
        sorted(one for one in found if one.name.removeprefix(path.name + _ASIDE).isdigit())
    )


def read_what_is_left(path: Path) -> Rows:
    """Return the rows that can be read of a broken file: table, columns, values."""
    rows: Rows = []
    for table, where in _SAVED.items():
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection,
        ):
            rows.extend(_rows(connection, table, where))
    return rows


def _rows(connection: sqlite3.Connection, table: str, where: str) -> Iterator[Row]:
    cursor = connection.execute(f"SELECT * FROM {table} {where}")  # noqa: S608 - our own names
    columns = tuple(str(column[0]) for column in cursor.description)
    for row in cursor:
        yield table, columns, row


def put_back(connection: sqlite3.Connection, rows: Rows) -> int:
    """Insert rows of another file as far as they fit; return how many did."""
    done = 0
    for table, columns, values in rows:
        known = {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}
        fitting = [
            (name, value) for name, value in zip(columns, values, strict=True) if name in known
        ]
        names = ", ".join(name for name, _ in fitting)
        marks = ", ".join("?" * len(fitting))
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute(
                f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608 - our own names
                [value for _, value in fitting],
            )
            done += 1
    return done
