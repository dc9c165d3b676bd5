"""Find the jobs that are due: timings × recorded runs × now. Pure: the caller gives the time.

There are no timers. A job is due if a fire of its cron lies after its last recorded start and
not after now; restarts, reloads, clock jumps and missed runs are this one comparison. Moments
that lie ahead, because the clock was wrong, are pulled back by `PastRuns.pull_back` before.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from enum import StrEnum
from itertools import islice, pairwise, takewhile
from typing import NamedTuple

from sidecar.backrest.reading import Config, RunPlan, Timing
from sidecar.schedule.fires import DstPolicy, cron_fires, pause_fires

LONGEST_DELAY = 3600.0
"""Seconds after which a fire is tried again at the latest."""
LONGEST_SLEEP = 60.0
"""Seconds after which the runner checks again, whatever it expects: clocks may be set."""
MOST_COUNTED = 10_000
"""Missed fires of one job that are counted one by one."""

_DAY = 86_400.0
# Enough to see the weekend of what runs on working days.
_FIRES_OF_A_PERIOD = 8


class JobKind(StrEnum):
    """What a job does."""

    __hash__ = str.__hash__

    BACKUP = "backup"
    FORGET = "forget"
    PRUNE = "prune"
    CHECK = "check"
    RESTORE = "restore"
    VERIFY = "verify"


class Job(NamedTuple):
    """A piece of work: `subject` is a plan's id, for forget, prune and check the repository's."""

    # Thousands are looked up each minute, and a tuple is the fastest key.
    kind: JobKind
    subject: str
    repo: str


@dataclass(frozen=True, slots=True)
class Moments:
    """What is recorded of a job, in unix seconds; None: that never happened."""

    first_seen: float
    last_start: float | None = None
    last_missed: float | None = None

    @property
    def latest(self) -> float:
        """The last of them, after which fires count."""
        moments = (self.first_seen, self.last_start, self.last_missed)
        return max(moment for moment in moments if moment is not None)

    def pulled_back(self, now: float) -> "Moments":
        """Return them without what lies ahead of `now`: it counts as having been now."""
        return Moments(
            min(self.first_seen, now),
            None if self.last_start is None else min(self.last_start, now),
            None if self.last_missed is None else min(self.last_missed, now),
        )


@dataclass(frozen=True, slots=True)
class Retry:
    """A fire that no run has answered, and that is tried again.

    Attributes:
        fire: the fire, in unix seconds.
        at: when it is tried again, in unix seconds; None: it is being tried now.
        tries: how often it was tried again, or will have been, as the repository was out of reach.
        hook_tries: how often because START hooks asked for it.
    """

    fire: float
    at: float | None = None
    tries: int = 0
    hook_tries: int = 0

    @property
    def is_again(self) -> bool:
        """Whether it was tried before."""
        return bool(self.tries or self.hook_tries)

    def is_too_far(self, now: float) -> bool:
        """Whether no clock that is right can have planned it; one look's delay is allowed for."""
        return self.at is not None and self.at > now + LONGEST_DELAY + LONGEST_SLEEP

    def pulled_back(self, now: float) -> "Retry":
        """Return it as it could be if it had been planned `now`."""
        at = None if self.at is None else min(self.at, now + LONGEST_DELAY)
        return replace(self, fire=min(self.fire, now), at=at)


