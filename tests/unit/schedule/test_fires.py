"""Next fires and plain words."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sidecar.backrest.jsontext import Numeral
from sidecar.backrest.plan import Retention, Schedule
from sidecar.schedule.fires import describe_retention, describe_schedule, next_fires, schedule_of

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def fires(cron: str, start: datetime, days: int, limit: int = 100) -> list[str]:
    """The fires of `days` days, as text with the offset."""
    found = next_fires(Schedule(cron=cron), start, start + days * DAY, limit)
    return [fire.isoformat(timespec="minutes") for fire in found]


def test_fires_are_in_the_zone_of_the_start() -> None:
    """A cron is evaluated on the runner's wall clock and told in its zone."""
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
    """A repeated hour is told even when no later fire follows it within reach."""
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
    found = next_fires(Schedule(every_hours=12), start, start + DAY, 5)
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
    assert len(next_fires(schedule, NOON, NOON + 10 * DAY, limit)) == count


def test_an_end_before_the_start_lists_nothing() -> None:
    """There is no time in which to fire."""
    assert next_fires(Schedule(every_hours=1), NOON, NOON - DAY, 9) == []


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, Schedule()),
        ({"clock": "CLOCK_LOCAL"}, Schedule()),
        ({"disabled": True}, Schedule()),
        ({"cron": None}, Schedule()),
        ({"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"}, Schedule(cron="0 2 * * *")),
        ({"cron": "0 0 1-7 * MON"}, Schedule(cron="0 0 1-7 * MON")),
        ({"maxFrequencyHours": Numeral("6")}, Schedule(every_hours=6)),
        ({"maxFrequencyHours": Numeral("6.0")}, Schedule(every_hours=6)),
        ({"maxFrequencyDays": "2"}, Schedule(every_days=2)),
        ({"maxFrequencyDays": Numeral("1e1")}, Schedule(every_days=10)),
        ({"maxFrequencyDays": 3, "cron": None}, Schedule(every_days=3)),
        ({"disabled": False}, None),
        ({"cron": ""}, None),
        ({"cron": 5}, None),
        ({"cron": "0 0-24 * * *"}, None),
        ({"cron": "0 2 * * *", "maxFrequencyHours": Numeral("6")}, None),
        ({"maxFrequencyHours": Numeral("6"), "maxFrequencyDays": Numeral("6")}, None),
        ({"maxFrequencyHours": Numeral("0")}, None),
        ({"maxFrequencyHours": Numeral("-1")}, None),
        ({"maxFrequencyHours": Numeral("3.5")}, None),
        ({"maxFrequencyHours": Numeral("2147483648")}, None),
        ({"maxFrequencyHours": Numeral("1e999")}, None),
        ({"maxFrequencyHours": True}, None),
        ({"maxFrequencyHours": {}}, None),
    ],
)
def test_a_schedule_of_the_document_is_read(
    raw: Mapping[str, Any], expected: Schedule | None
) -> None:
    """Both spellings and every spelling of a number are read; the rest is unknown."""
    assert schedule_of(raw) == expected


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Schedule(), "never"),
        (Schedule(every_hours=1), "every hour after the last run"),
        (Schedule(every_hours=6), "every 6 hours after the last run"),
        (Schedule(every_days=1), "every day after the last run"),
        (Schedule(every_days=2), "every 2 days after the last run"),
        (Schedule(cron="9 2 * * *"), "every day at 02:09"),
        (Schedule(cron="0 14,2 * * *"), "every day at 02:00 and 14:00"),
        (Schedule(cron="0 * * * *"), "every hour"),
        (Schedule(cron="9 * * * *"), "every hour at minute 9"),
        (Schedule(cron="0 */6 * * *"), "every 6 hours"),
        (Schedule(cron="9 */6 * * 1"), "every 6 hours at minute 9, Mondays"),
        (Schedule(cron="* * * * *"), "every minute"),
        (Schedule(cron="*/15 * * * *"), "every 15 minutes"),
        (Schedule(cron="8-59/30 * * * *"), "every 30 minutes from minute 8"),
        (Schedule(cron="0-59/30 * * * *"), "every 30 minutes"),
        (Schedule(cron="9 5-23/6 * * *"), "every 6 hours from 05:09"),
        (Schedule(cron="9 6-23/6 * * *"), 'cron "9 6-23/6 * * *"'),
        (Schedule(cron="9 0-12/6 * * *"), 'cron "9 0-12/6 * * *"'),
        (Schedule(cron="*/7 * * * *"), 'cron "*/7 * * * *"'),
        (Schedule(cron="0 */5 * * *"), 'cron "0 */5 * * *"'),
        (Schedule(cron="0 2-4 * * *"), 'cron "0 2-4 * * *"'),
        (Schedule(cron="0,30 2 * * *"), 'cron "0,30 2 * * *"'),
        (Schedule(cron="10 3 * * 1"), "Mondays at 03:10"),
        (Schedule(cron="10 3 * * mon-FRI"), "Mondays to Fridays at 03:10"),
        (Schedule(cron="10 3 * * 0,3,SAT"), "Sundays, Wednesdays and Saturdays at 03:10"),
        (Schedule(cron="10 3 * * */2"), 'cron "10 3 * * */2"'),
        (Schedule(cron="0 3 1 * *"), "on day 1 of the month at 03:00"),
        (Schedule(cron="0 3 1,15 * *"), "on days 1 and 15 of the month at 03:00"),
        (Schedule(cron="0 3 1-7 * *"), 'cron "0 3 1-7 * *"'),
        (Schedule(cron="0 3 1-7 * 1"), 'cron "0 3 1-7 * 1"'),
        (Schedule(cron="0 0 1 1 *"), "every 1 January at 00:00"),
        (Schedule(cron="0 0 1 JAN *"), 'cron "0 0 1 JAN *"'),
        (Schedule(cron="0 0 * * 7"), 'cron "0 0 * * 7"'),
        (Schedule(cron="nonsense"), 'cron "nonsense"'),
    ],
)
def test_a_schedule_in_words(schedule: Schedule, words: str) -> None:
    """Usual schedules read as a person would say them, others as cron."""
    assert describe_schedule(schedule) == words


@pytest.mark.parametrize(
    ("retention", "words"),
    [
        (Retention(keep_all=True), "all snapshots"),
        (Retention(daily=7, weekly=4), "7 daily, 4 weekly"),
        (Retention(last=3), "the last 3"),
        (
            Retention(last=1, hourly=2, monthly=3, yearly=4),
            "the last 1, 2 hourly, 3 monthly, 4 yearly",
        ),
    ],
)
def test_a_retention_in_words(retention: Retention, words: str) -> None:
    """Counts are told from the shortest bucket to the longest."""
    assert describe_retention(retention) == words
