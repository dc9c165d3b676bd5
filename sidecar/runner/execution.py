"""What is executed, when it is due and how it went: the loop, jobs and report share it."""

from dataclasses import dataclass

from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Scheduler
from sidecar.runner.job.report import RunReporter
from sidecar.runner.journal import Journal


@dataclass(frozen=True, slots=True)
class Execution:
    """The document, the times at which its jobs are due, and their runs.

    Attributes:
        document: the one that is executed now.
        scheduler: finds what is due and what was missed.
        journal: what is recorded of all runs.
        reporter: where runs are reported to as they begin and end.
    """

    document: ExecutedDocument
    scheduler: Scheduler
    journal: Journal
    reporter: RunReporter
