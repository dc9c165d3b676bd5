"""A schedule label to a Schedule: T jitter, macros, `every`, `off` and plain cron.

A text is compiled once and remembered; each plan id then costs one hash of the
id and of a few characters.
"""

import difflib
import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from cronsim import CronSim, CronSimError

from sidecar.backrest.plan import Schedule
from sidecar.lib.text import SpecInvalid, quoted
from sidecar.schedule.cron import FIELDS, RANGE, CronField, read_element, read_range, read_step

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
HORIZON = timedelta(days=4 * 365 + 1)

# Backrest counts the pause in nanoseconds of 63 bits; a longer one turns negative
# there, and the plan would run without a pause.
_LONGEST = {"h": 2_562_047, "d": 106_751}
_EVERY = re.compile(r"([1-9][0-9]{0,9})([hd])")
_HASHED = re.compile(r"T(?![A-Za-z])")
_HASHED_ELEMENT = re.compile(r"T(?:\(([^()]*)\))?(?:/([0-9]{1,9}))?")
_MEANS_OFF = frozenset({"off", "false", "no", "none", "never", "disabled", "disable"})
_EXAMPLES = "write five fields as 0 2 * * *, a macro as @daily, every 6h, every 2d or off"

_FNV_OFFSET = 0x811C9DC5
_FNV_PRIME = 0x01000193


@dataclass(frozen=True, slots=True)
class _Hashed:
    """One element with a `T`: base + hash(plan id + salt) mod count, then `tail`."""

    salt: bytes
    base: int
    count: int
    tail: str = ""

    def render(self, state: int) -> str:
        return f"{self.base + _fold(state, self.salt) % self.count}{self.tail}"


@dataclass(frozen=True, slots=True)
class _ElementList:
    """A field of several elements, at least one with a `T`."""

    elements: tuple[str | _Hashed, ...]

    def render(self, state: int) -> str:
        return ",".join(
            item if isinstance(item, str) else item.render(state) for item in self.elements
        )


@dataclass(frozen=True, slots=True)
class _CompiledSchedule:
    """A compiled text: a schedule without cron, or five fields, `hashed` if one has a T."""

    schedule: Schedule | None
    fields: tuple[str | _Hashed | _ElementList, ...] = ()
    hashed: bool = False


def fnv1a_32(text: str) -> int:
    """Hash the text's UTF-8 bytes with FNV-1a of 32 bits."""
    # The ids of one project begin alike: that part is hashed once.
    cut = text.rfind("_") + 1
    return _fold(_fold_beginning(text[:cut]), text[cut:].encode())


@lru_cache(maxsize=1024)
def _fold_beginning(text: str) -> int:
    return _fold(_FNV_OFFSET, text.encode())


