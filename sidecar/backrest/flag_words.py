"""An entry of flags → its words, as Backrest splits it."""

import re
from typing import Final

# A piece of an entry of flags: white space, or a part of a word.
_PIECE: Final = re.compile(
    r"""(?P<blank>[ \t\r\n]+)|\\(?P<escaped>.)|'(?P<single>[^']*)'|"""
    r""""(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>[^ \t\r\n\\'"]+)""",
    re.DOTALL,
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def split_entry(entry: str) -> tuple[str, ...] | None:
    """Split an entry of flags into words by the rules of google/shlex, which Backrest uses.

    They are not those of Python's `shlex`: a word that begins with `#` starts a comment, to the
    end of the line, and within double quotes a backslash escapes every character. Return None
    for what is left open: a quote, or a last backslash.
    """
    words: list[str] = []
    word: str | None = None
    position = 0
    while position < len(entry):
        if word is None and entry[position] == "#":
            end = entry.find("\n", position)
            position = len(entry) if end < 0 else end
            continue
        piece = _PIECE.match(entry, position)
        if piece is None:
            return None
        position = piece.end()
        if piece["blank"] is None:
            word = (word or "") + _text_of(piece)
        elif word is not None:
            words.append(word)
            word = None
    return tuple(words) if word is None else (*words, word)


def _text_of(piece: re.Match[str]) -> str:
    if piece["double"] is not None:
        return _ESCAPED.sub(r"\1", piece["double"])
    return next(filter(None, piece.group("escaped", "single", "plain")), "")
