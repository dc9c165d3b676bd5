"""The journal: its runs, and the tables beside them, which share a file.

The other tables hold messages that wait to be sent, containers that are stopped, programs that may
have left locks, and what was found out about plans and repositories.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple
from pathlib import Path
from sqlite3 import Connection

from sidecar.engines.base import LockHolder
from sidecar.lib.threads import Closable
from sidecar.runner.journal.database import Database
from sidecar.runner.journal.memory import RunMemory
from sidecar.runner.journal.past import PastRuns
from sidecar.runner.journal.records import AheadSnapshot, Device, Posted, Stopped, Verified
from sidecar.runner.journal.rows import plain_text
from sidecar.runner.journal.runs import Runs

MOST_WAITING = 1000
MOST_HOLDERS = 64
_MOST_BODY = 64_000
_POST = "INSERT INTO outbox (body, posted, due) VALUES (?, ?, ?)"
_SHORTEN = (
    "DELETE FROM outbox WHERE id <= (SELECT id FROM outbox ORDER BY id DESC LIMIT 1 OFFSET ?)"
)
_HOLDER_COLUMNS = "hostname, pid, boot, namespace, since, over"
_HOLD = f"INSERT INTO lock_holders (repo, {_HOLDER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_HOLDERS = f"SELECT {_HOLDER_COLUMNS} FROM lock_holders WHERE repo = ? ORDER BY id"  # noqa: S608
_SHORTEN_HOLDERS = (
    "DELETE FROM lock_holders WHERE repo = ? AND id <= (SELECT id FROM lock_holders "
    "WHERE repo = ? ORDER BY id DESC LIMIT 1 OFFSET ?)"
)
_FAILED = "UPDATE outbox SET due = ?, failures = failures + 1 WHERE id = ?"
_DUE = "SELECT id, body, posted, failures FROM outbox WHERE due <= ? OR due > ? ORDER BY id LIMIT ?"
# No message is put off for longer: one that seems to be was posted while the clock was ahead.
_LONGEST_WAIT = 86_400.0
_HAS_USED = (
    "SELECT EXISTS (SELECT 1 FROM works WHERE repo = ? AND last_success IS NOT NULL) "
    "OR EXISTS (SELECT 1 FROM runs WHERE repo = ? AND snapshot <> '')"
)


class Outbox:
    """Messages that wait to be sent; of more than 1000 the oldest are dropped."""

    def __init__(self, database: Database) -> None:
        self._file = database

    def post(self, body: str, at: float) -> None:
        """Keep a message; `body` is a text for its sender, of at most 64,000 characters."""
        values = (plain_text(body, _MOST_BODY), at, at)

        def change(connection: Connection) -> None:
            connection.execute(_POST, values)
            connection.execute(_SHORTEN, (MOST_WAITING,))

        self._file.try_change("a message", change)

    def due(self, now: float, limit: int = 20) -> tuple[Posted, ...]:
        """List the messages that are due at `now`, oldest first. Raises JournalError."""
        return self._file.read(
            lambda connection: tuple(
                Posted(*row) for row in connection.execute(_DUE, (now, now + _LONGEST_WAIT, limit))
            )
        )

    def sent(self, message: int) -> None:
        """Delete a message: it was sent, or never can be."""
        statement = "DELETE FROM outbox WHERE id = ?"
        self._file.try_change(
            "that a message was sent", lambda db: db.execute(statement, (message,))
        )

    def failed(self, message: int, again: float) -> None:
        """Record that a message could not be sent; it is due again at `again`."""
        self._file.try_change(
            "that a message failed", lambda db: db.execute(_FAILED, (again, message))
        )


class StoppedContainers:
    """Containers that are stopped, and have to be started again."""

    def __init__(self, database: Database) -> None:
        self._file = database

    def stopped(self, one: Stopped) -> None:
        """Record durably that a container is about to be stopped.

        Raises JournalError: then do not stop it.
        """
        statement = (
            "INSERT OR REPLACE INTO stopped (container, name, run, at, seconds)"
            " VALUES (?, ?, ?, ?, ?)"
        )
        values = (one.container, one.name, one.run, one.at, one.seconds)
        self._file.change(lambda db: db.execute(statement, values))

    def resumed(self, container: str) -> None:
        """Record that a container need not be started any more."""
        statement = "DELETE FROM stopped WHERE container = ?"
        self._file.try_change("a start", lambda db: db.execute(statement, (container,)))

    def still_stopped(self) -> tuple[Stopped, ...]:
        """List the containers that have to be started again. Raises JournalError."""
        query = "SELECT container, name, run, at, seconds FROM stopped ORDER BY name, container"
        return self._file.read(lambda db: tuple(Stopped(*row) for row in db.execute(query)))


class LockHolders:
    """Programs that may hold locks of repositories, or have left them; the newest of each."""

    def __init__(self, database: Database) -> None:
        self._file = database

    def note(self, repo: str, holder: LockHolder) -> None:
        """Record that a program may hold locks of a repository from now on."""
        values = (repo, *astuple(holder))

        def change(db: Connection) -> None:
            db.execute(_HOLD, values)
            db.execute(_SHORTEN_HOLDERS, (repo, repo, MOST_HOLDERS))

        self._file.try_change("the holder of a lock", change)

    def holders(self, repo: str) -> tuple[LockHolder, ...]:
        """List the programs that may hold locks of a repository, or have left them.

        Raises JournalError.
        """
        return self._file.read(
            lambda db: tuple(LockHolder(*row) for row in db.execute(_HOLDERS, (repo,)))
        )

    def end_all(self, at: float) -> None:
        """Record that all programs of so far have ended. Raises JournalError."""
        alive = "SELECT 1 FROM lock_holders WHERE over IS NULL LIMIT 1"
        statement = "UPDATE lock_holders SET over = ? WHERE over IS NULL"
        if self._file.read(lambda db: db.execute(alive).fetchone()) is not None:
            self._file.change(lambda db: db.execute(statement, (at,)))


class Findings:
    """What was found out: verified snapshots, those ahead of the clock, repositories, devices."""

    def __init__(self, database: Database) -> None:
        self._file = database

    def verified(self, plan: str, at: float, snapshot: str) -> None:
        """Record that a snapshot was compared with its source."""
        values = (plan, at, snapshot)
        self._file.try_change(
            "a verification",
            lambda db: db.execute("INSERT OR REPLACE INTO verified VALUES (?, ?, ?)", values),
        )

    def verifications(self) -> dict[str, Verified]:
        """Return the last verification of each plan by its id. Raises JournalError."""
        query = "SELECT plan, at, snapshot FROM verified"
        return self._file.read(
            lambda db: {plan: Verified(*rest) for plan, *rest in db.execute(query)}
        )

    def guid(self, repo: str) -> str:
        """Return the id of a repository that we created; empty: not known. Raises JournalError."""
        query = "SELECT guid FROM guids WHERE repo = ?"
        found = self._file.read(lambda db: db.execute(query, (repo,)).fetchone())
        return "" if found is None else str(found[0])

    def has_used(self, repo: str) -> bool:
        """Return whether a run has used a repository with success. Raises JournalError."""
        row = self._file.read(lambda db: db.execute(_HAS_USED, (repo, repo)).fetchone())
        return bool(row[0])

    def set_guid(self, repo: str, guid: str) -> None:
        """Record the id of a repository."""
        statement = "INSERT OR REPLACE INTO guids VALUES (?, ?)"
        self._file.try_change("a repository's id", lambda db: db.execute(statement, (repo, guid)))

    def devices(self, plan: str) -> dict[str, Device]:
        """Return the devices of a plan's paths at its last backup, by path.

        Raises JournalError.
        """
        query = "SELECT path, device, non_empty FROM devices WHERE plan = ?"
        rows = self._file.read(lambda db: db.execute(query, (plan,)).fetchall())
        return {path: Device(int(device), bool(held)) for path, device, held in rows}

    def set_devices(self, plan: str, devices: Mapping[str, Device]) -> None:
        """Record the devices of a plan's paths, in place of those recorded before."""
        # A device number is unsigned with 64 bits: too large for an integer of SQLite.
        rows = [
            (plan, plain_text(path), str(known.device), known.non_empty)
            for path, known in devices.items()
        ]

        def change(db: Connection) -> None:
            db.execute("DELETE FROM devices WHERE plan = ?", (plan,))
            db.executemany("INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?)", rows)

        self._file.try_change("the devices of a plan", change)

    def ahead(self) -> dict[str, tuple[AheadSnapshot, ...]]:
        """Return the snapshots ahead of the clock by plan, oldest first. Raises JournalError."""
        query = "SELECT plan, snapshot, time FROM ahead ORDER BY time, snapshot"
        found: dict[str, tuple[AheadSnapshot, ...]] = {}
        for plan, snapshot, moment in self._file.read(lambda db: db.execute(query).fetchall()):
            found[plan] = (*found.get(plan, ()), AheadSnapshot(snapshot, moment))
        return found

    def set_ahead(self, plan: str, ahead: Iterable[AheadSnapshot]) -> None:
        """Record a plan's snapshots ahead of the clock, in place of those recorded before."""
        rows = [(plan, one.snapshot, one.time) for one in ahead]

        def change(db: Connection) -> None:
            db.execute("DELETE FROM ahead WHERE plan = ?", (plan,))
            db.executemany("INSERT INTO ahead VALUES (?, ?, ?)", rows)

        self._file.try_change("snapshots ahead of the clock", change)

    def accept_empty(self, plan: str, at: float) -> None:
        """Record durably that a plan may be empty, until it is not. Raises JournalError."""
        self._file.change(
            lambda db: db.execute("INSERT OR REPLACE INTO accepted VALUES (?, ?)", (plan, at))
        )

    def is_empty_accepted(self, plan: str) -> bool:
        """Return whether somebody has said that a plan may be empty. Raises JournalError."""
        query = "SELECT 1 FROM accepted WHERE plan = ?"
        return self._file.read(lambda db: db.execute(query, (plan,)).fetchone()) is not None

    def end_acceptance(self, plan: str) -> None:
        """Record that a plan is not empty any more."""
        statement = "DELETE FROM accepted WHERE plan = ?"
        self._file.try_change(
            "that files are there again", lambda db: db.execute(statement, (plan,))
        )


class Journal(Closable):
    """One file, which only its owner can read; safe for threads, each change one transaction.

    It takes a path, `keep`, how many runs of each job are kept, `now`, which gives unix
    seconds, and `for_daemon`. A broken file is set aside and logged. `runs.begin` and
    `containers.stopped` raise JournalError if they cannot be made durable, as does every method
    that reads a file out of reach. Any other change that cannot be written is logged, and written
    as soon as it can be. With `only_reads` nothing is made, mended or changed, and a file that is
    not there or broken raises JournalError.
    """

    def __init__(
        self,
        path: Path,
        keep: int = 1000,
        now: Callable[[], float] = time.time,
        *,
        for_daemon: bool = False,
        only_reads: bool = False,
    ) -> None:
        memory, keep = RunMemory(), max(keep, 1)
        self._database = database = Database(
            path, memory, now, for_daemon=for_daemon, only_reads=only_reads
        )
        self.path = path
        self.past = PastRuns(database, memory, keep)
        self.runs = Runs(database, memory, keep)
        self.containers = StoppedContainers(database)
        self.locks = LockHolders(database)
        self.findings = Findings(database)
        self.outbox = Outbox(database)

    def close(self) -> None:
        """Close the file, after another try to write what could not be written so far."""
        self._database.close()
