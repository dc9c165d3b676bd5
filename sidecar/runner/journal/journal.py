"""The journal as a whole.

The journal's messages that are yet to be sent.

The journal's further memory: what is stopped, what is verified, and what plans are made of.
"""

from collections.abc import Mapping
from sqlite3 import Connection

from sidecar.runner.journal.database import Database
from sidecar.runner.journal.records import Device, Posted, Stopped, Verified, plain_text
from sidecar.runner.journal.runs import Runs

MOST_WAITING = 1000
_MOST_BODY = 64_000
_POST = "INSERT INTO outbox (body, posted, due) VALUES (?, ?, ?)"
_SHORTEN = (
    "DELETE FROM outbox WHERE id <= (SELECT id FROM outbox ORDER BY id DESC LIMIT 1 OFFSET ?)"
)
_FAILED = "UPDATE outbox SET due = ?, failures = failures + 1 WHERE id = ?"
_DUE = "SELECT id, body, posted, failures FROM outbox WHERE due <= ? ORDER BY id LIMIT ?"


class JournalOutbox(Database):
    """Messages wait here until they are sent; of too many the oldest are dropped."""

    def post(self, body: str, at: float) -> None:
        """Keep a message; `body` is text that its sender understands, of at most 64,000 bytes."""
        values = (plain_text(body, _MOST_BODY), at, at)

        def change(connection: Connection) -> None:
            connection.execute(_POST, values)
            connection.execute(_SHORTEN, (MOST_WAITING,))

        self._try("a message", change)

    def due(self, now: float, limit: int = 20) -> tuple[Posted, ...]:
        """List messages that are to be sent now, oldest first. Raises JournalError."""
        return self._read(
            lambda connection: tuple(Posted(*row) for row in connection.execute(_DUE, (now, limit)))
        )

    def sent(self, message: int) -> None:
        """Forget a message: it was sent, or never can be."""
        statement = "DELETE FROM outbox WHERE id = ?"
        self._try("that a message was sent", lambda db: db.execute(statement, (message,)))

    def failed(self, message: int, again: float) -> None:
        """Record that a message could not be sent; it is due again at `again`."""
        self._try("that a message failed", lambda db: db.execute(_FAILED, (again, message)))


class Intents(Database):
    """What is stopped and to be started again. What is not told as durable is only told late."""

    def stopped(self, container: str, name: str, run: int = 0) -> None:
        """Record durably, before a container is stopped. Raises JournalError: do not stop it."""
        values = (container, name, run)
        self._change(
            lambda db: db.execute("INSERT OR REPLACE INTO stopped VALUES (?, ?, ?)", values)
        )

    def resumed(self, container: str) -> None:
        """Record that a container needs not be started again."""
        statement = "DELETE FROM stopped WHERE container = ?"
        self._try("a start", lambda db: db.execute(statement, (container,)))

    def still_stopped(self) -> tuple[Stopped, ...]:
        """List the containers that are to be started again. Raises JournalError."""
        query = "SELECT container, name, run FROM stopped ORDER BY name, container"
        return self._read(lambda db: tuple(Stopped(*row) for row in db.execute(query)))


class Findings(Database):
    """What was found out about plans and repositories."""

    def verified(self, plan: str, at: float, snapshot: str) -> None:
        """Record that a snapshot was compared with what it was made of."""
        values = (plan, at, snapshot)
        self._try(
            "a verification",
            lambda db: db.execute("INSERT OR REPLACE INTO verified VALUES (?, ?, ?)", values),
        )

    def verifications(self) -> dict[str, Verified]:
        """Return the last verification of each plan by its id. Raises JournalError."""
        query = "SELECT plan, at, snapshot FROM verified"
        return self._read(lambda db: {plan: Verified(*rest) for plan, *rest in db.execute(query)})

    def guid(self, repo: str) -> str:
        """Return the id of a repository that we created; empty: not known. Raises JournalError."""
        query = "SELECT guid FROM guids WHERE repo = ?"
        found = self._read(lambda db: db.execute(query, (repo,)).fetchone())
        return "" if found is None else str(found[0])

    def set_guid(self, repo: str, guid: str) -> None:
        """Record the id of a repository."""
        statement = "INSERT OR REPLACE INTO guids VALUES (?, ?)"
        self._try("a repository's id", lambda db: db.execute(statement, (repo, guid)))

    def devices(self, plan: str) -> dict[str, Device]:
        """Return where the plan's paths lay at its last backup, by path. Raises JournalError."""
        query = "SELECT path, device, non_empty FROM devices WHERE plan = ?"
        rows = self._read(lambda db: db.execute(query, (plan,)).fetchall())
        return {path: Device(int(device), bool(held)) for path, device, held in rows}

    def set_devices(self, plan: str, devices: Mapping[str, Device]) -> None:
        """Record where the plan's paths lie; what was recorded of it before is forgotten."""
        # A device's number has 64 bits without a sign: too many for an integer of the file.
        rows = [
            (plan, plain_text(path), str(known.device), known.non_empty)
            for path, known in devices.items()
        ]

        def change(db: Connection) -> None:
            db.execute("DELETE FROM devices WHERE plan = ?", (plan,))
            db.executemany("INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?)", rows)

        self._try("the devices of a plan", change)


class Journal(Runs, Intents, Findings, JournalOutbox):
    """One file, which only its owner can read; safe for threads, each change one transaction.

    Made of a path, of `keep`, how many runs of each plan or repository are kept, and of
    `wall`, which gives unix seconds. A file that is broken is set aside and told. `begin`
    and `stopped` raise JournalError where they cannot be made durable, as does all that
    reads from a file that is out of reach; whatever else cannot be written is told, and
    written as soon as it can be.
    """
