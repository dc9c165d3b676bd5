"""Which moments a cron means to the runner, whatever the clocks do.

When a schedule fires next, and schedules and retentions in words.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby, islice, takewhile
from operator import itemgetter
from typing import Any, NamedTuple

from cronsim import CronSim, CronSimError

from sidecar.backrest.cron import canonical_cron
from sidecar.backrest.jsontext import parse_integer
from sidecar.backrest.plan import Retention, Schedule
from sidecar.schedule.parse import check_cron

_MINUTE = timedelta(minutes=1)


def cron_fires(cron: str, zone: tzinfo, after: float) -> Iterator[float]:
    """List the fires of a cron that Backrest accepts, in unix seconds: endless, or none.

    Each time on the wall counts once: of two that are the same the first. What the clocks
    skip fires when they have skipped it. Only a cron of every hour, which is about the hours
    that pass, fires in both of two equal ones and in none that is skipped.
    """
    plain, after = canonical_cron(cron), float(after)
    is_hourly = plain.split()[1] == "*"
    wall = datetime.fromtimestamp(after, UTC).astimezone(zone).replace(tzinfo=None)
    first, second = _moments(wall, zone)
    # What has been on the wall may come once more, for as long as the clocks are set back.
    back = timedelta(seconds=max(0.0, second - first)) if is_hourly else timedelta()
    try:
        simulator = CronSim(plain, wall - back)
    except CronSimError:
        return iter(())
    # Backrest joins the day fields by AND whatever they look like.
    simulator.day_and = True
    fires = groupby(_instants(simulator, zone, is_hourly=is_hourly))
    return filter(after.__lt__, map(itemgetter(0), fires))


def _instants(walls: Iterator[datetime], zone: tzinfo, *, is_hourly: bool) -> Iterator[float]:
    """Map times on the wall to moments, in order; some come twice."""
    repeated: deque[float] = deque()
    for wall in walls:
        first, second = _moments(wall, zone)
        while repeated and repeated[0] <= first:
            yield repeated.popleft()
        if first <= second:
            yield first
        elif not is_hourly:
            yield _end_of_gap(wall, zone)
        if is_hourly and first < second:
            repeated.append(second)
    yield from repeated


def _moments(wall: datetime, zone: tzinfo) -> tuple[float, float]:
    """Return when the wall shows this: the second is later if twice, earlier if never."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return first, second


def _end_of_gap(wall: datetime, zone: tzinfo) -> float:
    """Find the moment at which the clocks have skipped a time on the wall."""
    first, second = _moments(wall, zone)
    while second < first:
        wall += _MINUTE
        first, second = _moments(wall, zone)
    return first


_HOUR = 3600
# No zone ever set its clocks back by more.
_LONGEST_OVERLAP = timedelta(days=1)
_EVERY = re.compile(r"(?:\*|([0-9]+)-([0-9]+))/([0-9]+)")
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_MEMBERS = ("disabled", "cron", "maxFrequencyHours", "maxFrequencyDays")


def schedule_of(raw: Mapping[str, Any]) -> Schedule | None:
    """Read a document's schedule object.

    An empty object never runs and gives `Schedule()`. None: it cannot be read, or
    its cron means to Backrest something that `next_fires` could not tell.
    """
    found = [(name, raw[name]) for name in _MEMBERS if raw.get(name) is not None]
    if not found:
        return Schedule()
    return _read_member(*found[0]) if len(found) == 1 else None


def _read_member(name: str, value: Any) -> Schedule | None:
    if name == "disabled":
        return Schedule() if value is True else None
    if name == "cron":
        known = isinstance(value, str) and check_cron(value)
        return Schedule(cron=value) if known else None
    count = None if isinstance(value, bool) else parse_integer(str(value), 32)
    if count is None or count < 1:
        return None
    hourly = name == "maxFrequencyHours"
    return Schedule(every_hours=count) if hourly else Schedule(every_days=count)


def next_fires(schedule: Schedule, start: datetime, until: datetime, limit: int) -> list[datetime]:
    """List at most `limit` fires after `start` up to and with `until`, in order.

    `start` and `until` are aware; the zone of `start` is the runner's, and the
    fires are in it. As in Backrest's cron, a wall time that the clocks skip does
    not fire and one that they repeat fires twice. A schedule that counts from the
    last run is approximated as if a run of no length had ended at `start`. Where
    the clocks change at midnight or by half an hour, Backrest may miss some fires
    of that day and of the next that are listed here.
    """
    end = until.astimezone(UTC)
    fires = _cron_fires(schedule.cron, start) if schedule.cron else _paced(schedule, start, end)
    within = takewhile(lambda fire: fire <= end, fires)
    return [fire.astimezone(start.tzinfo) for fire in islice(within, limit)]


