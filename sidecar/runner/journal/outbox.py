"""The journal's messages that are yet to be sent."""

from sqlite3 import Connection

from sidecar.runner.journal.database import Database
from sidecar.runner.journal.records import Posted
from sidecar.runner.journal.rows import plain_text

MOST_WAITING = 1000
_MOST_BODY = 64_000
_POST = "INSERT INTO outbox (body, posted, due) VALUES (?, ?, ?)"
_SHORTEN = (
    "DELETE FROM outbox WHERE id <= (SELECT id FROM outbox ORDER BY id DESC LIMIT 1 OFFSET ?)"
)
_FAILED = "UPDATE outbox SET due = ?, failures = failures + 1 WHERE id = ?"
_DUE = "SELECT id, body, posted, failures FROM outbox WHERE due <= ? ORDER BY id LIMIT ?"


class Outbox(Database):
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
