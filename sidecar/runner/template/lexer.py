"""Split a template into tokens, by the rules of Go's text/template. Pure."""

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

from sidecar.lib.errors import SidecarError

_BLANKS = " \t\r\n"
"""The characters that Go's templates treat as blanks."""

_LEFT, _RIGHT = "{{", "}}"
_TRIM = re.compile(r"-[ \t\r\n]")
_COMMENT_END = re.compile(r"(?:[ \t\r\n](-))?\}\}")
_BLANK = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(
    r"""(?P<right>[ \t\r\n]+-\}\}|\}\})
    |(?P<space>[ \t\r\n]+)
    |(?P<text>"(?:[^"\\\n]|\\[^\n])*"|`[^`]*`)
    |(?P<field>\.[^\W\d]\w*)
    |(?P<number>[+-]?[0-9][\w.]*)
    |(?P<name>[^\W\d]\w*)
    |(?P<pipe>\|)
    |(?P<open>\()
    |(?P<close>\))""",
    re.VERBOSE,
)
# What may follow a name or a field.
_TERMINATOR = re.compile(r"[ \t\r\n.,|:()]|\}\}|\Z")
_UNKNOWN = {
    "$": "variables ($) are not supported",
    ":": "variables are not supported",
    "=": "variables are not supported",
    "'": "characters in single quotes are not supported: write them in double quotes",
    ".": "the dot alone is not supported: write the name of a field, such as .Task",
    '"': "a text in double quotes is not closed on its line",
    "`": "a text in back quotes is not closed",
}


class TemplateError(SidecarError):
    """A template that cannot be used: what is wrong in `line`, and what to write instead."""

    def __init__(self, message: str, line: int, hint: str = "") -> None:
        super().__init__(message, hint)
        self.line = line


class TemplateFault(Exception):
    """A TemplateError of which only the position in the text is known yet."""

    def __init__(self, position: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.position = position
        self.message = message
        self.hint = hint


class Token(Enum):
    """The kinds of tokens of a template."""

    PLAIN = auto()
    LEFT = auto()
    RIGHT = auto()
    SPACE = auto()
    TEXT = auto()
    FIELD = auto()
    NUMBER = auto()
    NAME = auto()
    PIPE = auto()
    OPEN = auto()
    CLOSE = auto()
    END = auto()


class Lexeme(NamedTuple):
    """One token, its text and its position."""

    token: Token
    text: str
    position: int


def read_tokens(text: str) -> Iterator[Lexeme]:
    """Yield the tokens of a template without comments and trimmed blanks; END is the last.

    Raises TemplateFault.
    """
    position = 0
    while (left := text.find(_LEFT, position)) >= 0:
        inner = left + len(_LEFT)
        plain = text[position:left]
        if _TRIM.match(text, inner):
            plain = plain.rstrip(_BLANKS)
            inner += 2
        if plain:
            yield Lexeme(Token.PLAIN, plain, position)
        if text.startswith("/*", inner):
            position = _skip_comment(text, inner)
            continue
        yield Lexeme(Token.LEFT, _LEFT, left)
        position = inner
        while True:
            lexeme, position = _next(text, position, left)
            yield lexeme
            if lexeme.token is Token.RIGHT:
                break
    if position < len(text):
        yield Lexeme(Token.PLAIN, text[position:], position)
    yield Lexeme(Token.END, "", len(text))


def _next(text: str, position: int, left: int) -> tuple[Lexeme, int]:
    """Return one token inside an action, and where the next one begins."""
    if position >= len(text):
        raise TemplateFault(left, "an action is not closed", "write }} at its end")
    found = _TOKEN.match(text, position)
    if found is None or found.lastgroup is None:
        raise _unknown(text, position)
    token = Token[found.lastgroup.upper()]
    end = found.end()
    if token in (Token.FIELD, Token.NAME) and not _TERMINATOR.match(text, end):
        raise TemplateFault(
            end, "something stands right behind a name", "write a blank between them"
        )
    if token is Token.RIGHT and len(found[0]) > len(_RIGHT):
        end = _skip_blanks(text, end)
    return Lexeme(token, found[0], position), end


def _unknown(text: str, position: int) -> TemplateFault:
    known = _UNKNOWN.get(text[position])
    return TemplateFault(position, known or "a character that means nothing in an action")


def _skip_comment(text: str, start: int) -> int:
    end = text.find("*/", start + 2)
    if end < 0:
        raise TemplateFault(start, "a comment is not closed", "write */}} at its end")
    closed = _COMMENT_END.match(text, end + 2)
    if closed is None:
        raise TemplateFault(end, "something stands between the end of a comment and }}")
    return _skip_blanks(text, closed.end()) if closed[1] else closed.end()


def _skip_blanks(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    return found.end() if found else position