def _paced(schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """The fires, in UTC, of a schedule that counts hours or days; none if disabled."""
    pause = (schedule.every_hours + 24 * schedule.every_days) * _HOUR
    first = start.astimezone(UTC)
    seconds = int((end - first).total_seconds())
    # Stepping in whole seconds up to the end keeps any pause within datetime's range.
    steps = range(pause, seconds + 1, pause) if pause else range(0)
    return (first + timedelta(seconds=step) for step in steps)


def _cron_fires(cron: str, start: datetime) -> Iterator[datetime]:
    """The fires, in UTC and in order, of a cron after `start`: endless, or none at all."""
    after = start.astimezone(UTC)
    try:
        simulator = CronSim(cron, start.replace(tzinfo=None) - _LONGEST_OVERLAP)
    except CronSimError:
        return iter(())
    # Backrest joins the day fields by AND whatever they look like.
    simulator.day_and = True
    return (fire for fire in _backrest_instants(simulator, start.tzinfo) if fire > after)


def _backrest_instants(walls: Iterator[datetime], zone: tzinfo | None) -> Iterator[datetime]:
    """Map wall times to instants in UTC: none in a gap, two in an overlap."""
    repeated: deque[datetime] = deque()
    for wall in walls:
        first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first.astimezone(zone).replace(tzinfo=None) != wall:
            continue
        while repeated and repeated[0] < first:
            yield repeated.popleft()
        yield first
        if second != first:
            repeated.append(second)
    yield from repeated


def describe_schedule(schedule: Schedule) -> str:
    """Say in plain words when a schedule fires, as `every day at 02:09`."""
    if schedule.cron:
        return _describe_cron(schedule.cron)
    if schedule.every_hours:
        return f"every {_plural(schedule.every_hours, 'hour')} after the last run"
    if schedule.every_days:
        return f"every {_plural(schedule.every_days, 'day')} after the last run"
    return "never"


def _plural(count: int, unit: str) -> str:
    return unit if count == 1 else f"{count} {unit}s"


def _describe_cron(cron: str) -> str:
    minute, hour, *days = cron.split() if check_cron(cron) else ("", "", "", "", "")
    when, on = _describe_time(minute, hour), _describe_days(*days)
    if not when or not on:
        return f'cron "{cron}"'
    if when.startswith("at"):
        return f"{on} {when}"
    return when if on == "every day" else f"{when}, {on}"


def _describe_time(minute: str, hour: str) -> str:
    if hour == "*" and (minutes := _steps(minute, 60)):
        start = f" from minute {minutes.first}" if minutes.first else ""
        return f"every {_plural(minutes.width, 'minute')}{start}"
    if not minute.isdecimal():
        return ""
    if hours := _steps(hour, 24):
        past = f" at minute {int(minute)}" if int(minute) else ""
        start = f" from {hours.first:02}:{int(minute):02}" if hours.first else past
        return f"every {_plural(hours.width, 'hour')}{start}"
    times = hour.split(",")
    if not all(item.isdecimal() for item in times):
        return ""
    return "at " + _listed([f"{item:02}:{int(minute):02}" for item in sorted(map(int, times))])


class _Steps(NamedTuple):
    """The values of a field that lie evenly: the first, and how far apart."""

    first: int
    width: int


def _steps(text: str, whole: int) -> _Steps | None:
    """Read a star, or steps that divide the field evenly: `*/15`, `7-59/15`."""
    match = _EVERY.fullmatch("*/1" if text == "*" else text)
    if match is None or (match[1] and int(match[2]) != whole - 1):
        return None
    steps = _Steps(int(match[1] or 0), int(match[3]))
    return steps if steps.first < steps.width < whole and whole % steps.width == 0 else None


def _describe_days(day: str, month: str, weekday: str) -> str:
    if (month, weekday) == ("*", "*"):
        return "every day" if day == "*" else _describe_dates(day)
    if (day, month) == ("*", "*"):
        return _describe_weekdays(weekday)
    if weekday == "*" and day.isdecimal() and month.isdecimal():
        return f"every {int(day)} {_MONTHS[int(month) - 1]}"
    return ""


def _describe_dates(day: str) -> str:
    days = day.split(",")
    if not all(item.isdecimal() for item in days):
        return ""
    noun = "day" if len(days) == 1 else "days"
    return f"on {noun} {_listed([str(int(item)) for item in days])} of the month"


def _describe_weekdays(weekday: str) -> str:
    spans = [item.split("-") for item in weekday.split(",")]
    if not all(_weekday_name(end) for span in spans for end in span):
        return ""
    return _listed([" to ".join(_weekday_name(end) for end in span) for span in spans])


def _weekday_name(text: str) -> str:
    """Return `Mondays` for 1 or MON, nothing for what is no lone weekday."""
    if text.isdecimal():
        return f"{_WEEKDAYS[int(text)]}s"
    return next((f"{name}s" for name in _WEEKDAYS if name[:3].upper() == text.upper()), "")


def _listed(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else items[0]


def describe_retention(retention: Retention) -> str:
    """Say in plain words what is kept, as `7 daily, 4 weekly`."""
    if retention.keep_all:
        return "all snapshots"
    buckets = ("hourly", "daily", "weekly", "monthly", "yearly")
    kept = [f"the last {retention.last}"] if retention.last else []
    kept += [f"{count} {name}" for name in buckets if (count := getattr(retention, name))]
    return ", ".join(kept)
