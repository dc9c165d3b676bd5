"""Fires as Backrest has them; those of the runner are in `tests/unit/runner/test_due.py`."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sidecar.backrest.plan import Schedule
from sidecar.schedule.fires import backrest_fires

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


@pytest.mark.parametrize("cron", ["0 0 31 2 *", "0 0 30 2 1", "nonsense"])
def test_a_cron_that_never_fires_lists_nothing(cron: str) -> None:
    """A day that no month has, and what is no cron, give no fires."""
    assert fires(cron, NOON, 4000) == []


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
