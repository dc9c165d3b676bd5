"""JSON as written: decoding that keeps number spellings and tells where things stand.

The document is not ours, so values are only read here; edits are made on the
text itself (`model.document`), never by encoding a decoded tree.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn


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
            keys = [key for key, _ in pairs]
            self.repeated = tuple(sorted({key for key in keys if keys.count(key) > 1}))


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
_SPACE = re.compile(r"[ \t\n\r]*")


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
    """Give the members that begin before `limit`, from a bracket or another's end on.

    `keyed`: they are those of an object. As `members`, for well-formed JSON only.
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


def _next_member(text: str, position: int) -> int:
    position = skip_space(text, position)
    return skip_space(text, position + 1) if text[position] == "," else position


def value_at(text: str, position: int) -> tuple[Any, int]:
    """Decode the value that begins at `position`; give it and where it ends."""
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise NotJson(error.msg, error.pos) from None
    except RecursionError:
        raise NotJson("nested too deep", position) from None
    except ValueError as error:
        raise NotJson(str(error), position) from None