class CatchUp(StrEnum):
    """What to do about fires that came while the runner was down."""

    ONCE = "once"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job that is due since `fire`, in unix seconds; `is_again`: that fire was tried before."""

    job: Job
    fire: float
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class Missed:
    """Fires that no run answers: the first, the last, how many (at most MOST_COUNTED)."""

    job: Job
    first: float
    last: float
    count: int


@dataclass(frozen=True, slots=True)
class DueList:
    """Due jobs, longest due first; what was missed; when to check again, in unix seconds."""

    due: tuple[DueJob, ...]
    missed: tuple[Missed, ...]
    next_wake: float


def timings(config: Config) -> dict[Job, Timing]:
    """Return all jobs of the document with their timings; those that are never due are left out."""
    found: dict[Job, Timing] = {}
    for plan in config.plans:
        found[backup_job(plan)] = plan.timing
    for repo in config.repos:
        for kind, policy in (
            (JobKind.FORGET, repo.forget),
            (JobKind.PRUNE, repo.prune),
            (JobKind.CHECK, repo.check),
        ):
            if policy is not None:
                found[Job(kind, repo.id, repo.id)] = policy.timing
    return {job: timing for job, timing in found.items() if timing.is_active}


def all_jobs(config: Config) -> Iterator[Job]:
    """Yield all jobs that can be run, also those that are never due."""
    for plan in config.plans:
        yield backup_job(plan)
    for repo in config.repos:
        for kind in (JobKind.FORGET, JobKind.PRUNE, JobKind.CHECK):
            yield Job(kind, repo.id, repo.id)


def backup_job(plan: RunPlan) -> Job:
    """Return the backup of a plan as a job."""
    return Job(JobKind.BACKUP, plan.id, plan.repo)


def moved_jobs(before: Iterable[Job], now: Iterable[Job]) -> dict[Job, Job]:
    """Return the backups of plans that go to another repository now: the new job to the old one.

    Of several old ones of a plan the last in `before` counts.
    """
    old = {job.subject: job for job in before if job.kind is JobKind.BACKUP}
    new = {job.subject: job for job in now if job.kind is JobKind.BACKUP}
    return {
        job: old[subject] for subject, job in new.items() if subject in old and old[subject] != job
    }


@dataclass(frozen=True, slots=True)
class InHand:
    """What is not left to the fires alone.

    Attributes:
        busy: the jobs that wait or run.
        retries: the fires that are tried again, also of jobs without a timing.
    """

    busy: Collection[Job] = ()
    retries: Mapping[Job, Retry] = field(default_factory=dict)


class _Next(NamedTuple):
    """The first fire of a timing after a base."""

    timing: Timing
    base: float
    fire: float


class _FireOrder:
    """The next fires of all jobs, in order; only what has changed is computed and moved.

    Thousands of jobs wait at each look, and one or none has changed since the last.
    """

    def __init__(self) -> None:
        self._wanted: Mapping[Job, Timing] = {}
        self._moments: Mapping[Job, Moments] = {}
        self._next: dict[Job, _Next] = {}
        self._order: list[tuple[float, Job]] = []

    def in_order(self) -> Iterator[tuple[Job, _Next]]:
        """Yield the jobs by their next fire."""
        return ((job, self._next[job]) for _, job in self._order)

    def update(
        self,
        wanted: Mapping[Job, Timing],
        moments: Mapping[Job, Moments],
        first_fire: Callable[[Timing, float], float],
    ) -> None:
        """Take other mappings; `first_fire` gives the first fire of a timing after a moment."""
        if wanted is not self._wanted:
            changed = {*self._next, *wanted}
        elif moments is not self._moments:
            changed = _changed(self._moments, moments)
        else:
            return
        for job in changed:
            timing, known = wanted.get(job), moments.get(job)
            if timing is None or known is None:
                self._remove(job)
                continue
            before, base = self._next.get(job), known.latest
            if before is None or (before.timing, before.base) != (timing, base):
                self._remove(job)
                self._next[job] = following = _Next(timing, base, first_fire(timing, base))
                insort(self._order, (following.fire, job))
        self._wanted, self._moments = wanted, moments

    def _remove(self, job: Job) -> None:
        if (before := self._next.pop(job, None)) is not None:
            del self._order[bisect_left(self._order, (before.fire, job))]


def _changed(before: Mapping[Job, Moments], now: Mapping[Job, Moments]) -> set[Job]:
    """Return the jobs whose moments are other objects than before, or gone."""
    changed = {job for job, known in now.items() if known is not before.get(job)}
    gone = len(before) + len(changed - before.keys()) - len(now)
    return changed | (before.keys() - now.keys()) if gone else changed


@dataclass
class Scheduler:
    """Finds what is due in a time zone; remembers next fires, so that a second call is cheap."""

    zone: tzinfo
    _order: _FireOrder = field(default_factory=_FireOrder, repr=False)

    def find_due(
        self,
        wanted: Mapping[Job, Timing],
        moments: Mapping[Job, Moments],
        now: float,
        up_since: float,
        catch_up: CatchUp = CatchUp.ONCE,
        in_hand: InHand | None = None,
    ) -> DueList:
        """Return the jobs that are due at `now`, and the fires that no run answers.

        Jobs without moments are not known yet: they are left out. Those that are busy by `in_hand`
        are not due again. `up_since` is when the runner started: with CatchUp.SKIP fires before
        that are missed, unless the timing counts from the last run; otherwise one run answers the
        last of several fires, and the others are missed. The next fire of a job replaces one that
        is tried again. Mappings that are the same objects as in the last call must be unchanged:
        they are not gone through again.
        """
        hand = in_hand or InHand()
        answered_from = up_since if catch_up is CatchUp.SKIP else 0.0
        due, missed, wake = list[DueJob](), list[Missed](), now + LONGEST_SLEEP
        self._order.update(wanted, moments, self._first_fire)
        for job, following in self._order.in_order():
            if job in hand.busy:
                continue
            if following.fire > now:
                wake = min(wake, following.fire)
                break
            answered, lost = self._judge(job, following, now, answered_from)
            due += answered
            missed += lost
        fired = {one.job for one in due}
        for job, retry in hand.retries.items():
            if retry.at is None or job in hand.busy:
                continue
            if job in fired or retry.at < answered_from:
                missed.append(Missed(job, retry.fire, retry.fire, 1))
            elif retry.at <= now:
                due.append(DueJob(job, retry.fire, is_again=True))
            else:
                wake = min(wake, retry.at)
        return DueList(tuple(sorted(due, key=lambda one: one.fire)), tuple(missed), wake)

    def missed_while_waiting(
        self, job: Job, timing: Timing, known: Moments, now: float
    ) -> Missed | None:
        """Return the fires that a run which starts now does not answer: all but the last.

        `find_due` has reported those before the job was due; while it waited for a worker there
        may have been more.
        """
        if timing.every_seconds:
            return None
        return _missed(job, self._fires_until(timing, known.latest, now)[:-1])

    def last_fire(self, timing: Timing, known: Moments, now: float) -> float | None:
        """Return the fire that a run which starts now answers; None: there is none."""
        fires = self._fires_until(timing, known.latest, now)
        return fires[-1] if fires else None

    def next_fires(self, timing: Timing, after: float) -> Iterator[float]:
        """Yield the fires after a moment, in unix seconds, in order; endless, or none."""
        if timing.every_seconds:
            return pause_fires(timing.every_seconds, after)
        return cron_fires(timing.cron, self.zone, after, DstPolicy.OURS)

    def longest_pause(self, timing: Timing, after: float) -> float | None:
        """Return the longest time between two of the next fires, in seconds; None: no fires."""
        fires = list(islice(self.next_fires(timing, after), _FIRES_OF_A_PERIOD))
        return max((later - one for one, later in pairwise(fires)), default=None)

    def _first_fire(self, timing: Timing, base: float) -> float:
        return next(self.next_fires(timing, base), float("inf"))

    def _judge(
        self, job: Job, following: _Next, now: float, answered_from: float
    ) -> tuple[list[DueJob], list[Missed]]:
        """Sort the fires: a run answers the last if it is not too old, the others are missed."""
        timing = following.timing
        fires = self._fires_until(timing, following.base, now)
        is_answered = fires[-1] >= answered_from or timing.from_last_run
        lost = _missed(job, fires[:-1] if is_answered else fires)
        # A timing that counts from the last run has no fires of its own.
        return (
            [DueJob(job, fires[-1])] if is_answered else [],
            [lost] if lost is not None and not timing.every_seconds else [],
        )

    def _fires_until(self, timing: Timing, base: float, now: float) -> list[float]:
        """List the fires up to now; of very many only the first ones and the very last."""
        up_to_now = takewhile(lambda fire: fire <= now, self.next_fires(timing, base))
        taken = list(islice(up_to_now, MOST_COUNTED + 1))
        if len(taken) > MOST_COUNTED:
            taken[-1] = self._last_fire(timing, taken[-1], now)
        return taken

    def _last_fire(self, timing: Timing, known: float, now: float) -> float:
        """Find the last fire up to now, without computing each since the one that is known."""
        for back in (_DAY, 32 * _DAY, now - known):
            later = self.next_fires(timing, max(known, now - back))
            if found := deque(takewhile(lambda fire: fire <= now, later), maxlen=1):
                return found[0]
        return known


def _missed(job: Job, lost: list[float]) -> Missed | None:
    return Missed(job, lost[0], lost[-1], len(lost)) if lost else None
