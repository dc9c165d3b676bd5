"""What a schedule label that cannot be read probably meant, for the hint: `02:00` → `0 2 * * *`."""

import re

_WORDS = ("hourly", "daily", "midnight", "weekly", "monthly", "yearly", "annually")
_PAUSE = re.compile(
    r"@?(?:every\s*)?([1-9][0-9]{0,3})?\s*"
    r"(m|min|mins|minutes?|h|hrs?|hours?|d|days?|w|wks?|weeks?)"
)
_CLOCK = re.compile(
    r"(?:daily\s+|every\s+day\s+|every\s+night\s+)?(?:at\s+)?"
    r"([0-9]{1,2})(?::([0-9]{2}))?(?::00)?\s*(am|pm)?"
)
_DAYS = re.compile(
    r"(?:every\s+)?(mon|tue|wed|thu|fri|sat|sun)(?:(?:s|nes|rs|ur)?days?)?(?:\s+(.+))?"
)
_PHRASES = (
    ("nightly", "@daily"),
    ("every night", "@daily"),
    ("once a day", "@daily"),
    ("twice a day", "every 12h"),
    ("every month", "@monthly"),
    ("every year", "@yearly"),
    ("noon", "0 12 * * *"),
)
_WEEK = 7
_NOON = 12


def suggest_schedule(text: str) -> str:
    """Return the schedule that is probably meant, or the empty string."""
    words = " ".join(text.lower().split())
    if words in _WORDS:
        return f"@{words}"
    if meant := next((schedule for phrase, schedule in _PHRASES if phrase == words), ""):
        return meant
    if pause := _PAUSE.fullmatch(words):
        return _pause(int(pause[1] or 1), pause[2])
    clock = _CLOCK.fullmatch(words)
    if clock and (clock[2] or clock[3]):
        return _time_of_day(int(clock[1]), int(clock[2] or 0), clock[3] or "")
    day = _DAYS.fullmatch(words)
    return _day_of_week(day[1].upper(), day[2] or "") if day else ""


def _day_of_week(day: str, time: str) -> str:
    """Return a weekly schedule; without a time of day at two, as our other examples."""
    daily = suggest_schedule(time) if time else "0 2 * * *"
    return f"{daily.removesuffix('*')}{day}" if daily.endswith(" * * *") else ""


def _pause(count: int, unit: str) -> str:
    if unit.startswith("m"):
        if count % 60 == 0:
            return f"every {count // 60}h"
        return f"*/{count} * * * *" if 60 % count == 0 else ""
    if unit.startswith("h"):
        return f"every {count}h"
    return f"every {count * (_WEEK if unit.startswith('w') else 1)}d"


def _time_of_day(hour: int, minute: int, half: str) -> str:
    if half:
        if not 1 <= hour <= _NOON:
            return ""
        hour = hour % _NOON + (_NOON if half == "pm" else 0)
    return f"{minute} {hour} * * *" if hour < 2 * _NOON and minute < 60 else ""
