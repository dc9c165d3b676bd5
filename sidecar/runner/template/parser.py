"""Parse the tokens of a template into a tree. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sidecar.runner.template.lexer import Lexeme, TemplateFault, Token, read_tokens

_MOST_NESTED = 50
_ENDS = (Token.RIGHT, Token.CLOSE, Token.PIPE)
_FOREIGN = frozenset({"range", "with", "define", "template", "block", "break", "continue", "nil"})
_HINT = "use fields, if, else, and functions such as eq, and, or, not, printf, js"
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_BITS = 63
_ESCAPE = re.compile(
    r"\\(?:(?P<plain>[abfnrtv\\\"])|x(?P<x>[0-9a-fA-F]{2})|(?P<o>[0-7]{3})"
    r"|u(?P<u>[0-9a-fA-F]{4})|U(?P<l>[0-9a-fA-F]{8})|(?P<bad>.))"
)
_PLAIN = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}
_ASCII, _LAST_CHARACTER, _SURROGATES = 0x80, 0x10FFFF, range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, a number or a truth value that is written in the template."""

    value: str | int | bool
    position: int


@dataclass(frozen=True, slots=True)
class FieldNode:
    """A field as it is written, `.Plan.Id`, with the arguments that follow it, for methods."""

    path: str
    arguments: tuple["Expression", ...]
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    name: str
    arguments: tuple["Expression", ...]
    position: int


Expression = Literal | FieldNode | Call


@dataclass(frozen=True, slots=True)
class Plain:
    """Text that is put out unchanged."""

    text: str


