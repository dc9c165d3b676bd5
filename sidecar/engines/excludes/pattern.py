"""One exclude pattern as restic reads it: components that are compared with those of a path. Pure.

Restic matches each component by the rules of Go's `filepath.Match`, on bytes:

- `?` and a set (`[a-z]`, `[^a-z]`) take one character of UTF-8. A byte that belongs to none is a
  character by itself, which sets know as U+FFFD.
- `*` takes bytes: it may end within a character, whose rest is then taken byte by byte.
- What stands between two `*` is sought once, at the first place where it fits.
- A backslash lets the next character stand for itself, in sets too.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Final, NamedTuple

from sidecar.backrest.backup_flags import MOST_ANY_DEPTH
from sidecar.lib.text import SpecInvalid, is_utf8, quoted

_HINT: Final = (
    r"close each [ with a ] that holds something, as [ab] or [a-z], and write \[ or \\ for the "
    "character itself"
)
_CHARACTER: Final = (
    rb"[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]"
    rb"|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}"
    rb"|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_ANY_CHARACTER: Final = rb"(?>%b|[\x00-\xff])" % _CHARACTER
_INVALID_BYTE: Final = rb"(?!%b)[\x00-\xff]" % _CHARACTER
_REPLACEMENT: Final = 0xFFFD
# Code points by the length of their UTF-8; surrogates have none.
_LENGTHS: Final = (
    (0x0, 0x7F),
    (0x80, 0x7FF),
    (0x800, 0xD7FF),
    (0xE000, 0xFFFF),
    (0x10000, 0x10FFFF),
)
_ESCAPES: Final = re.compile("[\udc80-\udcff]")
# Python lowers these by more than one character, or by what stands beside them.
_LOWERED: Final = str.maketrans("\u0130\u03a3", "i\u03c3")


class Kind(Enum):
    """How a component is compared with a name."""

    LITERAL = "literal"
    """The name is `text`."""
    PREFIX = "prefix"
    """The name begins with `text`."""
    SUFFIX = "suffix"
    """The name ends with `text`."""
    GLOB = "glob"
    """The regular expression `text` matches the beginning of the name, up to its end."""
    ANY_DEPTH = "any-depth"
    """`**`: any number of names, none too."""


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a pattern; every name that it matches, in Latin-1, holds `needed`."""

    kind: Kind
    text: bytes = b""
    needed: str = ""


