"""Schedules and retentions in words for people, as `every day at 02:09` and `7 daily, 4 weekly`."""

import re
from typing import NamedTuple

from sidecar.backrest.plan import Retention, Schedule
from sidecar.schedule.parse import is_portable_cron

_EVERY = re.compile(r"(?:\*|([0-9]+)-([0-9]+))/([0-9]+)")
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def describe_schedule(schedule: Schedule) -> str:
    """Return in plain words when a schedule fires; what is unusual as `cron "0 3 1-7 * *"`."""
    if schedule.cron:
        return _describe_cron(schedule.cron)
    if schedule.every_hours:
        return f"every {_plural(schedule.every_hours, 'hour')} after the last run"
    if schedule.every_days:
        return f"every {_plural(schedule.every_days, 'day')} after the last run"
    return "never"


def describe_retention(retention: Retention) -> str:
    """Return in plain words what is kept, from the shortest time to the longest."""
    if retention.keep_all:
        return "all snapshots"
    buckets = ("hourly", "daily", "weekly", "monthly", "yearly")
    kept = [f"the last {retention.last}"] if retention.last else []
    kept += [f"{count} {name}" for name in buckets if (count := getattr(retention, name))]
    return ", ".join(kept)


def _plural(count: int, unit: str) -> str:
    return unit if count == 1 else f"{count} {unit}s"


def _describe_cron(cron: str) -> str:
    minute, hour, *days = cron.split() if is_portable_cron(cron) else ("", "", "", "", "")
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
    """Values at equal distances: the first, and how far apart they are."""

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
