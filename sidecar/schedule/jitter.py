"""Jitter: each `T` in a cron becomes a value that the plan's id decides, so that plans spread.

| written | value, for a field of the values `low` to `high` |
|---|---|
| `T` | one of the field |
| `T(a-b)` | one from a to b |
| `T/n` | every n-th from a start: `T/15` as minute becomes `7-59/15` |

The value comes from FNV-1a of the plan id and the field's name. Never change that: each
standing plan would move to another time.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from sidecar.lib.text import SpecInvalid, quoted
from sidecar.schedule.cron import FIELDS, RANGE, CronField, read_range, read_step

_BEGINNING = re.compile(r"T(?![A-Za-z])")
_ELEMENT = re.compile(r"T(?:\(([^()]*)\))?(?:/([0-9]{1,9}))?")

_FNV_OFFSET = 0x811C9DC5
_FNV_PRIME = 0x01000193


@dataclass(frozen=True, slots=True)
class Jitter:
    """One element with a `T`: `base` + hash(plan id + `salt`) mod `count`, then `tail`."""

    salt: bytes
    base: int
    count: int
    tail: str = ""

    def render(self, id_hash: int) -> str:
        """Return the element for the plan whose id has this `fnv1a_32`, as `9` or `7-59/15`."""
        return f"{self.base + _fold(id_hash, self.salt) % self.count}{self.tail}"


def has_jitter(element: str) -> bool:
    """Return whether a list element begins with `T` and no longer word."""
    return _BEGINNING.match(element) is not None


def parse_jitter(field: CronField, element: str, *, is_whole_field: bool) -> Jitter:
    """Parse `T`, `T(a-b)` or `T/n`; raises SpecInvalid for any other form and for values outside.

    `is_whole_field`: the field has no other element.
    """
    match = _ELEMENT.fullmatch(element)
    if match is None:
        raise SpecInvalid(
            f"{field.name} {quoted(element)} is not understood",
            "write T, T(a-b) or T/n as the whole element",
        )
    within, slash = match.groups()
    if within is not None:
        return _parse_range(field, element, within, slash)
    if slash is not None:
        return _step(field, read_step(field, slash))
    # Existing plans have this minute from the bare id; all else is salted.
    is_bare = field is FIELDS[0] and is_whole_field
    return Jitter(b"" if is_bare else _salt(field), field.low, field.width)


def _parse_range(field: CronField, element: str, within: str, slash: str | None) -> Jitter:
    match = RANGE.fullmatch(within)
    if match is None or slash is not None:
        raise SpecInvalid(
            f"{field.name} {quoted(element)} is not supported",
            f"write T({field.low}-{field.hash_high}) without a step, or T/n",
        )
    low, high = read_range(field, match[1], match[2])
    return Jitter(_salt(field), low, high - low + 1)


def _step(field: CronField, step: int) -> Jitter:
    if step > field.width:
        raise SpecInvalid(
            f"{field.name} T/{step} steps beyond the field", f"write T/n with n up to {field.width}"
        )
    return Jitter(_salt(field), field.low, step, f"-{field.hash_high}/{step}")


def _salt(field: CronField) -> bytes:
    return f"/{field.name}".encode()


def fnv1a_32(text: str) -> int:
    """Hash the text's UTF-8 bytes with FNV-1a of 32 bits."""
    # The ids of one project begin alike: that part is hashed once.
    cut = text.rfind("_") + 1
    return _fold(_hash_beginning(text[:cut]), text[cut:].encode())


@lru_cache(maxsize=1024)
def _hash_beginning(text: str) -> int:
    return _fold(_FNV_OFFSET, text.encode())


def _fold(state: int, data: bytes) -> int:
    """Continue a hash with more bytes."""
    for byte in data:
        state = ((state ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return state
