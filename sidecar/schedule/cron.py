"""The cron dialect that Backrest and cronsim read alike.

Backrest checks no bounds, knows weekdays 0 to 6 only and joins both day fields
by AND; cronsim counts weekdays to 7 and reads a range of one value with a step
as if its end were open. What both take to mean the same is accepted, the rest
is refused with what to write instead.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from sidecar.lib.text import SpecInvalid, quoted

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True, slots=True, eq=False)
class CronField:
    """One of the five fields: values `low` to `high`, those of a bare `T` up to `hash_high`.

    `names` mean low, low + 1, ...; up to `sim_high` cronsim extends a value with a step
    (`MON/2`).
    """

    name: str
    low: int
    high: int
    hash_high: int
    sim_high: int
    names: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many values a bare `T` chooses from."""
        return self.hash_high - self.low + 1

    @property
    def bounds(self) -> str:
        """The accepted values in words."""
        named = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.low} to {self.high}{named}"


FIELDS = (
    CronField("minute", 0, 59, 59, 59),
    CronField("hour", 0, 23, 23, 23),
    CronField("day-of-month", 1, 31, 28, 31),
    CronField("month", 1, 12, 12, 12, _MONTHS),
    CronField("day-of-week", 0, 6, 6, 7, _WEEKDAYS),
)
DAY_OF_WEEK = FIELDS[4]

# Longer numbers are out of range, and beyond 18 digits Backrest and cronsim differ.
_VALUE = r"[0-9]{1,9}|[A-Za-z]{3}"
_ELEMENT = re.compile(rf"(?:\*|({_VALUE})(?:-({_VALUE}))?)(?:/([0-9]{{1,9}}))?")
RANGE = re.compile(rf"({_VALUE})-({_VALUE})")

# The first pattern that is found in a refused element shows what its author meant.
_HINTS = (
    (re.compile(r"\?"), "write * instead of ?"),
    (re.compile(r"#"), "weekdays cannot be counted within a month; write one weekday, as 5"),
    (
        re.compile(r"^(?:[0-9]{1,2}|[A-Z]{3})?(?:L|W|LW)$|^L-"),
        "L and W are not supported; write a day, as 28, or the weekday alone",
    ),
    (re.compile(r"^t(?![A-Za-z])|^H(?![A-Za-z])"), "a hashed value is an upper case T"),
    (re.compile(r"^T"), "write T, T(a-b) or T/n as the whole element"),
    (re.compile(r"/-|/$"), "write a step of 1 or more"),
    (re.compile(r"^\+"), "write the number without a sign"),
    (re.compile(r"\*"), "write * or */n; a star stands alone or before a step"),
)


def read_value(field: CronField, text: str) -> int:
    """Read a number or name of a field; raises SpecInvalid when it has no such value.

    A weekday 7 is outside: cronsim alone takes it for Sunday.
    """
    if text.upper() in field.names:
        return field.names.index(text.upper()) + field.low
    if text.isdecimal() and field.low <= int(text) <= field.high:
        return int(text)
    raise SpecInvalid(
        f"{field.name} {quoted(text)} is out of range", f"write a value from {field.bounds}"
    )


def read_step(field: CronField, text: str) -> int:
    """Read the step behind a slash, 1 if there is none; raises SpecInvalid for less than 1."""
    if text and int(text) < 1:
        raise SpecInvalid(f"{field.name} has a step of {text}", "write a step of 1 or more")
    return int(text or 1)


def read_range(field: CronField, first: str, last: str) -> tuple[int, int]:
    """Read both ends of a range; raises SpecInvalid for a value outside or a > b."""
    if field is DAY_OF_WEEK and "7" in {first.lstrip("0"), last.lstrip("0")}:
        raise SpecInvalid(
            "day-of-week 7 stands in a range or before a step",
            "write Sunday as 0 and apart, as 5-6,0",
        )
    low, high = read_value(field, first), read_value(field, last)
    if low > high:
        raise SpecInvalid(
            f"{field.name} range {quoted(f'{first}-{last}')} runs backwards",
            f"put the smaller first, or write two: {first}-{field.high},{field.low}-{last}",
        )
    return low, high


@lru_cache(maxsize=4096)
def read_element(field: CronField, text: str) -> str:
    """Check one list element without `T` and return it as emitted (weekday 7 as 0).

    Raises SpecInvalid for what the two schedulers do not read alike.
    """
    match = _ELEMENT.fullmatch(text)
    if match is None:
        raise SpecInvalid(f"{field.name} {quoted(text)} is not understood", _hint(field, text))
    first, last, slash = match.group(1, 2, 3)
    if field is DAY_OF_WEEK and first and text.lstrip("0") == "7":
        return "0"
    step = read_step(field, slash or "")
    if first:
        _read_span(field, text, (first, last or ""), step if slash else 0)
    return text


def _read_span(field: CronField, text: str, ends: tuple[str, str], step: int) -> None:
    """Check `a`, `a/n`, `a-b` or `a-b/n`; `step` is 0 where none is written."""
    first, last = ends
    low, high = read_range(field, first, last or first)
    if step and (not last or low == high):
        backrest = range(low, (high if last else field.high) + 1, step)
        cronsim = range(low, field.sim_high + 1, step)
        if _days(field, backrest) != _days(field, cronsim):
            raise SpecInvalid(
                f"{field.name} {quoted(text)} means different values to different schedulers",
                f"write the range out, as {first}-{field.high}/{step}, or the values one by one",
            )


def _days(field: CronField, values: range) -> frozenset[int]:
    """Return the values as a set, with 0 for a weekday 7."""
    return frozenset(value % 7 if field is DAY_OF_WEEK else value for value in values)


def _hint(field: CronField, text: str) -> str:
    for pattern, hint in _HINTS:
        if pattern.search(text):
            return hint
    return f"write *, a value from {field.bounds}, a range a-b or a step */n"
