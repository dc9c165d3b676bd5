"""A keep label (`daily=7,weekly=4`) → `Retention`.

There is no silent default: a wrong retention deletes data.
"""

import difflib
import re

from sidecar.backrest.plan import Retention
from sidecar.lib.text import SpecInvalid, quoted

KEYS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
WITHIN_KEYS = ("within", *(f"within-{key}" for key in KEYS[1:]))

_GLUED = re.compile(r"([a-z]+)[ :]*([1-9][0-9]*)")
_SPAN = re.compile(r"(?:keep )?([1-9][0-9]{0,4}) ?(h|d|w|m|y)(?:ours?|ays?|eeks?|onths?|ears?)?")
_UNITS = dict(zip("hdwmy", KEYS[1:], strict=True))
_COUNT = re.compile(r"[1-9][0-9]{0,9}")
_INT32 = 2**31 - 1
_DURATION = re.compile(r"(?:[0-9]+[ymdh])+")
_EXAMPLE = "write keys and counts, as daily=7,weekly=4, or all"


def parse_retention(text: str) -> tuple[Retention, tuple[str, ...]]:
    """Parse a keep label into the retention and the `within` keys it ignores.

    The ignored keys stand in the order written. Raises SpecInvalid for an unknown
    or repeated key, a count that is not from 1 to 2147483647, and when nothing but
    `within` keys is left.
    """
    if text.strip() == "all":
        return Retention(keep_all=True), ()
    pairs = _parse_pairs(text)
    within = tuple(key for key in pairs if key in WITHIN_KEYS)
    counts = {key: _parse_count(key, value) for key, value in pairs.items() if key in KEYS}
    for key in within:
        _check_duration(key, pairs[key])
    if not counts:
        raise SpecInvalid(
            f"{within[0]} keeps nothing here: Backrest knows no time spans",
            "write counts beside or instead, as last=10 or daily=7,weekly=4",
        )
    last, hourly, daily, weekly, monthly, yearly = (counts.get(key, 0) for key in KEYS)
    return Retention(last, hourly, daily, weekly, monthly, yearly), within


def _parse_pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = (part.strip() for part in item.partition("="))
        _check_key(key, item.strip(), equals)
        if key in pairs:
            raise SpecInvalid(f"{key} stands there twice", f"write {key} once")
        pairs[key] = value
    return pairs


def _check_key(key: str, item: str, equals: str) -> None:
    if not item:
        raise SpecInvalid("a rule is empty", _EXAMPLE)
    if key == "all":
        raise SpecInvalid("all stands beside other rules or with a count", "write all alone")
    if key not in KEYS and key not in WITHIN_KEYS:
        raise SpecInvalid(f"unknown key {quoted(key)}", _suggest(key))
    if not equals:
        raise SpecInvalid(f"{key} has no value", f"write {key}={'30d' if 'in' in key else 7}")


def _suggest(key: str) -> str:
    """Return a hint with the key that was meant: by its beginning (`d`, `hour`), or alike."""
    known = (*KEYS, *WITHIN_KEYS, "all")
    if span := _SPAN.fullmatch(" ".join(key.lower().split())):
        return f"write {_UNITS[span[2]]}={span[1]}"
    lowered = key.lower()
    if (split := _GLUED.fullmatch(lowered)) and split[1] in KEYS:
        return f"write {split[1]}={split[2]}"
    meant = [name for name in known if lowered and name.startswith(lowered)]
    meant = meant or difflib.get_close_matches(lowered, known, n=1)
    return f"did you mean {meant[0]}?" if meant else f"the keys are {', '.join(KEYS)} and all"


def _parse_count(key: str, value: str) -> int:
    if _COUNT.fullmatch(value) and int(value) <= _INT32:
        return int(value)
    raise SpecInvalid(
        f"{key}={quoted(value)} is no count",
        f"write a whole number from 1 to {_INT32}, as {key}=7, or leave {key} out",
    )


def _check_duration(key: str, value: str) -> None:
    if not _DURATION.fullmatch(value):
        raise SpecInvalid(
            f"{key}={quoted(value)} is no time span",
            f"write years, months, days and hours, as {key}=1y5m7d2h",
        )
