"""The journal as a whole."""

from sidecar.runner.journal.intents import Findings, Intents
from sidecar.runner.journal.outbox import Outbox
from sidecar.runner.journal.runs import Runs


class Journal(Runs, Intents, Findings, Outbox):
    """One file, which only its owner can read; safe for threads, each change one transaction.

    Made of a path, of `keep`, how many runs of each plan or repository are kept, and of
    `wall`, which gives unix seconds. A file that is broken is set aside and told. `begin`
    and `stopped` raise JournalError where they cannot be made durable, as does all that
    reads from a file that is out of reach; whatever else cannot be written is told, and
    written as soon as it can be.
    """
