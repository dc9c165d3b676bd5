"""Find the cron expressions that stop Backrest from starting: its own dialect, no other.

A foreign plan may hold forms that our labels refuse (`MON/2`, `0-24`, both day
fields set). Here only what Backrest itself refuses counts: what it cannot parse,
what never fires, and the steps on which it hangs or crashes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

# Backrest marks values as the bits of 64; greater ones are read and match nothing.
_BITS: Final = 64
# From here on Backrest counts for seconds up to for ever, or overflows.
_TOO_LARGE: Final = 1 << 30
_BLANKS: Final = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_WHOLE: Final = re.compile(r"[+-]?[0-9]+\Z")
_WEEKDAYS: Final = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}
_MONTH_NAMES: Final = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES.split(), 1)}
_MONTH_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_YEARS_AHEAD: Final = 5
_ALL_MINUTES: Final = frozenset(range(60))
_ALL_HOURS: Final = frozenset(range(24))
_ALL_WEEKDAYS: Final = frozenset(range(7))
_ALL: Final = (
    _ALL_MINUTES,
    _ALL_HOURS,
    frozenset(range(1, 32)),
    frozenset(range(1, 13)),
    _ALL_WEEKDAYS,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """One of the five fields: `low` to `high` is what Backrest puts for a `*`.

    There are only these five, so they are compared by identity, which makes caching quick.
    """

    name: str
    low: int
    high: int
    names: Mapping[str, int]


_FIELDS: Final = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 24, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _WEEKDAYS),
)


class CronError(ValueError):
    """Backrest would not start; `hint` says what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def canonical_cron(expression: str) -> str:
    """Rewrite an expression that Backrest accepts so that every cron reads the same values.

    A field is a star or a list of numbers, `0 2 * * MON/2` becomes `0 2 * * 1,3,5`; values
    that never come are left out. In Backrest both day fields have to match, which the text
    alone does not say to another cron.
    """
    parts = [part for part in _BLANKS.split(expression) if part]
    sets = [_parse_field(text, field) for text, field in zip(parts, _FIELDS, strict=True)]
    return " ".join(
        "*" if all_values <= values else ",".join(map(str, sorted(values & all_values)))
        for values, all_values in zip(sets, _ALL, strict=True)
    )


def check_cron(expression: str, today: date | None = None) -> None:
    """Raise CronError if Backrest would refuse the expression, hang or crash.

    Backrest looks five years ahead for a fire. With `today` so does this; without
    it only what never fires in any year is refused.
    """
    if not expression:
        raise CronError("the cron expression is empty", "remove the schedule, or disable it")
    parts = [part for part in _BLANKS.split(expression) if part]
    if len(parts) != len(_FIELDS):
        raise CronError(f"{expression!r} is not five fields", _hint_for_fields(expression))
    sets = [_parse_field(text, field) for text, field in zip(parts, _FIELDS, strict=True)]
    if not _fires(sets, today):
        raise CronError(f"{expression!r} never fires", _hint_for_never(sets[4]))


def _hint_for_fields(expression: str) -> str:
    if expression.lstrip().startswith("@"):
        return "write the five fields out, as `0 0 * * *` for every midnight"
    if "TZ=" in expression:
        return "leave the time zone out: Backrest uses that of its own process"
    return "minute, hour, day of month, month, day of week; no seconds, no blanks in lists"


def _hint_for_never(weekdays: frozenset[int]) -> str:
    if not weekdays & _ALL_WEEKDAYS:
        return "Sunday is 0 and a range may not pass it: write `5,6,0` for Friday to Sunday"
    return "check the ranges: `a-b` needs a <= b and values that exist"


# Thousands of plans share a few field texts: hours, stars, the 60 minutes.
@lru_cache(maxsize=512)
def _parse_field(text: str, field: _Field) -> frozenset[int]:
    return frozenset().union(*(_parse_element(part, field) for part in text.split(",")))


def _parse_element(text: str, field: _Field) -> frozenset[int]:
    """Parse `a`, `a-b`, `a/n` or `a-b/n`; a star is replaced in the text, as Backrest does."""
    bounds, slash, step_text = text.replace("*", f"{field.low}-{field.high}", 1).partition("/")
    low_text, dash, high_text = bounds.partition("-")
    low = _parse_value(low_text, text, field)
    high = _parse_value(high_text, text, field) if dash else field.high if slash else low
    step = _parse_step(step_text, text, field) if slash else 1
    if low > high:
        return frozenset()
    if step <= 0:
        end = "crashes" if step else "hangs"
        raise CronError(f"at the step in {text!r} Backrest {end}", "a step is at least 1")
    return frozenset(range(low, min(high, _BITS - 1) + 1, step))


def _parse_value(text: str, element: str, field: _Field) -> int:
    if _WHOLE.match(text):
        return _bounded(text, element, field)
    value = field.names.get(text.upper())
    if value is None:
        raise _unreadable(element, field)
    return value


def _parse_step(text: str, element: str, field: _Field) -> int:
    if not _WHOLE.match(text):
        raise _unreadable(element, field)
    return _bounded(text, element, field)


def _bounded(text: str, element: str, field: _Field) -> int:
    digits = text.lstrip("+-0") or "0"
    if len(digits) > len(str(_TOO_LARGE)) or int(digits) >= _TOO_LARGE:
        raise CronError(f"{element!r} is far out of range for the {field.name}")
    return -int(digits) if text[0] == "-" else int(digits)


def _unreadable(element: str, field: _Field) -> CronError:
    names = f", names {'/'.join(field.names)}" if field.names else ""
    return CronError(
        f"{element!r} is no {field.name} that Backrest reads",
        f"numbers{names}, `*`, `a-b`, `/n` and lists; no L, W, #, ?",
    )


def _fires(sets: list[frozenset[int]], today: date | None) -> bool:
    minutes, hours, days, months, weekdays = sets
    if not (minutes & _ALL_MINUTES and hours & _ALL_HOURS and weekdays & _ALL_WEEKDAYS):
        return False
    if today is None:
        # In 400 years each day of the year falls on each day of the week.
        return any(
            1 <= day <= length
            for month, length in enumerate(_MONTH_LENGTHS, 1)
            if month in months
            for day in days
        )
    return any(
        day.month in months and day.day in days and day.isoweekday() % 7 in weekdays
        for day in _days_from(today)
    )


def _days_from(today: date) -> Iterator[date]:
    end = date(today.year + _YEARS_AHEAD, 12, 31)
    return (today + timedelta(days) for days in range(1, (end - today).days + 1))
