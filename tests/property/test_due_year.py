"""A year of the scheduler in five zones: every fire is run once, or recorded as missed."""

import itertools
import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.backrest.reading import Timing
from sidecar.runner.due import (
    LONGEST_SLEEP,
    CatchUp,
    InHand,
    Job,
    JobKind,
    Missed,
    Moments,
    Scheduler,
)
from sidecar.schedule.fires import DstPolicy, cron_fires
from tests.property.cron_oracle_year import fires_of_a_year

ZONES = ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Asia/Kathmandu")
START = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
END = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
HOUR, DAY = 3_600, 86_400
EACH_MINUTE = ("* * * * *", "*/5 * * * *")
CRONS = (
    *("0 * * * *", "45 * * * *", "15,45 * * * *", "7 */1 * * *", "0 */2 * * *"),
    *("30 2 * * *", "15 2 * * *", "0,30 1-3 * * *", "*/20 2 * * *", "* 2 * * *"),
    *("59 23 * * *", "0 0 * * *", "0 3 * * SUN", "30 1 * * 0", "0 4 1 * *", "0 0 31 * *"),
    *("0 3 1-7 * MON", "30 2 26 10 *", "0 2 8-14 3 0", "5 4 * JAN-MAR MON-FRI", "0 6 */10 * *"),
    "0 12 29 2 *",
)


@cache
def fires_of(cron: str, zone: str) -> list[int]:
    """What the oracle says."""
    return fires_of_a_year(cron, zone, START, END)


@pytest.mark.parametrize("zone", ZONES)
def test_the_fires_of_every_form_are_those_of_the_wall(zone: str) -> None:
    """Through both changes of the clocks, by an oracle that walks through the year."""
    for cron in CRONS:
        assert fires_of(cron, zone) == found(cron, zone, START, END), cron


@pytest.mark.parametrize("month", [3, 4, 10, 11])
@pytest.mark.parametrize("zone", ZONES)
def test_what_fires_every_few_minutes_does_so_while_clocks_are_changed(
    zone: str, month: int
) -> None:
    """In the weeks in which it happens somewhere."""
    for day in (1, 25):
        start = int(datetime(2025, month, day, tzinfo=UTC).timestamp())
        for cron in EACH_MINUTE:
            expected = fires_of_a_year(cron, zone, start, start + 9 * DAY)
            assert expected == found(cron, zone, start, start + 9 * DAY), cron


def found(cron: str, zone: str, start: int, end: int) -> list[int]:
    """What the runner's cron says."""
    fires = cron_fires(cron, ZoneInfo(zone), start - 1, DstPolicy.OURS)
    return [int(fire) for fire in itertools.takewhile(lambda fire: fire < end, fires)]


@settings(max_examples=100)
@given(zone=st.sampled_from(ZONES), cron=st.sampled_from(CRONS), at=st.integers(START, END - 1))
def test_the_next_fire_is_the_same_wherever_one_begins(zone: str, cron: str, at: int) -> None:
    """Also in the middle of an hour that comes twice, or between two seconds."""
    later = [fire for fire in fires_of(cron, zone) if fire > at]
    for moment in (at, at + 0.5):
        following = next(cron_fires(cron, ZoneInfo(zone), moment, DstPolicy.OURS))
        assert following == later[0] if later else following >= END


