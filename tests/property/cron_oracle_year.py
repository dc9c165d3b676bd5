"""What a cron means in a year, by walking through it: another way than the code's.

Offsets of a zone are found by looking every quarter of an hour, and each minute of each
stretch of one offset is matched against the fields.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

NAMES = {
    "month": ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    "weekday": ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
}
MINUTE = timedelta(minutes=1)
QUARTER = 900


@dataclass(frozen=True)
class Stretch:
    """A time without a change of the clocks: from, to (unix seconds), the offset in seconds."""

    start: int
    end: int
    offset: int

    def wall(self, moment: int) -> datetime:
        """Return what the wall shows."""
        return datetime.fromtimestamp(moment + self.offset, UTC).replace(tzinfo=None)


@cache
def stretches(zone: str, start: int, end: int) -> tuple[Stretch, ...]:
    """Cut a time at each change of the clocks."""

    def offset(moment: int) -> int:
        delta = datetime.fromtimestamp(moment, ZoneInfo(zone)).utcoffset()
        assert delta is not None
        return int(delta.total_seconds())

    found = [
        (value, [moment for _, moment in group])
        for value, group in itertools.groupby(
            ((offset(moment), moment) for moment in range(start, end, QUARTER)),
            lambda pair: pair[0],
        )
    ]
    return tuple(Stretch(moments[0], moments[-1] + QUARTER, value) for value, moments in found)


def values(text: str, low: int, high: int, names: list[str], first: int) -> set[int]:
    """Read a field."""
    found = set[int]()
    for part in text.split(","):
        bounds, _, step = part.partition("/")
        for number, name in enumerate(names, first):
            bounds = bounds.replace(name, str(number))
        begin, dash, end = bounds.partition("-")
        if begin == "*":
            found |= set(range(low, high + 1, int(step or 1)))
        elif dash or step:
            found |= set(range(int(begin), int(end or high) + 1, int(step or 1)))
        else:
            found.add(int(begin))
    return found


def walls(cron: str, stretch_start: datetime, stretch_end: datetime) -> Iterator[datetime]:
    """Walk through the times on the wall that match."""
    minute, hour, day, month, weekday = cron.split()
    minutes, hours = values(minute, 0, 59, [], 0), values(hour, 0, 23, [], 0)
    days = values(day, 1, 31, [], 0)
    months = values(month, 1, 12, NAMES["month"], 1)
    weekdays = values(weekday, 0, 6, NAMES["weekday"], 0)
    date = stretch_start.date()
    while date <= stretch_end.date():
        if date.day in days and date.month in months and date.isoweekday() % 7 in weekdays:
            for at, past in itertools.product(sorted(hours), sorted(minutes)):
                wall = datetime(date.year, date.month, date.day, at, past)  # noqa: DTZ001 - a wall
                if stretch_start <= wall < stretch_end:
                    yield wall
        date += timedelta(days=1)


def fires_of_a_year(cron: str, zone: str, start: int, end: int) -> list[int]:
    """List the fires: each wall once; with every hour in it, every moment that passes."""
    is_hourly = values(cron.split()[1], 0, 23, [], 0) >= set(range(24))
    fires = set[int]()
    shown: datetime | None = None
    for stretch in stretches(zone, start, end):
        begin, finish = stretch.wall(stretch.start), stretch.wall(stretch.end)
        if shown is not None and not is_hourly:
            if any(walls(cron, shown, begin)):
                fires.add(stretch.start)
            begin = max(begin, shown)
        epoch = stretch.wall(stretch.start)
        fires |= {
            stretch.start + int((wall - epoch).total_seconds())
            for wall in walls(cron, begin, finish)
        }
        shown = finish
    return sorted(fires)
