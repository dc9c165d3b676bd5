"""Report each run to the log, the marker files and the operator's notifications; keep the last."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from pathlib import Path

from sidecar.lib.log import log_event
from sidecar.runner.due import Job, JobKind, Missed
from sidecar.runner.job.markers import write_marker
from sidecar.runner.journal import Journal, Run, RunCause, RunOutcome
from sidecar.runner.notify.notices import Notice, NoticeEvent, RunNotifier, event_of

_LEVELS = {
    RunOutcome.SUCCESS: logging.INFO,
    RunOutcome.SKIPPED: logging.INFO,
    RunOutcome.WARNING: logging.WARNING,
    RunOutcome.CANCELLED: logging.WARNING,
    RunOutcome.FAILED: logging.ERROR,
    RunOutcome.INTERRUPTED: logging.ERROR,
}
_OF_PLANS = frozenset({JobKind.BACKUP, JobKind.RESTORE, JobKind.VERIFY})
_log = logging.getLogger(__name__)


class EndedRuns:
    """The runs that have ended since this process began, and the fires missed; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[tuple[Job, bool], Run] = {}
        self._outcomes = Counter({outcome.value: 0 for outcome in RunOutcome})
        self._missed = 0

    def ended(self, run: Run) -> None:
        """Note how a run ended."""
        if run.ended is None:
            return
        is_good = run.ended.outcome.is_good
        with self._lock:
            self._outcomes[run.ended.outcome.value] += 1
            self._last |= dict.fromkeys([(run.job, False), (run.job, is_good)], run)

    def add_missed(self, count: int) -> None:
        """Count fires that no run answers."""
        with self._lock:
            self._missed += count

    def last(self, job: Job, *, is_good: bool = False) -> Run | None:
        """Return the last run of a job, or the last that saved what it should."""
        with self._lock:
            return self._last.get((job, is_good))

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many runs have ended so."""
        with self._lock:
            return dict(self._outcomes)

    @property
    def missed(self) -> int:
        """How many fires were missed."""
        with self._lock:
            return self._missed


class RunReporter:
    """Reports runs; safe for threads, and raises nothing.

    Each run that has ended goes to the log, to the markers in `directory`, to `runs` and to the
    `announcer`. Missed fires are recorded in the `journal`. Notifications show times in `zone`.
    """

    def __init__(
        self,
        directory: Path,
        zone: tzinfo,
        journal: Journal,
        announcer: RunNotifier,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._zone = zone
        self._journal = journal
        self._now = now
        self._announcer = announcer
        self.runs = EndedRuns()

    def began(self, job: Job, trigger: RunCause) -> None:
        """Report that a run begins."""
        log_event(_log, logging.INFO, "run.began", **_fields(job), trigger=trigger.value)
        notice = Notice(NoticeEvent.START, job.kind.value, name_of(job), "began", self._local_now())
        self._announcer.announce(notice)

    def ended(self, run: Run) -> None:
        """Report how a run ended."""
        ended = run.ended
        if ended is None:
            return
        seconds = ended.at - run.started
        fields = {"outcome": ended.outcome.value, "seconds": round(seconds, 3)}
        if ended.reason:
            fields["reason"] = ended.reason
        if ended.snapshot:
            fields["snapshot"] = ended.snapshot
        again = None if run.again is None else self._moment(run.again).isoformat()
        if again is not None:
            fields["again"] = again
        log_event(_log, _LEVELS[ended.outcome], "run.ended", **_fields(run.job), **fields)
        write_marker(self._directory, run)
        self.runs.ended(run)
        if again is not None:
            log_event(_log, logging.INFO, "run.retry", **_fields(run.job), at=again)
            # Notifications tell how it ended at last.
            return
        past = self._journal.past.history().past.get(run.job)
        success = None if past is None else past.last_success
        self._announcer.announce(
            Notice(
                event_of(ended.outcome),
                run.job.kind.value,
                name_of(run.job),
                ended.outcome.value,
                self._moment(ended.at),
                ended.reason,
                seconds,
                ended.stats,
                ended.snapshot,
                None if success is None else self._moment(success),
            )
        )

    def missed(self, missed: Missed, at: float) -> None:
        """Record and report fires that no run answers, noticed `at`, in unix seconds."""
        if missed.job.kind is JobKind.RESTORE:
            return
        self._journal.past.missed(missed, at)
        self.runs.add_missed(missed.count)
        first, last = (self._moment(at).isoformat() for at in (missed.first, missed.last))
        fields = {"count": missed.count, "first": first, "last": last}
        log_event(_log, logging.WARNING, "run.missed", **_fields(missed.job), **fields)
        times = "once" if missed.count == 1 else f"{missed.count} times"
        result = f"missed {times}, the last at {last}"
        what = missed.job.kind.value
        notice = Notice(NoticeEvent.MISSED, what, name_of(missed.job), result, self._local_now())
        self._announcer.announce(notice)

    def dropped(self, job: Job, reason: str) -> None:
        """Report that a run could not even begin."""
        log_event(_log, logging.ERROR, "run.dropped", **_fields(job), reason=reason)

    def _local_now(self) -> datetime:
        return self._moment(self._now())

    def _moment(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, self._zone)


def name_of(job: Job) -> str:
    """Return the subject of a job with what it is: `plan web`, `repository nas`."""
    return f"{'plan' if job.kind in _OF_PLANS else 'repository'} {job.subject}"


def _fields(job: Job) -> dict[str, object]:
    what = "plan" if job.kind in _OF_PLANS else "repo"
    return {"kind": job.kind.value, what: job.subject}
