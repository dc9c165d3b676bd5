"""What the runner remembers: runs, what was missed, what is stopped, what is yet to be sent."""

from sidecar.runner.journal.journal import Journal
from sidecar.runner.journal.records import (
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

__all__ = [
    "Device",
    "Ended",
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
]
