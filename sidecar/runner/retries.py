"""Decide whether a run that did not save is tried again, and when. Pure: the caller gives the time.

A fire that fails because the repository is out of reach, or because the runner was asked to end,
is tried again three times. What START hooks ask for is counted apart.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC

from sidecar.backrest.plan import OnError
from sidecar.engines.base import FailureClass
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Job, Retry, Scheduler
from sidecar.runner.journal import RunOutcome

DELAYS = (900.0, 1800.0, 3600.0)
"""Seconds after which a fire is tried again: so often at most."""

# Backrest would retry START hooks for ever.
_MOST_TRIES = 10
_FIRST_BACKOFF = 10.0
_LONGEST_BACKOFF = 3600.0
_WAITS = {OnError.RETRY_1_MINUTE: 60.0, OnError.RETRY_10_MINUTES: 600.0}
_PASSING = frozenset(
    {
        FailureClass.LOCKED,
        FailureClass.NETWORK,
        FailureClass.RATE_LIMIT,
        FailureClass.TIMEOUT,
    }
)


@dataclass(frozen=True, slots=True)
class TryEnd:
    """How a try ended; `asked` is what a START hook that halted it asks for, None: none did."""

    outcome: RunOutcome
    failure: FailureClass | None
    asked: OnError | None = None

    @property
    def is_passing(self) -> bool:
        """Whether what was in the way goes by: a person's wish and a wrong password do not."""
        if self.outcome is RunOutcome.FAILED:
            return self.failure in _PASSING
        is_cut_off = self.outcome in {RunOutcome.CANCELLED, RunOutcome.INTERRUPTED}
        return is_cut_off and self.failure is FailureClass.INTERRUPTED


@dataclass(frozen=True, slots=True)
class RetryRules:
    """What is tried again: what the next fire of its job, by `document`, does not come before.

    `is_possible` is whether anybody is there later to try it.
    """

    scheduler: Scheduler = field(default_factory=lambda: Scheduler(UTC))
    document: ExecutedDocument = field(default_factory=ExecutedDocument)
    is_possible: bool = True

    def plan(self, job: Job, answers: Retry | None, end: TryEnd, now: float) -> Retry | None:
        """Return when a job is tried again; None: it is not, this was the last try."""
        planned = plan_retry(answers, end, now) if self.is_possible else None
        if planned is None or planned.at is None:
            return None
        timing = self.document.now.timings.get(job)
        fires = iter(()) if timing is None else self.scheduler.next_fires(timing, now)
        return None if next(fires, planned.at + 1) <= planned.at else planned


def plan_retry(answers: Retry | None, end: TryEnd, now: float) -> Retry | None:
    """Return when a job is tried again if no fire comes first; None: it is not.

    `answers` is the fire that the try was to answer, with the tries before; None: a person
    asked for it, and only its hooks may ask for another.
    """
    known = answers or Retry(now, tries=len(DELAYS))
    if (wait := _hooks_wait(end.asked, known.hook_tries)) is not None:
        return replace(known, at=now + wait, hook_tries=known.hook_tries + 1)
    if answers is not None and end.is_passing and known.tries < len(DELAYS):
        return replace(known, at=now + DELAYS[known.tries], tries=known.tries + 1)
    return None


def _hooks_wait(asked: OnError | None, tries: int) -> float | None:
    """Return the seconds after which START hooks are run once more; None: they are not."""
    if asked is None or tries + 1 >= _MOST_TRIES:
        return None
    if asked is OnError.RETRY_BACKOFF:
        return min(_FIRST_BACKOFF * 2.0**tries, _LONGEST_BACKOFF)
    return _WAITS.get(asked)
