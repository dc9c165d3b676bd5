"""A process that writes into a journal until it is killed.

usage: one_journal.py PATH

A line on standard output for each run that is begun (`+ID`) and for each that has ended
(`-ID`), once the journal says that it is recorded.
"""

import itertools
import sys
from pathlib import Path

from sidecar.engines.base import Stats
from sidecar.runner.due import Job, JobKind
from sidecar.runner.journal import Ended, Journal, Phase, RunCause, RunOutcome

WORK = Job(JobKind.BACKUP, "web", "store")


def main(path: Path) -> None:
    """Write for ever."""
    with Journal(path, keep=1_000_000) as journal:
        for at in itertools.count():
            number = journal.runs.begin(WORK, RunCause.SCHEDULE, float(at), f"resume {at}" * 50)
            print(f"+{number}", flush=True)  # noqa: T201 - a script
            journal.runs.phase(number, Phase.WORKING, f"snapshot {number}")
            journal.runs.end(
                number, Ended(RunOutcome.SUCCESS, at + 1.0, f"{number}", Stats(number))
            )
            print(f"-{number}", flush=True)  # noqa: T201 - a script


if __name__ == "__main__":
    main(Path(sys.argv[1]))
