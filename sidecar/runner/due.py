"""Find the jobs that are due: timings × recorded runs × now. Pure: the caller gives the time.

There are no timers. A job is due if a fire of its cron lies after its last recorded start and
not after now; restarts, reloads, clock jumps and missed runs are this one comparison. Moments
that lie ahead, because the clock was wrong, are pulled back by `Journal.pull_back` before.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import StrEnum
from itertools import islice, pairwise, takewhile
from typing import NamedTuple

from sidecar.backrest.reading import Config, RunPlan, Timing
from sidecar.schedule.fires import runner_fires

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


class CatchUp(StrEnum):
    """What to do about fires that came while the runner was down."""

    ONCE = "once"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job that is due since `fire`, in unix seconds."""

    job: Job
    fire: float


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


def backup_job(plan: RunPlan) -> Job:
    """Return the backup of a plan as a job."""
    return Job(JobKind.BACKUP, plan.id, plan.repo)


@dataclass(slots=True)
class _Found:
    """What was found so far at `now`."""

    now: float
    answered_from: float
    wake: float
    due: list[DueJob] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)


class _Next(NamedTuple):
    """The first fire of a timing after a base."""

    timing: Timing
    base: float
    fire: float


@dataclass
class Scheduler:
    """Finds what is due in a time zone; remembers next fires, so that a second call is cheap."""

    zone: tzinfo
    _next: dict[Job, _Next] = field(default_factory=dict, repr=False)

    def find_due(
        self,
        wanted: Mapping[Job, Timing],
        moments: Mapping[Job, Moments],
        now: float,
        up_since: float,
        catch_up: CatchUp = CatchUp.ONCE,
        busy: Collection[Job] = (),
    ) -> DueList:
        """Return the jobs that are due at `now`, and the fires that no run answers.

        Jobs without moments are not known yet: they are left out. Those that are `busy` are not
        due again. `up_since` is when the runner started: with CatchUp.SKIP fires before that
        are missed, unless the timing counts from the last run; otherwise one run answers the
        last of several fires, and the others are missed.
        """
        answered_from = up_since if catch_up is CatchUp.SKIP else 0.0
        found = _Found(now, answered_from, now + LONGEST_SLEEP)
        used: dict[Job, _Next] = {}
        for job, timing in wanted.items():
            if job in busy or (known := moments.get(job)) is None:
                continue
            used[job] = following = self._following(job, timing, known.latest)
            if following.fire > now:
                found.wake = min(found.wake, following.fire)
            else:
                self._judge(job, following, found)
        self._next = used
        found.due.sort(key=lambda one: one.fire)
        return DueList(tuple(found.due), tuple(found.missed), found.wake)

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

    def next_fires(self, timing: Timing, after: float) -> Iterator[float]:
        """Yield the fires after a moment, in unix seconds, in order; endless, or none."""
        if timing.every_seconds:
            return _paced(timing.every_seconds, after)
        return runner_fires(timing.cron, self.zone, after)

    def longest_pause(self, timing: Timing, after: float) -> float | None:
        """Return the longest time between two of the next fires, in seconds; None: no fires."""
        fires = list(islice(self.next_fires(timing, after), _FIRES_OF_A_PERIOD))
        return max((later - one for one, later in pairwise(fires)), default=None)

    def _following(self, job: Job, timing: Timing, base: float) -> _Next:
        known = self._next.get(job)
        if known is not None and known.base == base and known.timing == timing:
            return known
        return _Next(timing, base, next(self.next_fires(timing, base), float("inf")))

    def _judge(self, job: Job, following: _Next, found: _Found) -> None:
        """Sort the fires: a run answers the last if it is not too old, the others are missed."""
        timing = following.timing
        fires = self._fires_until(timing, following.base, found.now)
        last = fires[-1]
        if is_answered := last >= found.answered_from or timing.from_last_run:
            found.due.append(DueJob(job, last))
        lost = _missed(job, fires[:-1] if is_answered else fires)
        # A timing that counts from the last run has no fires of its own.
        if lost is not None and not timing.every_seconds:
            found.missed.append(lost)

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


def _paced(every: int, after: float) -> Iterator[float]:
    fire = after + every
    while True:
        yield fire
        fire += every
