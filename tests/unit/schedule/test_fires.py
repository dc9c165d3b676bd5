"""Fires of schedules, and what the two policies make of changes of the clocks."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest

from sidecar.backrest.plan import Schedule
from sidecar.schedule.fires import DstPolicy, _moments, backrest_fires, cron_fires

BACKREST, OURS = DstPolicy.BACKREST, DstPolicy.OURS
BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def fires(cron: str, start: datetime, days: int, limit: int = 100) -> list[str]:
    """The fires of `days` days, as text with the offset."""
    found = backrest_fires(Schedule(cron=cron), start, start + days * DAY, limit)
    return [fire.isoformat(timespec="minutes") for fire in found]


def test_fires_are_in_the_zone_of_the_start() -> None:
    """A cron is evaluated on the runner's wall clock and listed in its zone."""
    start = datetime(2025, 6, 15, 12, 0, tzinfo=BERLIN)
    assert fires("0 2 * * *", start, 2) == ["2025-06-16T02:00+02:00", "2025-06-17T02:00+02:00"]


def test_the_start_is_outside_and_the_end_inside() -> None:
    """A fire at the very start has happened; one at the very end still counts."""
    assert fires("0 12 * * *", NOON, 1) == ["2025-06-16T12:00+00:00"]


def test_no_more_than_the_limit_are_listed() -> None:
    """The limit cuts an endless schedule."""
    assert fires("*/30 * * * *", NOON, 400, 2) == [
        "2025-06-15T12:30+00:00",
        "2025-06-15T13:00+00:00",
    ]


def test_a_wall_time_that_the_clocks_skip_does_not_fire() -> None:
    """On the spring day 02:30 does not exist, so Backrest skips that day."""
    start = datetime(2025, 3, 29, 12, tzinfo=BERLIN)
    assert fires("30 2 * * *", start, 2) == ["2025-03-31T02:30+02:00"]


def test_a_wall_time_that_the_clocks_repeat_fires_twice() -> None:
    """In the autumn overlap both half past twos fire, in order of time."""
    start = datetime(2025, 10, 25, 12, tzinfo=BERLIN)
    assert fires("15,45 2 * * *", start, 1) == [
        "2025-10-26T02:15+02:00",
        "2025-10-26T02:45+02:00",
        "2025-10-26T02:15+01:00",
        "2025-10-26T02:45+01:00",
    ]


def test_a_start_between_the_two_halves_of_an_overlap() -> None:
    """Starting after the first 02:30 the second is still to come."""
    start = datetime(2025, 10, 26, 2, 50, tzinfo=BERLIN)
    assert fires("30 2 * * *", start, 1)[0] == "2025-10-26T02:30+01:00"
    assert fires("30 2 * * *", start.replace(fold=1), 2)[0] == "2025-10-27T02:30+01:00"


def test_the_last_fires_of_an_ending_schedule_are_not_lost() -> None:
    """A repeated hour is listed even when no later fire follows it within reach."""
    start = datetime(2025, 10, 26, 0, 30, tzinfo=BERLIN)
    assert fires("30 2 26 10 */7", start, 1) == [
        "2025-10-26T02:30+02:00",
        "2025-10-26T02:30+01:00",
    ]


def test_both_day_fields_are_joined_by_and() -> None:
    """A foreign plan on the first Monday of the month fires on it alone."""
    assert fires("0 3 1-7 * MON", NOON, 60) == ["2025-07-07T03:00+00:00", "2025-08-04T03:00+00:00"]


@pytest.mark.parametrize("cron", ["0 0 31 2 *", "0 0 30 2 1", "60 60 * * *", "nonsense"])
def test_a_cron_that_never_fires_lists_nothing(cron: str) -> None:
    """A day that no month has, and what is no cron, give no fires."""
    assert fires(cron, NOON, 4000) == []


def test_a_cron_that_the_clocks_always_skip_never_fires_in_backrest() -> None:
    """New York skips 02:00 on just the Sundays that it names: the search for one ends."""
    cron, start = "0 2 8-14 3 0", datetime(2025, 1, 1, tzinfo=ZoneInfo("America/New_York"))
    assert fires(cron, start, 100_000) == []
    assert ["03-09T03:00-04:00"] == shown(cron, "America/New_York", "2025-01-01", 100 * 24)


def test_a_pause_is_counted_from_the_start() -> None:
    """Hours since the last run are approximated from the start, across a clock change."""
    start = datetime(2025, 10, 25, 12, tzinfo=BERLIN)
    found = backrest_fires(Schedule(every_hours=12), start, start + DAY, 5)
    assert [fire.isoformat() for fire in found] == [
        "2025-10-26T00:00:00+02:00",
        "2025-10-26T11:00:00+01:00",
    ]


