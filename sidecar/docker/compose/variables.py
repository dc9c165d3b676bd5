"""Variables as Docker Compose reads them: the file `.env`, and `${NAME:-default}` in texts."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_SIGN = re.compile(r"\$(?:(?P<literal>\$)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<brace>\{))")
_WITHIN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])(.*))?", re.DOTALL)
# Defaults within defaults go no deeper than this in any file that a person wrote.
_MAX_DEPTH = 20

_KEY = re.compile(r"(?:export\s+)?([\w.\-\[\]]*)\s*([=:]|$)", re.ASCII)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


class VariableError(Exception):
    """A text that Compose refuses to resolve; the message quotes no value."""


class Resolved(NamedTuple):
    """A text with its variables replaced, and the names of those that have no value."""

    text: str
    unset: tuple[str, ...] = ()


def resolve(text: str, variables: Mapping[str, str]) -> Resolved:
    """Replace `$NAME`, `${NAME}` and the forms with `-`, `?`, `+`, and `$$` by `$`.

    A variable without value is the empty text, as it is for Compose. Any other dollar
    sign (`$5`) stays. Raises VariableError for what is no such form (`${}`), and for a
    `${NAME:?message}` without value.
    """
    return _resolved(text, variables, 0)


def _resolved(text: str, variables: Mapping[str, str], depth: int) -> Resolved:
    if depth > _MAX_DEPTH:
        raise VariableError("defaults are nested too deeply")
    parts: list[Resolved] = []
    place = 0
    while match := _SIGN.search(text, place):
        parts.append(Resolved(text[place : match.start()]))
        place = match.end()
        if match["literal"]:
            parts.append(Resolved("$"))
        elif match["name"]:
            parts.append(_plain(match["name"], variables))
        else:
            place = _closing(text, match.end())
            within = text[match.end() : place - 1]
            parts.append(_braced(within, variables, depth))
    unset = dict.fromkeys(name for part in parts for name in part.unset)
    return Resolved("".join(part.text for part in parts) + text[place:], tuple(unset))


def _closing(text: str, place: int) -> int:
    """Return where the text goes on after the brace that is open at `place`."""
    depth = 1
    for index in range(place, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index + 1
    raise VariableError("`${` has no end")


def _plain(name: str, variables: Mapping[str, str]) -> Resolved:
    return Resolved(variables[name]) if name in variables else Resolved("", (name,))


def _braced(within: str, variables: Mapping[str, str], depth: int) -> Resolved:
    match = _WITHIN.fullmatch(within)
    if match is None:
        raise VariableError("`${` is not followed by a name and `}`")
    name, operator, rest = match.groups()
    if operator is None:
        return _plain(name, variables)
    value = variables.get(name)
    # With a colon an empty value counts as none.
    has_value = bool(value) if operator[0] == ":" else value is not None
    if operator[-1] == "+":
        return _resolved(rest, variables, depth + 1) if has_value else Resolved("")
    if has_value:
        return Resolved(value or "")
    if operator[-1] == "?":
        told = _resolved(rest, variables, depth + 1).text
        raise VariableError(f"the required variable {name} has no value{told and f': {told}'}")
    return _resolved(rest, variables, depth + 1)


def read_dotenv(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Read the text of `.env`: `NAME=value`, quotes, comments, `${OTHER}`.

    `environment` is asked first for the variables in values, and for a name that stands
    alone. Raises VariableError, which names the line, as Compose refuses the whole file.
    """
    found: dict[str, str] = {}
    lines = iter(enumerate(text.removeprefix("\ufeff").split("\n"), 1))
    for number, line in lines:
        stripped = line.lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _KEY.match(stripped)
        if match is None:
            raise VariableError(f"line {number} is no NAME=value")
        name = match[1]
        if not match[2]:
            if name in environment:
                found[name] = environment[name]
            continue
        known = {**found, **environment}
        try:
            found[name] = _value(stripped[match.end() :].lstrip(), lines, known)
        except VariableError as error:
            raise VariableError(f"line {number}: {error}") from None
    return found


def _value(written: str, lines: Iterator[tuple[int, str]], variables: Mapping[str, str]) -> str:
    quote = written[:1]
    if quote not in ("'", '"'):
        return resolve(written.partition(" #")[0].rstrip(), variables).text
    text = written[1:]
    while (end := _end_of(text, quote)) is None:
        following = next(lines, None)
        if following is None:
            raise VariableError("a quote has no end")
        text += "\n" + following[1]
    inside = text[:end]
    if quote == "'":
        return inside.replace("\\'", "'")
    # A dollar sign behind a backslash is a literal one, which is written twice.
    unescaped = _ESCAPED.sub(lambda match: _unescaped(match[1]), inside)
    return resolve(unescaped, variables).text


def _unescaped(character: str) -> str:
    return _ESCAPES.get(character, f"\\{character}")


def _end_of(text: str, quote: str) -> int | None:
    escaped = False
    for index, character in enumerate(text):
        if character == quote and not escaped:
            return index
        escaped = character == "\\" and not escaped
    return None
