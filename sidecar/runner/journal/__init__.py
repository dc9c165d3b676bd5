"""What the runner remembers: runs, what was missed, what is stopped, what is yet to be sent."""

from sidecar.runner.journal.journal import Journal
from sidecar.runner.journal.records import (
    Device,
    Ended,
    History,
    JournalError,
    MissedFires,
    Outcome,
    Past,
    Phase,
    Posted,
    Run,
    Stopped,
    Trigger,
    Unfinished,
    Verified,
)

__all__ = [
    "Device",
    "Ended",
    "History",
    "Journal",
    "JournalError",
    "MissedFires",
    "Outcome",
    "Past",
    "Phase",
    "Posted",
    "Run",
    "Stopped",
    "Trigger",
    "Unfinished",
    "Verified",
]