@pytest.mark.parametrize(
    ("schedule", "limit", "count"),
    [
        (Schedule(every_days=2), 9, 5),
        (Schedule(every_days=2), 3, 3),
        (Schedule(every_days=2147483647), 9, 0),
        (Schedule(), 9, 0),
    ],
)
def test_how_many_fires_ten_days_hold(schedule: Schedule, limit: int, count: int) -> None:
    """Any pause up to the largest number is counted; a disabled plan never fires."""
    assert len(backrest_fires(schedule, NOON, NOON + 10 * DAY, limit)) == count


def test_an_end_before_the_start_lists_nothing() -> None:
    """There is no time in which to fire."""
    assert backrest_fires(Schedule(every_hours=1), NOON, NOON - DAY, 9) == []


def shown(
    cron: str, zone: str, start: str, hours: int, policy: DstPolicy = DstPolicy.OURS
) -> list[str]:
    """The fires of some hours after a local time, with their offset."""
    begin = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).timestamp()
    fires = cron_fires(cron, ZoneInfo(zone), begin, policy)
    return [
        datetime.fromtimestamp(fire, ZoneInfo(zone)).isoformat(timespec="minutes")[5:]
        for fire in takewhile(lambda fire: fire <= begin + hours * 3600, fires)
    ]


SPRING = ("Europe/Berlin", "2025-03-30 00:30", 4)
AUTUMN = ("Europe/Berlin", "2025-10-26 00:30", 5)


def test_the_policies_differ_in_what_the_clocks_skip() -> None:
    """Backrest leaves the day out, we fire when the clocks have skipped the time."""
    assert [] == shown("30 2 * * *", *SPRING, BACKREST)
    assert ["03-30T03:00+02:00"] == shown("30 2 * * *", *SPRING, OURS)


def test_the_policies_differ_in_what_the_clocks_repeat() -> None:
    """Backrest fires both times, we the first time."""
    twice = ["10-26T02:30+02:00", "10-26T02:30+01:00"]
    assert twice == shown("30 2 * * *", *AUTUMN, BACKREST)
    assert twice[:1] == shown("30 2 * * *", *AUTUMN, OURS)


@pytest.mark.parametrize("night", [SPRING, AUTUMN])
def test_the_policies_agree_on_what_fires_each_hour(night: tuple[str, str, int]) -> None:
    """It is about the hours that pass."""
    assert shown("30 * * * *", *night, BACKREST) == shown("30 * * * *", *night, OURS)


def test_what_the_clocks_skip_fires_when_they_have_skipped_it() -> None:
    """Once, however many times on the wall were skipped."""
    night = ("Europe/Berlin", "2025-03-30 00:30", 4)
    assert ["03-30T03:00+02:00"] == shown("30 2 * * *", *night)
    three = ["03-30T01:45+01:00", "03-30T03:00+02:00", "03-30T03:45+02:00"]
    assert three == shown("45 1-3 * * *", *night)
    island = ("Australia/Lord_Howe", "2025-10-05 00:30", 3)
    assert ["10-05T02:30+11:00"] == shown("15 2 * * *", *island)


def test_what_the_clocks_repeat_fires_the_first_time() -> None:
    """Once, as on any other day."""
    night = ("Europe/Berlin", "2025-10-26 00:30", 5)
    assert ["10-26T02:30+02:00"] == shown("30 2 * * *", *night)
    island = ("Australia/Lord_Howe", "2025-04-06 00:30", 3)
    assert ["04-06T01:45+11:00"] == shown("45 1 * * *", *island)


def test_a_list_of_times_ends_with_its_last() -> None:
    """Also if that is one which comes twice."""
    wall = datetime(2025, 10, 26, 2, 30)  # noqa: DTZ001 - a time on the wall
    found = _moments(iter([wall]), BERLIN, BACKREST)
    assert [wall.replace(tzinfo=BERLIN, fold=fold).timestamp() for fold in (0, 1)] == list(found)


def test_what_fires_each_hour_goes_by_the_hours_that_pass() -> None:
    """Both of two equal ones, none of those that are skipped."""
    autumn = shown("30 * * * *", "Europe/Berlin", "2025-10-26 01:00", 4)
    assert ["10-26T01:30+02:00", "10-26T02:30+02:00", "10-26T02:30+01:00"] == autumn[:3]
    spring = shown("30 * * * *", "Europe/Berlin", "2025-03-30 01:00", 2)
    assert ["03-30T01:30+01:00", "03-30T03:30+02:00"] == spring
    island = shown("45 * * * *", "Australia/Lord_Howe", "2025-04-06 01:00", 3)
    assert ["04-06T01:45+11:00", "04-06T01:45+10:30", "04-06T02:45+10:30"] == island