_ANY_DEPTH: Final = Component(Kind.ANY_DEPTH)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern.

    Attributes:
        components: what is between the slashes; none for `/`.
        is_absolute: whether it begins at the root; else at any component of a path.
        is_negated: whether it takes back what patterns before it matched.
        has_debts: whether restic, which tries `**` from the left, has each `**` but the first
            owe a name: if it matches none, the path has to have one more beside what the
            pattern matches. So `/a/**/b/**` matches what is in `b`, but not `b` itself.
    """

    components: tuple[Component, ...]
    is_absolute: bool = False
    is_negated: bool = False
    has_debts: bool = False


def parse_pattern(text: str) -> Pattern:
    """Return a pattern; raise SpecInvalid for one that restic refuses.

    Restic overlooks some faults behind a star; here they are refused, too. Where a backup of restic
    comes upon one, no pattern counts.
    """
    bare = text.removeprefix("!")
    cleaned = posixpath.normpath(bare)
    is_absolute = cleaned.startswith("/")
    try:
        components = [_component(name) for name in cleaned.split("/") if name]
    except ValueError:
        raise SpecInvalid(f"restic cannot read the pattern {quoted(text)}", _HINT) from None
    if components.count(_ANY_DEPTH) > MOST_ANY_DEPTH:
        message = f"the pattern {quoted(text)} has more than {MOST_ANY_DEPTH} parts that are **"
        raise SpecInvalid(message, "write fewer: restic tries all that they may mean together")
    # A relative pattern has one name more beside it at any place: the root.
    has_debts = components.count(_ANY_DEPTH) >= (2 if is_absolute else 3)
    if not has_debts:
        components = _simplified(components, is_absolute=is_absolute)
    return Pattern(tuple(components), is_absolute, bare != text, has_debts)


def _simplified(components: list[Component], *, is_absolute: bool) -> list[Component]:
    """Leave out each `**` that changes nothing: at the end, twice, before what may be anywhere."""
    kept: list[Component] = []
    for component in components:
        before = kept[-1] if kept else None if is_absolute else _ANY_DEPTH
        if component != _ANY_DEPTH or before != _ANY_DEPTH:
            kept.append(component)
    if kept[-1:] == [_ANY_DEPTH]:
        kept.pop()
    return kept if kept or is_absolute else [Component(Kind.PREFIX)]


def lowered(name: bytes) -> bytes:
    """Return a name in lower case, character by character, as restic lowers it.

    A byte that is no UTF-8 becomes U+FFFD, unless all bytes are ASCII.
    """
    if name.isascii():
        return name.lower()
    return lowered_text(name.decode(errors="surrogateescape")).encode()


def lowered_text(text: str) -> str:
    """Return a text in lower case like `lowered`."""
    return _ESCAPES.sub(chr(_REPLACEMENT), text.translate(_LOWERED).lower())


class _Piece(NamedTuple):
    """A part of a component: bytes that stand for themselves, or a regular expression."""

    text: bytes
    is_literal: bool

    @property
    def expression(self) -> bytes:
        return re.escape(self.text) if self.is_literal else self.text


def _component(name: str) -> Component:
    if name == "**":
        return _ANY_DEPTH
    chunks = _split_at_stars(name)
    if all(piece.is_literal for chunk in chunks for piece in chunk):
        texts = [b"".join(piece.text for piece in chunk) for chunk in chunks]
        if len(texts) == 1:
            return Component(Kind.LITERAL, texts[0])
        if len(texts) == 2 and not texts[1]:
            return Component(Kind.PREFIX, texts[0])
        if len(texts) == 2 and not texts[0]:
            return Component(Kind.SUFFIX, texts[1])
    first, *others = [b"".join(piece.expression for piece in chunk) for chunk in chunks]
    between = [rb"(?>.*?%b)" % chunk for chunk in others[:-1]]
    last = [rb".*?%b" % chunk for chunk in others[-1:] if chunk]
    ends = [rb"\Z"] if last or not others else []
    needed = max((_longest_literal(chunk) for chunk in chunks), key=len)
    return Component(Kind.GLOB, b"".join([first, *between, *last, *ends]), needed.decode("latin-1"))


def _longest_literal(chunk: list[_Piece]) -> bytes:
    """Return the longest of the literals that follow each other in a chunk."""
    runs = groupby(chunk, key=lambda piece: piece.is_literal)
    texts = [b"".join(piece.text for piece in run) for is_literal, run in runs if is_literal]
    return max(texts, key=len, default=b"")


def _split_at_stars(name: str) -> list[list[_Piece]]:
    """Return the pieces of a component, split where stars are; raise ValueError if it is none."""
    chunks: list[list[_Piece]] = [[]]
    position = 0
    while position < len(name):
        sign = name[position]
        if sign == "*":
            if chunks[-1] or len(chunks) == 1:
                chunks.append([])
            position += 1
        elif sign == "?":
            chunks[-1].append(_Piece(_ANY_CHARACTER, is_literal=False))
            position += 1
        elif sign == "[":
            expression, position = _read_set(name, position + 1)
            chunks[-1].append(_Piece(expression, is_literal=False))
        else:
            literal, position = _read_literal(name, position)
            chunks[-1].append(_Piece(literal, is_literal=True))
    return chunks


def _read_literal(name: str, position: int) -> tuple[bytes, int]:
    if name[position] == "\\":
        position += 1
    if position == len(name):
        raise ValueError(name)
    return name[position].encode(errors="surrogateescape"), position + 1


def _read_set(name: str, position: int) -> tuple[bytes, int]:
    """Return the expression of a set that begins here, and where it ends."""
    is_negated = name.startswith("^", position)
    position += is_negated
    ranges: list[tuple[int, int]] = []
    while not (ranges and name.startswith("]", position)):
        low, position = _read_bound(name, position)
        high = low
        if name.startswith("-", position):
            high, position = _read_bound(name, position + 1)
        ranges.append((low, high))
    kinds = [kind for low, high in ranges for kind in _expressions(low, high)]
    expression = b"(?:%b)" % b"|".join(kinds) if kinds else b"(?!)"
    if is_negated:
        expression = b"(?!%b)%b" % (expression, _ANY_CHARACTER)
    return expression, position + 1


def _read_bound(name: str, position: int) -> tuple[int, int]:
    """Return a character of a set and the place after it, where the set cannot end unclosed."""
    sign = name[position : position + 1]
    if sign == "\\":
        position += 1
        sign = name[position : position + 1]
    elif sign in {"-", "]"}:
        raise ValueError(name)
    if not sign or not is_utf8(sign) or position + 1 == len(name):
        raise ValueError(name)
    return ord(sign), position + 1


def _expressions(low: int, high: int) -> Iterator[bytes]:
    """Yield expressions for the characters from `low` to `high`; none if there are none."""
    if low <= _REPLACEMENT <= high:
        yield _INVALID_BYTE
    for first, last in _LENGTHS:
        start, end = max(low, first), min(high, last)
        if start <= end:
            yield from _sequences(chr(start).encode(), chr(end).encode())


def _sequences(low: bytes, high: bytes) -> Iterator[bytes]:
    """Yield expressions for the byte strings from `low` to `high` that are UTF-8 of that length."""
    if len(low) == 1:
        yield rb"[\x%02x-\x%02x]" % (low[0], high[0])
        return
    rest = len(low) - 1
    if low[0] == high[0]:
        yield from (rb"\x%02x" % low[0] + tail for tail in _sequences(low[1:], high[1:]))
        return
    yield from (rb"\x%02x" % low[0] + tail for tail in _sequences(low[1:], b"\xbf" * rest))
    if high[0] - low[0] > 1:
        yield rb"[\x%02x-\x%02x][\x80-\xbf]{%d}" % (low[0] + 1, high[0] - 1, rest)
    yield from (rb"\x%02x" % high[0] + tail for tail in _sequences(b"\x80" * rest, high[1:]))
