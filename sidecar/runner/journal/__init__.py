"""What the runner remembers across restarts, in one SQLite file.

In come runs as they begin, go on and end, missed fires, stopped containers and messages to send;
out come the past of each job, unfinished runs, and what has to be started or sent.
"""

from sidecar.runner.journal.journal import Findings, Journal
from sidecar.runner.journal.records import (
    AheadSnapshot,
    Device,
    Ended,
    JournalError,
    MissedFires,
    Past,
    Phase,
    Posted,
    Run,
    RunCause,
    RunHistory,
    RunOutcome,
    Stopped,
    Unfinished,
    Verified,
)
from sidecar.runner.journal.schema import list_set_aside

__all__ = [
    "AheadSnapshot",
    "Device",
    "Ended",
    "Findings",
    "Journal",
    "JournalError",
    "MissedFires",
    "Past",
    "Phase",
    "Posted",
    "Run",
    "RunCause",
    "RunHistory",
    "RunOutcome",
    "Stopped",
    "Unfinished",
    "Verified",
    "list_set_aside",
]