def _fold(state: int, data: bytes) -> int:
    for byte in data:
        state = ((state ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return state


def parse_schedule(text: str, plan_id: str, now: datetime) -> Schedule:
    """Parse a schedule label for one plan; `off` gives the disabled `Schedule()`.

    `now` is aware and in the runner's zone. Raises SpecInvalid for what is outside
    the grammar and for a cron with no fire within four years of `now`.
    """
    template = _compile(text.strip())
    if template.schedule is not None:
        return template.schedule
    cron = _render(template, plan_id)
    schedule = _schedule(cron, now.toordinal())
    if schedule is None and not _fires(cron, now):
        raise SpecInvalid(
            f"schedule {quoted(cron)} does not fire within four years",
            "write a day that the month has",
        )
    return schedule or Schedule(cron=cron)


@lru_cache(maxsize=4096)
def _schedule(cron: str, today: int) -> Schedule | None:
    """Build the schedule if it fires after today, as nearly all do: plans share it."""
    _, _, *days = cron.split()
    return Schedule(cron=cron) if _fires_later(" ".join(days), today) else None


def check_cron(text: str) -> bool:
    """Tell whether a cron of any origin means to Backrest what cronsim reads.

    Both day fields may be restricted (Backrest joins them by AND); a `T`, a
    weekday 7 or a macro is none of Backrest's.
    """
    words = text.split()
    try:
        return [_compile_field(*pair) for pair in _pairs(text, words)] == words
    except SpecInvalid:
        return False


def _render(template: _CompiledSchedule, plan_id: str) -> str:
    state = fnv1a_32(plan_id) if template.hashed else 0
    return " ".join(
        [field if isinstance(field, str) else field.render(state) for field in template.fields]
    )


@lru_cache(maxsize=1024)
def _compile(text: str) -> _CompiledSchedule:
    words = text.split()
    if text == "off":
        return _CompiledSchedule(Schedule())
    if words[:1] == ["every"]:
        return _CompiledSchedule(_parse_every(text, words[1:]))
    if text.startswith("@"):
        words = _expand_macro(text).split()
    fields = tuple(_compile_field(*pair) for pair in _pairs(text, words))
    _check_days(words)
    return _CompiledSchedule(
        None, fields, hashed=not all(isinstance(field, str) for field in fields)
    )


def _parse_every(text: str, words: list[str]) -> Schedule:
    match = _EVERY.fullmatch(words[0]) if len(words) == 1 else None
    if match is None:
        raise SpecInvalid(
            f"schedule {quoted(text)} is not understood",
            "write every and a count of hours or days from 1 on, as every 6h or every 2d",
        )
    count, unit = int(match[1]), match[2]
    if count > _LONGEST[unit]:
        raise SpecInvalid(
            f"schedule {quoted(text)} is too long a pause",
            f"write at most every {_LONGEST[unit]}{unit}, or off",
        )
    return Schedule(every_hours=count) if unit == "h" else Schedule(every_days=count)


def _expand_macro(text: str) -> str:
    if text in MACROS:
        return MACROS[text]
    if text.lower().startswith("@every"):
        hint = "write every without the @, as every 6h"
    else:
        close = difflib.get_close_matches(text.lower(), MACROS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"write one of {' '.join(MACROS)}"
    raise SpecInvalid(f"schedule {quoted(text)} is no known macro", hint)


def _pairs(text: str, words: list[str]) -> list[tuple[CronField, str]]:
    """Pair the five fields with their texts; raises SpecInvalid for another count."""
    if len(words) == len(FIELDS):
        return list(zip(FIELDS, words, strict=True))
    raise SpecInvalid(
        f"schedule {quoted(text)} has {len(words)} fields, not five", _count_hint(text, words)
    )


def _count_hint(text: str, words: list[str]) -> str:
    if "TZ=" in text:
        return "leave TZ= out: schedules are in the runner's own time zone"
    if text.lower() in _MEANS_OFF:
        return 'write off, in quotes in a Compose file: "off"'
    if len(words) == len(FIELDS) + 1:
        return "leave the seconds (or the year) out: minute hour day-of-month month day-of-week"
    return _EXAMPLES


@lru_cache(maxsize=4096)
def _compile_field(field: CronField, text: str) -> str | _Hashed | _ElementList:
    elements = [_compile_element(field, item, text) for item in text.split(",")]
    if len(elements) == 1:
        return elements[0]
    fixed = [element for element in elements if isinstance(element, str)]
    return ",".join(fixed) if len(fixed) == len(elements) else _ElementList(tuple(elements))


def _compile_element(field: CronField, element: str, whole: str) -> str | _Hashed:
    if not _HASHED.match(element):
        return read_element(field, element)
    match = _HASHED_ELEMENT.fullmatch(element)
    if match is None:
        raise SpecInvalid(
            f"{field.name} {quoted(element)} is not understood",
            "write T, T(a-b) or T/n as the whole element",
        )
    within, slash = match.groups()
    if within is not None:
        return _hashed_range(field, element, within, slash)
    if slash is not None:
        return _hashed_step(field, read_step(field, slash))
    # Existing plans have this minute from the bare id; all else is salted.
    bare = field is FIELDS[0] and whole == "T"
    return _Hashed(b"" if bare else _salt(field), field.low, field.width)


def _hashed_range(field: CronField, element: str, within: str, slash: str | None) -> _Hashed:
    match = RANGE.fullmatch(within)
    if match is None or slash is not None:
        raise SpecInvalid(
            f"{field.name} {quoted(element)} is not supported",
            f"write T({field.low}-{field.hash_high}) without a step, or T/n",
        )
    low, high = read_range(field, match[1], match[2])
    return _Hashed(_salt(field), low, high - low + 1)


def _hashed_step(field: CronField, step: int) -> _Hashed:
    if step > field.width:
        raise SpecInvalid(
            f"{field.name} T/{step} steps beyond the field", f"write T/n with n up to {field.width}"
        )
    return _Hashed(_salt(field), field.low, step, f"-{field.hash_high}/{step}")


def _salt(field: CronField) -> bytes:
    return f"/{field.name}".encode()


def _check_days(words: list[str]) -> None:
    if not (words[2].startswith("*") or words[4].startswith("*")):
        raise SpecInvalid(
            "day-of-month and day-of-week are both restricted",
            "write * in one of the two: schedulers disagree whether either day or both must match",
        )


@lru_cache(maxsize=4096)
def _fires_later(days: str, today: int) -> bool:
    """Return whether a day after `today` (an ordinal) matches: dear to find, and shared by most."""
    evening = datetime.combine(date.fromordinal(today), time.max)
    return _fires(f"0 0 {days}", evening, HORIZON - timedelta(days=1))


def _fires(cron: str, now: datetime, within: timedelta = HORIZON) -> bool:
    start = now.replace(tzinfo=None)
    try:
        return next(CronSim(cron, start)) - start <= within
    except (CronSimError, StopIteration):
        return False
