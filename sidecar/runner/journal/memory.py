"""What this process knows of runs, whatever becomes of the file.

What decides when a job is due is kept in memory too: so no job is due again and again while the
file cannot be written, and a file that begins anew has it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sidecar.runner.due import Job, Retry
from sidecar.runner.journal.records import Past, RunHistory, Unfinished
from sidecar.runner.journal.rows import past_row, unfinished_row
from sidecar.runner.journal.schema import Rows


class RunMemory:
    """The past of each job, and the runs that go on; its users hold the database's lock.

    Attributes:
        past: what is known of the runs of each job.
        running: the runs without an end, by their numbers.
    """

    def __init__(self) -> None:
        self.past: dict[Job, Past] = {}
        self.running: dict[int, Unfinished] = {}
        self._unsaved: set[Job] = set()
        self._changed: set[Job] = set()
        self._history: RunHistory | None = None

    def remember(self, job: Job, at: float, **fields: Any) -> None:
        """Change the past of a job; one that was never seen is first seen `at`."""
        self.past[job] = replace(self.past.get(job) or Past(at), **fields)
        self._changed.add(job)

    def take_all(self, changed: Mapping[Job, Past]) -> None:
        """Replace the pasts of many jobs."""
        self.past |= changed
        self._history = None

    def take_file(self, found: Mapping[Job, Past]) -> None:
        """Replace everything by what a file holds, but keep what is only in memory."""
        self.past = {**found, **{job: self.past[job] for job in self._unsaved}}
        self._history = None

    def note_saved(self, jobs: Iterable[Job], *, is_saved: bool) -> None:
        """Note whether what is in memory is also in the file."""
        if is_saved:
            self._unsaved.clear()
        else:
            self._unsaved.update(jobs)

    def history(self) -> RunHistory:
        """Return what is known of past runs; the same object as long as nothing has changed."""
        if self._history is None:
            self._history = _history_of(self.past)
        elif self._changed:
            before = self._history
            changed = _history_of({job: self.past[job] for job in self._changed})
            waiting = {job: one for job, one in before.retries.items() if job not in changed.past}
            self._history = RunHistory(
                dict(self.past),
                {**before.moments, **changed.moments},
                {**waiting, **changed.retries},
            )
        self._changed.clear()
        return self._history

    def rows(self) -> Rows:
        """Return the rows that a new file must have: runs that can be recorded, and the past."""
        running = [unfinished_row(one) for one in self.running.values() if one.run.id > 0]
        return running + [past_row(job, past) for job, past in self.past.items()]


def _history_of(past: Mapping[Job, Past]) -> RunHistory:
    return RunHistory(
        dict(past), {job: known.moments for job, known in past.items()}, _waiting(past)
    )


def _waiting(past: Mapping[Job, Past]) -> dict[Job, Retry]:
    """Return what waits to be tried again."""
    return {
        job: known.retry
        for job, known in past.items()
        if known.retry is not None and known.retry.at is not None
    }
