"""The syntax of list labels: commas, quotes, JSON."""

import json
import re
from collections.abc import Collection, Sequence
from itertools import pairwise

from sidecar.backrest.backup_flags import MOST_ANY_DEPTH
from sidecar.lib.text import SpecInvalid, quoted

LARGEST_LABEL = 1 << 16
"""The most bytes of a label, those of its indexed ones together."""

_QUOTES = "\"'"
_ESCAPED = frozenset({'"', "'", "\\"})
_JSON = re.compile(r"\[\s*[\"\]]")
_ATTEMPT = re.compile(r"\[\s*['/]")
_LINE_END = re.compile(r"\r\n|\r|\n")
_BULLET = re.compile(r"^\s*-(?:\s+|$)")
_BRACKETS_HINT = 'write it without brackets, %sseparated by commas, or as JSON: ["a", "b"]'
# A path component as Go's filepath.Match reads it, by which restic matches: characters, `\\` and
# a character, and sets of characters and ranges, which are not empty.
_SET_CHARACTER = r"(?:[^\\\-\]]|\\.)"
_COMPONENT = re.compile(
    rf"(?:[^\\\[]|\\.|\[\^?+(?:{_SET_CHARACTER}(?:-{_SET_CHARACTER})?)+\])*+", re.DOTALL
)
_NO_NEGATION = re.compile(r"(?<!\\)\[!")
_INDEXED_HINT = "write each item as a label of its own: NAME.0, NAME.1, ..."


def parse_list(text: str, *, keep_quotes: bool, by_line: bool = True) -> tuple[str, ...]:
    """Split a list label's value into its items, empty ones left out.

    A value that starts with `["` or `[]` is JSON. Otherwise commas split, but not
    inside single or double quotes; `keep_quotes` says whether an item keeps the
    pair around it. With `by_line` a line end splits too, in quotes as well, and `- ` in
    front of a line is dropped. Raises SpecInvalid for an unclosed quote, bad JSON, what
    was meant as a list in brackets, and a value that is too large.
    """
    check_size((text,))
    if text.startswith("["):
        if _JSON.match(text):
            return _parse_json_list(text)
        if _is_attempted_list(text):
            hint = _BRACKETS_HINT % ("one item per line or " if by_line else "")
            raise SpecInvalid("the value is no list in brackets that we read", hint)
    lines = [_BULLET.sub("", line) for line in _LINE_END.split(text)] if by_line else [text]
    items = [item.strip() for line in lines for item in _items(line)]
    if not keep_quotes:
        items = [strip_quotes(item) for item in items]
    return tuple([item for item in items if item])


def check_size(texts: Collection[str]) -> None:
    """Raise SpecInvalid where a label is larger than it may be; nothing else looks at it then."""
    size = sum(map(len, texts))
    if 4 * size > LARGEST_LABEL < sum(len(text.encode(errors="replace")) for text in texts):
        raise SpecInvalid(
            f"the value is larger than {LARGEST_LABEL >> 10} KiB", "shorten it, or name a folder"
        )


def _items(line: str) -> Sequence[str]:
    if "," not in line and '"' not in line and "'" not in line:
        return (line,)
    return _split(line)


def _is_attempted_list(text: str) -> bool:
    first = text.find("]")
    return bool(_ATTEMPT.match(text)) or (first == len(text) - 1 and "," in text[:first])


def is_split_inside_lines(text: str) -> bool:
    """Return whether a comma splits a list of commands of which one has several lines.

    Only for a value that `parse_list` has split.
    """
    if "\n" not in text or _JSON.match(text):
        return False
    items = [item.strip() for item in _items(text)]
    return len(items) > 1 and any("\n" in item for item in items)


def parse_patterns(items: tuple[str, ...]) -> tuple[str, ...]:
    """Check exclude patterns; raises SpecInvalid for one with which nothing would be backed up.

    Restic refuses some, and for a `**` too many it would need for ever.
    """
    for item in items:
        parts = item.removeprefix("!").split("/")
        if parts.count("**") > MOST_ANY_DEPTH:
            raise SpecInvalid(
                f"the pattern {quoted(item)} has more than {MOST_ANY_DEPTH} parts that are **",
                "write fewer: `**` stands for any number of folders",
            )
        for part in parts:
            if not _COMPONENT.fullmatch(part):
                raise SpecInvalid(
                    f"restic cannot read the pattern {quoted(item)}",
                    r"close each [ with a ] that holds something, as [ab] or [a-z], and write \[ "
                    r"or \\ for the character itself",
                )
    return items


def has_wrong_negation(pattern: str) -> bool:
    """Return whether a set of characters begins with `!`, which restic takes for a character."""
    return _NO_NEGATION.search(pattern) is not None


def has_tight_comma(text: str) -> bool:
    """Return whether a comma that splits the value stands between two characters, as in `a,b`.

    Never raises: a value that cannot be split has none.
    """
    if "," not in text or _JSON.match(text):
        return False
    try:
        items = _split(text)
    except SpecInvalid:
        return False
    return any(left[-1:].strip() and right[:1].strip() for left, right in pairwise(items))


def strip_quotes(text: str) -> str:
    """Take off one surrounding pair of equal quotes."""
    if len(text) >= 2 and text[0] in _QUOTES and text[0] == text[-1]:
        return text[1:-1]
    return text


def _split(text: str) -> list[str]:
    items: list[str] = []
    quote, start, escaped = "", 0, False
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'" and text[position + 1 : position + 2] in _ESCAPED:
            # As in the shell: \" inside a command is a character, not a quote.
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        elif character == ",":
            items.append(text[start:position])
            start = position + 1
    if quote:
        raise SpecInvalid(f"a {quote} is never closed", _INDEXED_HINT)
    return [*items, text[start:]]


def _parse_json_list(text: str) -> tuple[str, ...]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        raise SpecInvalid("the value starts like a JSON list but is none", _INDEXED_HINT) from None
    if not all(isinstance(item, str) and _is_text(item) for item in items):
        raise SpecInvalid("the JSON list holds something other than strings", _INDEXED_HINT)
    return tuple(item for item in items if item.strip())


def _is_text(item: str) -> bool:
    # A lone surrogate escape is no character: it could not be written to the document.
    return not any("\ud800" <= character <= "\udfff" for character in item)
