"""Report each run to the log, the marker files, the status and the operator's notifications."""

import logging
import time
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path

from sidecar.lib.log import log_event
from sidecar.runner.due import Job, JobKind, Missed
from sidecar.runner.job.markers import write_marker
from sidecar.runner.journal import Run, RunCause, RunHistory, RunOutcome
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


class RunReporter:
    """Reports runs; safe for threads, and raises nothing.

    Each run that has ended goes to the log, to the markers in `directory`, to the
    `announcer` and to all `listeners`. Notifications show times in `zone`.
    """

    def __init__(
        self,
        directory: Path,
        zone: tzinfo,
        history: Callable[[], RunHistory],
        announcer: RunNotifier,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._zone = zone
        self._history = history
        self._now = now
        self._announcer = announcer
        self.listeners: list[Callable[[Run], None]] = []

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
        log_event(_log, _LEVELS[ended.outcome], "run.ended", **_fields(run.job), **fields)
        write_marker(self._directory, run)
        for listener in self.listeners:
            listener(run)
        if run.again is not None:
            again = self._moment(run.again).isoformat()
            log_event(_log, logging.INFO, "run.retry", **_fields(run.job), at=again)
            # Notifications tell how it ended at last.
            return
        past = self._history().past.get(run.job)
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

    def missed(self, missed: Missed) -> None:
        """Report fires that no run answers."""
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