@dataclass
class Year:
    """A runner whose time is the story's: it dies, it is busy, its work has to wait."""

    zone: str
    wanted: dict[Job, Timing]
    catch_up: CatchUp
    chance: random.Random
    moments: dict[Job, Moments] = field(default_factory=dict)
    starts: dict[Job, list[float]] = field(default_factory=lambda: defaultdict(list))
    missed: dict[Job, list[Missed]] = field(default_factory=lambda: defaultdict(list))
    waiting: dict[Job, float] = field(default_factory=dict)
    running: dict[Job, float] = field(default_factory=dict)

    def live(self, since: float, until: float) -> None:
        """Run the process for a while; what waits or runs when it dies is gone."""
        scheduler = Scheduler(ZoneInfo(self.zone))
        for job in self.wanted:
            self.moments.setdefault(job, Moments(first_seen=since))
        now = since
        while now < until:
            self._begin_and_end(scheduler, now)
            self._look(scheduler, now, since)
            now = min(self._next(now), until)
        self.waiting.clear()
        self.running.clear()

    def _look(self, scheduler: Scheduler, now: float, since: float) -> None:
        busy = self.waiting.keys() | self.running.keys()
        hand, moments = InHand(busy), dict(self.moments)
        found = scheduler.find_due(self.wanted, moments, now, since, self.catch_up, hand)
        assert now < found.next_wake <= now + LONGEST_SLEEP
        for missed in found.missed:
            self._miss(missed)
        for due in found.due:
            assert due.fire <= now
            self.waiting[due.job] = now + self.chance.choice((0, 0, 0, 40, 2 * HOUR, 30 * HOUR))

    def _begin_and_end(self, scheduler: Scheduler, now: float) -> None:
        for job in [job for job, end in self.running.items() if end <= now]:
            del self.running[job]
        for job in [job for job, start in self.waiting.items() if start <= now]:
            del self.waiting[job]
            lost = scheduler.missed_while_waiting(job, self.wanted[job], self.moments[job], now)
            if lost is not None:
                self._miss(lost)
            self.moments[job] = replace(self.moments[job], last_start=now)
            self.starts[job].append(now)
            self.running[job] = now + self.chance.choice((1, 60, 600, 3 * HOUR, 2 * DAY))

    def _miss(self, missed: Missed) -> None:
        self.missed[missed.job].append(missed)
        self.moments[missed.job] = replace(self.moments[missed.job], last_missed=missed.last)

    def _next(self, now: float) -> float:
        """Leave out the looks of minutes in which nothing can come."""
        fires = [self._fire_after(job, timing, now) for job, timing in self.wanted.items()]
        coming = [*fires, *self.waiting.values(), *self.running.values()]
        late = self.chance.choice((0.0, 0.25, LONGEST_SLEEP - 1))
        return min((at for at in coming if at > now), default=END) + late

    def _fire_after(self, job: Job, timing: Timing, now: float) -> float:
        if timing.cron:
            fires = fires_of(timing.cron, self.zone)
            return next(iter(fires[(at := bisect_right(fires, now)) : at + 1]), END)
        known = self.moments[job]
        base = max(known.first_seen, known.last_start or 0.0)
        return base + ((now - base) // timing.every_seconds + 1) * timing.every_seconds

    def told(self, job: Job) -> Iterator[float]:
        """Give each fire that a run answered or that was recorded as missed, as often as it was."""
        fires = fires_of(self.wanted[job].cron, self.zone)
        for start in self.starts[job]:
            yield fires[bisect_right(fires, start) - 1]
        for missed in self.missed[job]:
            one = fires[fires.index(int(missed.first)) : fires.index(int(missed.last)) + 1]
            assert len(one) == missed.count
            yield from one


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=5)
@given(
    chosen=st.lists(st.sampled_from(CRONS), min_size=2, max_size=5, unique=True),
    hours=st.sampled_from((1, 5, 24, 72)),
    catch_up=st.sampled_from(CatchUp),
    downs=st.lists(
        st.tuples(st.integers(0, 364 * DAY), st.sampled_from((5, 300, 2 * HOUR, 9 * DAY))),
        max_size=12,
    ),
    seed=st.integers(0, 2**32),
)
def test_every_fire_of_a_year_is_run_once_or_recorded_as_missed(
    zone: str,
    chosen: list[str],
    hours: int,
    catch_up: CatchUp,
    downs: list[tuple[int, int]],
    seed: int,
) -> None:
    """With restarts at any moment, downtimes, runs that last for days and work that waits."""
    wanted = {Job(JobKind.BACKUP, cron, "repo"): Timing(cron) for cron in chosen}
    paced = Job(JobKind.PRUNE, "repo", "repo")
    every = {**wanted, paced: Timing(every_seconds=hours * HOUR)}
    year = Year(zone, every, catch_up, random.Random(seed))  # noqa: S311 - a story, no secret
    since = first = START + 1000.5
    for at, length in sorted(downs):
        year.live(since, max(since, START + at))
        since = max(since, START + at) + length
    # At the end it is up, long enough for all that waited and ran.
    year.live(since, END - 1)
    for job in wanted:
        told = sorted(year.told(job))
        expected = [fire for fire in fires_of(job.subject, zone) if fire > first]
        assert expected[: len(told)] == told
        # What is not told yet is due, in a queue behind a run, at the end of the year.
        assert all(fire > END - 5 * DAY for fire in expected[len(told) :])
    _check_pauses(year.starts[paced], hours * HOUR)


def _check_pauses(starts: list[float], every: int) -> None:
    """Between two runs there is at least the pause."""
    assert starts
    assert all(later - earlier >= every for earlier, later in itertools.pairwise(starts))


@pytest.mark.parametrize("zone", ZONES)
def test_a_look_each_minute_finds_the_same_as_a_look_at_each_fire(zone: str) -> None:
    """Through the four weeks in which clocks are changed, with nothing left out."""
    job = Job(JobKind.BACKUP, "plan", "repo")
    for month, cron in itertools.product(
        (3, 4, 10, 11), ("30 2 * * *", "20 * * * *", "15 1,2 * * *")
    ):
        now = float(datetime(2025, month, 1, tzinfo=UTC).timestamp())
        end = now + 10 * DAY
        moments = Moments(first_seen=now)
        scheduler, ran = Scheduler(ZoneInfo(zone)), []
        while now < end:
            found = scheduler.find_due({job: Timing(cron)}, {job: moments}, now, START)
            for due in found.due:
                ran.append(due.fire)
                moments = replace(moments, last_start=now)
            now = found.next_wake
            assert not found.missed
        assert ran == [f for f in fires_of(cron, zone) if moments.first_seen < f < end]