@dataclass(frozen=True, slots=True)
class OutputNode:
    """A value that is put out."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class IfNode:
    """An `if`: what is put out if the condition is true, and if not."""

    condition: Expression
    then: tuple["Node", ...]
    otherwise: tuple["Node", ...]


Node = Plain | OutputNode | IfNode


def parse_tree(text: str) -> tuple[Node, ...]:
    """Parse a template. Raises TemplateFault."""
    parser = _Parser(read_tokens(text))
    nodes, _ = parser.nodes(0)
    return nodes


class _Parser:
    def __init__(self, tokens: Iterator[Lexeme]) -> None:
        self._tokens = tokens
        self._now = next(tokens)

    def nodes(self, depth: int, since: int = 0) -> tuple[tuple[Node, ...], str]:
        """Parse up to the `else` or `end` that belongs to it, or the end of the text.

        `since` is the position of the `if`.
        """
        found: list[Node] = []
        while not self._is_at(Token.END):
            if self._is_at(Token.PLAIN):
                found.append(Plain(self._take().text))
                continue
            self._take()
            self._skip()
            word = self._now.text if self._is_at(Token.NAME) else ""
            if word in ("else", "end"):
                return tuple(found), self._closing(word, depth)
            found.append(self._choice(depth + 1) if word == "if" else self._output())
        if depth:
            raise TemplateFault(since, "an if has no end", "write {{ end }}")
        return tuple(found), ""

    def _closing(self, word: str, depth: int) -> str:
        where = self._take().position
        if not depth:
            raise TemplateFault(where, f"{word} stands without an if")
        self._skip()
        if word == "end":
            self._close()
        return word

    def _choice(self, depth: int) -> IfNode:
        """Parse from the `if` on; `else if` is a choice within the other branch."""
        where = self._take().position
        if depth > _MOST_NESTED:
            raise TemplateFault(where, f"more than {_MOST_NESTED} ifs stand in each other")
        condition = self._pipeline(0)
        self._close()
        then, word = self.nodes(depth, where)
        if word == "end":
            return IfNode(condition, then, ())
        if self._is_at(Token.NAME) and self._now.text == "if":
            return IfNode(condition, then, (self._choice(depth + 1),))
        if self._is_at(Token.NAME):
            raise _refusal(self._now)
        self._close()
        otherwise, word = self.nodes(depth, where)
        if word == "else":
            raise TemplateFault(self._now.position, "an if has more than one else")
        return IfNode(condition, then, otherwise)

    def _output(self) -> OutputNode:
        expression = self._pipeline(0)
        self._close()
        return OutputNode(expression)

    def _pipeline(self, depth: int) -> Expression:
        """Parse commands joined by |: what comes before is the last argument of what follows."""
        found = self._command(depth, None)
        while self._is_at(Token.PIPE):
            self._take()
            found = self._command(depth, found)
        return found

    def _command(self, depth: int, piped: Expression | None) -> Expression:
        self._skip()
        first = self._now
        if first.token is Token.NAME and first.text not in ("true", "false"):
            self._take()
            return self._call(first, (*self._arguments(depth), *_given(piped)))
        head = self._operand(depth)
        arguments = (*self._arguments(depth), *_given(piped))
        if isinstance(head, FieldNode) and first.token is Token.FIELD:
            return FieldNode(head.path, (*head.arguments, *arguments), head.position)
        if arguments:
            raise TemplateFault(
                first.position, "a value is given arguments, as if it were a function"
            )
        return head

    def _arguments(self, depth: int) -> Iterator[Expression]:
        while self._is_at(Token.SPACE):
            self._skip()
            if self._is_at(*_ENDS):
                return
            yield self._operand(depth)
        if not self._is_at(*_ENDS):
            raise TemplateFault(
                self._now.position, "two values stand side by side", "put a blank between"
            )

    def _operand(self, depth: int) -> Expression:
        lexeme = self._take()
        match lexeme.token:
            case Token.TEXT:
                return Literal(_unquote(lexeme), lexeme.position)
            case Token.NUMBER:
                return Literal(_integer(lexeme), lexeme.position)
            case Token.FIELD:
                return self._field(lexeme)
            case Token.NAME if lexeme.text in ("true", "false"):
                return Literal(lexeme.text == "true", lexeme.position)
            case Token.OPEN:
                return self._group(lexeme, depth + 1)
        if lexeme.token is Token.NAME:
            raise _refusal(lexeme)
        raise TemplateFault(lexeme.position, "a value is missing here")

    def _field(self, lexeme: Lexeme) -> FieldNode:
        path = lexeme.text
        while self._is_at(Token.FIELD):
            path += self._take().text
        return FieldNode(path, (), lexeme.position)

    def _group(self, lexeme: Lexeme, depth: int) -> Expression:
        if depth > _MOST_NESTED:
            raise TemplateFault(
                lexeme.position, f"more than {_MOST_NESTED} brackets stand in each other"
            )
        found = self._pipeline(depth)
        if self._take().token is not Token.CLOSE:
            raise TemplateFault(lexeme.position, "a bracket is not closed")
        if self._is_at(Token.FIELD):
            raise TemplateFault(
                self._now.position, "a field of a value in brackets is not supported"
            )
        return found

    def _call(self, lexeme: Lexeme, arguments: tuple[Expression, ...]) -> Call:
        if lexeme.text in _FOREIGN:
            raise _refusal(lexeme)
        return Call(lexeme.text, arguments, lexeme.position)

    def _close(self) -> None:
        self._skip()
        if not self._is_at(Token.RIGHT):
            raise TemplateFault(self._now.position, "more stands in this action than belongs there")
        self._take()

    def _is_at(self, *tokens: Token) -> bool:
        return self._now.token in tokens

    def _skip(self) -> None:
        if self._is_at(Token.SPACE):
            self._take()

    def _take(self) -> Lexeme:
        taken = self._now
        if taken.token is not Token.END:
            self._now = next(self._tokens)
        return taken


def _refusal(lexeme: Lexeme) -> TemplateFault:
    return TemplateFault(lexeme.position, f"{lexeme.text[:30]} is not supported here", _HINT)


def _given(piped: Expression | None) -> tuple[Expression, ...]:
    return () if piped is None else (piped,)


def _integer(lexeme: Lexeme) -> int:
    if not _INTEGER.fullmatch(lexeme.text):
        raise TemplateFault(
            lexeme.position, "this number is not supported", "write whole numbers, as 1000"
        )
    number = int(lexeme.text) if len(lexeme.text) < _BITS else 1 << _BITS
    if not -(1 << _BITS) <= number < 1 << _BITS:
        raise TemplateFault(lexeme.position, "this number is too large")
    return number


def _unquote(lexeme: Lexeme) -> str:
    inner = lexeme.text[1:-1]
    if lexeme.text[0] == "`":
        return inner.replace("\r", "")
    return _ESCAPE.sub(lambda found: _unescape(found, lexeme.position), inner)


def _unescape(found: re.Match[str], position: int) -> str:
    if found["plain"]:
        return _PLAIN[found["plain"]]
    small = found["x"] or found["o"]
    code = (
        int(small, 16 if found["x"] else 8) if small else int(found["u"] or found["l"] or "0", 16)
    )
    limit = _ASCII if small else _LAST_CHARACTER + 1
    if found["bad"] or code >= limit or code in _SURROGATES:
        message = "an escape in a text in double quotes is not supported"
        raise TemplateFault(position, message, r"use \n, \t, \", \\ or \uXXXX, or back quotes")
    return chr(code)
