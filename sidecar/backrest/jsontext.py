"""Decode JSON and keep how it is written: the spelling of numbers, and where things stand.

The document is not ours, so values are only read here. Edits are made on the text
itself (`backrest.edit`), never by encoding a decoded tree. Numbers keep their spelling
until `parse_integer` or `is_double` reads them as Backrest does.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, NoReturn

_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_CONSTANTS: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?\Z")
# More digits than any 64-bit number has; Backrest gives up there as well.
_MAX_DIGITS: Final = 20
_MAX_EXPONENT_DIGITS: Final = 11
# Any number this short fits in 32 bits.
_FEW_DIGITS: Final = 10


class Numeral(str):
    """A JSON number in its own spelling (`1.0`, `1e3`, any size)."""

    __slots__ = ()


class Object(dict[str, Any]):
    """A JSON object; `repeated` names the keys that stand in it more than once."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: tuple[str, ...] = ()
        if len(self) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            self.repeated = tuple(sorted(key for key, count in counts.items() if count > 1))


class Member(NamedTuple):
    """One member of an object or array: its decoded value and where the text has it.

    Offsets are characters of the decoded text. `key_start` is where the key's
    quote stands; in an array it equals `start`, and `key` is empty.
    """

    key: str
    value: Any
    key_start: int
    start: int
    end: int


class NotJson(ValueError):
    """The text is no JSON value; `position` is the character offset."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=Object,
    parse_int=Numeral,
    parse_float=Numeral,
    parse_constant=_refuse_constant,
)


def decode(text: str) -> Any:
    """Decode one JSON text whole; numbers become `Numeral`, objects `Object`.

    Raises NotJson for anything that is not exactly one JSON value.
    """
    value, end = value_at(text, skip_space(text, 0))
    end = skip_space(text, end)
    if end != len(text):
        raise NotJson("text follows the JSON value", end)
    return value


def skip_space(text: str, position: int) -> int:
    """Return the offset of the first character at or after `position` that is no space."""
    match = _SPACE.match(text, position)
    return match.end() if match else position


def members(text: str, start: int) -> list[Member]:
    """List the members of the object or array whose bracket stands at `start`.

    The text must have been decoded before: only well-formed JSON is expected.
    """
    return list(members_between(text, start + 1, len(text), keyed=text[start] == "{"))


def members_between(text: str, position: int, limit: int, *, keyed: bool) -> Iterator[Member]:
    """Yield the members that begin before `limit`, from behind a bracket or a member on.

    `keyed` means that they are those of an object. As `members`, for well-formed JSON only.
    """
    position = _next_member(text, position)
    while position < limit and text[position] not in "]}":
        key, key_start = "", position
        if keyed:
            key, position = value_at(text, position)
            position = skip_space(text, skip_space(text, position) + 1)
        value, end = value_at(text, position)
        yield Member(key, value, key_start, position, end)
        position = _next_member(text, end)


class Scalar(NamedTuple):
    """A value that is no object and no array, and where the text has it.

    `key` is the nearest one around it that is not empty. `marked`: whether its key, or that of
    anything around it, is one that was asked for.
    """

    key: str
    marked: bool
    value: Any
    start: int
    end: int


def scalars(text: str, marks: Callable[[str], bool]) -> Iterator[Scalar]:
    """Yield all scalars of a text that was decoded before, in one pass, however deep they are.

    `marks` says of a key whether what it holds is marked. The `members` of members would decode
    what is deep once for each level above it.
    """
    around: list[tuple[str, bool]] = [("", False)]
    objects = [False]
    is_key = False
    for token in _TOKEN.finditer(text):
        shown = token[0]
        if shown in ("{", "["):
            around.append(around[-1])
            objects.append(shown == "{")
            is_key = objects[-1]
        elif shown in ("}", "]"):
            around.pop()
            objects.pop()
        elif shown == ",":
            is_key = objects[-1]
        elif is_key:
            key, (outer, is_marked) = value_at(text, token.start())[0], around[-2]
            around[-1] = (key or outer, is_marked or marks(key or outer))
            is_key = False
        elif shown != ":":
            yield Scalar(*around[-1], value_at(text, token.start())[0], token.start(), token.end())


def _next_member(text: str, position: int) -> int:
    position = skip_space(text, position)
    return skip_space(text, position + 1) if text[position] == "," else position


def value_at(text: str, position: int) -> tuple[Any, int]:
    """Decode the value that begins at `position`; return it and the offset where it ends."""
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise NotJson(error.msg, error.pos) from None
    except RecursionError:
        raise NotJson("nested too deep", position) from None
    except ValueError as error:
        raise NotJson(str(error), _constant_at(text, position)) from None


def _constant_at(text: str, position: int) -> int:
    """Return where the first constant stands that is not JSON: Python's decoder does not say."""
    tokens = (token for token in _TOKEN.finditer(text, position) if token[0] in _CONSTANTS)
    return next(token.start() for token in tokens)


def parse_integer(text: str, bits: int) -> int | None:
    """Read a whole number that fits in `bits`: `7`, `1.0`, `1e3`; else None.

    As in Backrest the value counts, not the spelling: `3.5`, an overflow, a
    sign `+`, leading zeros and blanks are no whole number.
    """
    if text.isascii() and text.isdigit() and len(text) < _FEW_DIGITS and text[0] != "0":
        return int(text)
    match = _NUMBER.match(text)
    if match is None:
        return None
    sign, whole, fraction, exponent = match.groups()
    digits = _shift(whole.lstrip("0"), (fraction or "").rstrip("0"), exponent or "0")
    if digits is None:
        return None
    value = -int(digits) if sign else int(digits)
    return value if -(1 << bits - 1) <= value < 1 << bits - 1 else None


def _shift(whole: str, fraction: str, exponent: str) -> str | None:
    """Return the digits after moving the point by `exponent`; None if any stay behind it."""
    if not whole and not fraction:
        return "0"
    if len(exponent) > _MAX_EXPONENT_DIGITS:
        return None
    power = int(exponent)
    if not -(1 << 31) <= power < 1 << 31:
        return None
    if power < 0:
        return _drop_digits(whole, fraction, -power)
    if len(fraction) > power or len(whole) + power > _MAX_DIGITS:
        return None
    return whole + fraction + "0" * (power - len(fraction))


def _drop_digits(whole: str, fraction: str, places: int) -> str | None:
    if fraction or places > len(whole):
        return None
    kept, gone = whole[: len(whole) - places], whole[len(whole) - places :]
    return None if gone.strip("0") else kept or "0"


def is_double(text: str) -> bool:
    """Return whether `text` is a number that a 64-bit float can hold."""
    return _NUMBER.match(text) is not None and abs(float(text)) != float("inf")
