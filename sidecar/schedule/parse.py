"""A schedule label, or a schedule of the document → `Schedule`.

A label is `off`, `every 6h`, a macro such as `@daily`, or five fields of cron, each with or
without jitter (`T`). It is compiled once and remembered; each plan id then costs one hash
of the id and of a few characters.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

from cronsim import CronSim, CronSimError

from sidecar.backrest.jsontext import parse_integer
from sidecar.backrest.plan import Clock, Schedule
from sidecar.lib.text import SpecInvalid, counted, quoted
from sidecar.schedule.cron import FIELDS, CronField, read_element
from sidecar.schedule.jitter import Jitter, fnv1a_32, has_jitter, parse_jitter
from sidecar.schedule.suggest import suggest_schedule

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_HORIZON = timedelta(days=4 * 365 + 1)

# Backrest counts the pause in nanoseconds of 63 bits; a longer one turns negative
# there, and the plan would run without a pause.
_LONGEST = {"h": 2_562_047, "d": 106_751}
_DAY, _WEEK = 24, 7
_EVERY = re.compile(r"([1-9][0-9]{0,9})([hd])")
_MEANS_OFF = frozenset({"off", "false", "no", "none", "never", "disabled", "disable"})
_EXAMPLES = "write five fields as 0 2 * * *, a macro as @daily, every 6h, every 2d or off"

# The keys of a schedule in the document, of which one is set.
_MEMBERS = ("disabled", "cron", "maxFrequencyHours", "maxFrequencyDays")


@dataclass(frozen=True, slots=True)
class _ElementList:
    """A field of several elements, at least one with a `T`."""

    elements: tuple[str | Jitter, ...]

    def render(self, id_hash: int) -> str:
        return ",".join(
            item if isinstance(item, str) else item.render(id_hash) for item in self.elements
        )


@dataclass(frozen=True, slots=True)
class _CompiledSchedule:
    """A compiled label: a schedule without cron, or five fields, some with jitter.

    `from_last_run`: an `every` that is written as a cron.
    """

    schedule: Schedule | None
    fields: tuple[str | Jitter | _ElementList, ...] = ()
    has_jitter: bool = False
    from_last_run: bool = False


def parse_schedule(text: str, plan_id: str, now: datetime) -> Schedule:
    """Parse a schedule label for one plan; `off` gives the disabled `Schedule()`.

    `now` is aware and in the runner's zone. Raises SpecInvalid for what is outside
    the grammar and for a cron with no fire within four years of `now`.
    """
    compiled = _compile(text.strip())
    if compiled.schedule is not None:
        return compiled.schedule
    cron = _render(compiled, plan_id)
    schedule = _shared_schedule(cron, now.toordinal(), from_last_run=compiled.from_last_run)
    if schedule is None and not _fires(cron, now):
        raise SpecInvalid(
            f"schedule {quoted(cron)} does not fire within four years",
            "write a day that the month has",
        )
    return schedule or Schedule(cron=cron)


def is_every_minute(text: str) -> bool:
    """Return whether a schedule that can be parsed fires each minute of the hours that it names."""
    words = text.split()
    if len(words) != len(FIELDS):
        return False
    minute, hour = FIELDS[:2]
    return _is_whole(minute, words[0]) and not _is_whole(hour, words[1])


def _is_whole(field: CronField, text: str) -> bool:
    """Return whether a field names all of its values, by a star, steps of one or a range."""
    bare = {"*", f"{field.low}-{field.high}"}
    return any(item.removesuffix("/1") in bare for item in text.split(","))


def pause_of(text: str) -> Schedule | None:
    """Return the pause of hours or days that an `every 6h` asks for; None: it is no `every`."""
    words = text.split()
    return _parse_every(text, words[1:]) if words[:1] == ["every"] else None


def schedule_of(raw: Mapping[str, Any]) -> Schedule | None:
    """Read a document's schedule object, as `{"cron": "0 2 * * *"}`.

    An empty object never runs and gives `Schedule()`. None: it cannot be read, or
    its cron means to Backrest something that `backrest_fires` could not compute.
    """
    found = [(name, raw[name]) for name in _MEMBERS if raw.get(name) is not None]
    if not found:
        return Schedule()
    return _read_member(*found[0]) if len(found) == 1 else None


def period_of(raw: object) -> float:
    """Return the seconds of a pause that counts from the last run; 0 for another schedule.

    `raw` is a document's schedule object, as for `schedule_of`.
    """
    if not isinstance(raw, Mapping) or raw.get("clock") != Clock.LAST_RUN:
        return 0.0
    found = schedule_of(raw)
    return 0.0 if found is None else 3600.0 * found.every_hours + 86400.0 * found.every_days


def _read_member(name: str, value: Any) -> Schedule | None:
    if name == "disabled":
        return Schedule() if value is True else None
    if name == "cron":
        known = isinstance(value, str) and is_portable_cron(value)
        return Schedule(cron=value) if known else None
    count = None if isinstance(value, bool) else parse_integer(str(value), 32)
    if count is None or count < 1:
        return None
    hourly = name == "maxFrequencyHours"
    return Schedule(every_hours=count) if hourly else Schedule(every_days=count)


def is_portable_cron(text: str) -> bool:
    """Return whether a cron of any origin means to Backrest what cronsim reads.

    Both day fields may be restricted (Backrest joins them by AND); a `T`, a
    weekday 7 or a macro is none of Backrest's.
    """
    words = text.split()
    try:
        return [_compile_field(*pair) for pair in _pairs(text, words)] == words
    except SpecInvalid:
        return False


@lru_cache(maxsize=1024)
def _compile(text: str) -> _CompiledSchedule:
    words = text.split()
    if text == "off":
        return _CompiledSchedule(Schedule())
    from_last_run = False
    if words[:1] == ["every"]:
        schedule = _parse_every(text, words[1:])
        cron = _even_cron(schedule)
        if not cron:
            return _CompiledSchedule(schedule)
        words, from_last_run = cron.split(), True
    if text.startswith("@"):
        words = _expand_macro(text).split()
    fields = tuple(_compile_field(*pair) for pair in _pairs(text, words))
    _check_days(words)
    _check_steps(words)
    has_jitter = not all(isinstance(field, str) for field in fields)
    return _CompiledSchedule(None, fields, has_jitter, from_last_run)


def _even_cron(schedule: Schedule) -> str:
    """Return the cron of a pause that fits into a day or is a week, else the empty string.

    Where a plan has never run, Backrest counts a pause from its own start: on a host that
    starts it anew each day such a plan would never run. A cron does not move.
    """
    hours, days = schedule.every_hours, schedule.every_days
    if days == 1 or hours == _DAY:
        return "T T * * *"
    if days == _WEEK:
        return "T T * * T"
    return f"T T/{hours} * * *" if hours and _DAY % hours == 0 else ""


def _check_steps(words: list[str]) -> None:
    for field, word in zip(FIELDS, words, strict=True):
        for element in word.split(","):
            step = element.partition("/")[2]
            if step and int(step) > field.high - field.low + 1:
                raise SpecInvalid(
                    f"{field.name} {quoted(element)} steps beyond the field",
                    _pause_hint(field, int(step)),
                )


def _pause_hint(field: CronField, step: int) -> str:
    """Return what to write for a step of more minutes, hours or days than a field has."""
    most = f"write a step of at most {field.high - field.low + 1}"
    if field.name == "minute":
        hours = round(step / 60)
        exact = "" if step % 60 == 0 else ", the nearest"
        return f"write every {hours}h{exact}"
    unit = "h" if field.name == "hour" else "d" if field.name == "day-of-month" else ""
    return f"write every {step}{unit}" if unit else most


def _parse_every(text: str, words: list[str]) -> Schedule:
    match = _EVERY.fullmatch(words[0]) if len(words) == 1 else None
    if match is None:
        raise SpecInvalid(
            f"schedule {quoted(text)} is not understood",
            _meant(text)
            or "write every and a count of hours or days from 1 on, as every 6h or every 2d",
        )
    count, unit = int(match[1]), match[2]
    if count > _LONGEST[unit]:
        raise SpecInvalid(
            f"schedule {quoted(text)} is too long a pause",
            f"write at most every {_LONGEST[unit]}{unit}, or off",
        )
    return Schedule(every_hours=count) if unit == "h" else Schedule(every_days=count)


def _expand_macro(text: str) -> str:
    if text in _MACROS:
        return _MACROS[text]
    if text.lower().startswith("@every"):
        hint = _meant(text) or "write every without the @, as every 6h"
    else:
        close = difflib.get_close_matches(text.lower(), _MACROS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"write one of {' '.join(_MACROS)}"
    raise SpecInvalid(f"schedule {quoted(text)} is no known macro", hint)


def _pairs(text: str, words: list[str]) -> list[tuple[CronField, str]]:
    """Pair the five fields with their texts; raises SpecInvalid for another count."""
    if len(words) == len(FIELDS):
        return list(zip(FIELDS, words, strict=True))
    raise SpecInvalid(
        f"schedule {quoted(text)} has {counted(len(words), 'field')}, not five",
        _count_hint(text, words),
    )


def _count_hint(text: str, words: list[str]) -> str:
    if "TZ=" in text:
        return "leave TZ= out: schedules are in the runner's own time zone"
    if text.lower() in _MEANS_OFF:
        return 'write off, in quotes in a Compose file: "off"'
    if meant := _meant(text):
        return meant
    if len(words) == len(FIELDS) + 1:
        return "leave the seconds (or the year) out: minute hour day-of-month month day-of-week"
    return _EXAMPLES


def _meant(text: str) -> str:
    meant = suggest_schedule(text)
    return f"write {meant}" if meant else ""


@lru_cache(maxsize=4096)
def _compile_field(field: CronField, text: str) -> str | Jitter | _ElementList:
    texts = text.split(",")
    elements = [_compile_element(field, item, is_whole_field=len(texts) == 1) for item in texts]
    if len(elements) == 1:
        return elements[0]
    fixed = [element for element in elements if isinstance(element, str)]
    return ",".join(fixed) if len(fixed) == len(elements) else _ElementList(tuple(elements))


def _compile_element(field: CronField, element: str, *, is_whole_field: bool) -> str | Jitter:
    if has_jitter(element):
        return parse_jitter(field, element, is_whole_field=is_whole_field)
    return read_element(field, element)


def _check_days(words: list[str]) -> None:
    if not (words[2].startswith("*") or words[4].startswith("*")):
        raise SpecInvalid(
            "day-of-month and day-of-week are both restricted",
            "write * in one of the two: schedulers disagree whether either day or both must match",
        )


def _render(compiled: _CompiledSchedule, plan_id: str) -> str:
    id_hash = fnv1a_32(plan_id) if compiled.has_jitter else 0
    return " ".join(
        [field if isinstance(field, str) else field.render(id_hash) for field in compiled.fields]
    )


@lru_cache(maxsize=4096)
def _shared_schedule(cron: str, today: int, *, from_last_run: bool) -> Schedule | None:
    """Return the schedule if it fires after `today`, as nearly all do; equal ones are one object.

    `today` is a day's ordinal.
    """
    _, _, *days = cron.split()
    if not _fires_after(" ".join(days), today):
        return None
    return Schedule(cron=cron, from_last_run=from_last_run)


@lru_cache(maxsize=4096)
def _fires_after(days: str, today: int) -> bool:
    """Return whether a day after `today` matches the three day fields.

    It takes long to compute, and most schedules share their day fields.
    """
    evening = datetime.combine(date.fromordinal(today), time.max)
    return _fires(f"0 0 {days}", evening, _HORIZON - timedelta(days=1))


def _fires(cron: str, now: datetime, within: timedelta = _HORIZON) -> bool:
    start = now.replace(tzinfo=None)
    try:
        return next(CronSim(cron, start)) - start <= within
    except (CronSimError, StopIteration):
        return False
