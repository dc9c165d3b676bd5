"""The syntax of list labels: commas, quotes, JSON."""

import json
from itertools import pairwise

from sidecar.lib.text import SpecInvalid

_QUOTES = "\"'"
_ESCAPED = frozenset({'"', "'", "\\"})
_INDEXED_HINT = "write each item as a label of its own: NAME.0, NAME.1, ..."


def parse_list(text: str, *, keep_quotes: bool) -> tuple[str, ...]:
    """Split a list label's value into its items, empty ones left out.

    A value that starts with `["` or `[]` is JSON. Otherwise commas split, but not
    inside single or double quotes; `keep_quotes` says whether an item keeps the
    pair around it. Raises SpecInvalid for an unclosed quote or bad JSON.
    """
    if text.startswith(('["', "[]")):
        return _parse_json_list(text)
    if "," not in text and '"' not in text and "'" not in text:
        return (text,) if text else ()
    items = (item.strip() for item in _split(text))
    if not keep_quotes:
        items = (strip_quotes(item) for item in items)
    return tuple(item for item in items if item)


def has_tight_comma(text: str) -> bool:
    """Return whether a comma that splits the value stands between two characters, as in `a,b`.

    Never raises: a value that cannot be split has none.
    """
    if "," not in text or text.startswith(('["', "[]")):
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
