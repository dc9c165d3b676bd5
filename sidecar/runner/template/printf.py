"""Format values by Go's `printf`: the format is checked when the template is read. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.lib.text import counted
from sidecar.runner.template import go
from sidecar.runner.template.lexer import TemplateFault
from sidecar.runner.template.names import SHOWN
from sidecar.runner.template.values import Type, Typed, Values

_VERB = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>\d{0,3})(?:\.(?P<precision>\d{0,3}))?(?P<verb>.)", re.DOTALL
)
_WHOLE = {"d": "d", "x": "x", "X": "X", "o": "o", "b": "b", "v": "d"}
_FLOATS = {"e": "e", "E": "E", "f": "f", "F": "f", "g": "g", "G": "G", "v": "g"}
_SIGNS = "+ "
_HINT = "use %v, or for texts %s %q %x, for numbers %d %x, for numbers with a fraction %f %e %g"

Show = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class FormatVerb:
    """One verb of a format, `%-8.3s`; `precision` None: there is none."""

    letter: str
    flags: str = ""
    width: int = 0
    precision: int | None = None
    position: int = 0

    def pad(self, text: str) -> str:
        """Fill a text up to the width, on the left unless the flag `-` is there."""
        return text.ljust(self.width) if "-" in self.flags else text.rjust(self.width)


def bind_printf(format_: Typed, arguments: Sequence[Typed]) -> Callable[[Values], str]:
    """Return what formats these arguments.

    Raises TemplateFault for what Go would mark as a mistake in the text (`%!d(string=x)`), and for
    a format that is not known when the template is read.
    """
    if format_.literal is None:
        raise TemplateFault(format_.position, "the format of printf is no text in quotes")
    plain, verbs = _split(format_.literal, format_.position)
    if len(verbs) != len(arguments):
        message = f"printf has {counted(len(verbs), 'verb')} for {counted(len(arguments), 'value')}"
        raise TemplateFault(format_.position, message)
    shows = [
        (_show(verb, argument), argument) for verb, argument in zip(verbs, arguments, strict=True)
    ]

    def render(values: Values) -> str:
        parts = [show(argument.evaluate(values)) for show, argument in shows]
        return "".join(a + b for a, b in zip(plain, [*parts, ""], strict=True))

    return render


def _split(text: str, position: int) -> tuple[list[str], list[FormatVerb]]:
    """Split a format into the texts around its verbs, one more than those, and the verbs."""
    plain, verbs, end = [""], list[FormatVerb](), 0
    while (start := text.find("%", end)) >= 0:
        found = _VERB.match(text, start)
        if found is None:
            raise TemplateFault(position, "a verb of printf is not complete, or not supported")
        plain[-1] += text[end:start]
        end = found.end()
        if found["verb"] == "%":
            plain[-1] += "%"
            continue
        precision = found["precision"]
        number = None if precision is None else int(precision or "0")
        width = int(found["width"] or "0")
        flags = _effective(found["flags"], found["verb"])
        verbs.append(FormatVerb(found["verb"], flags, width, number, position))
        plain.append("")
    plain[-1] += text[end:]
    return plain, verbs


def _effective(flags: str, letter: str) -> str:
    """Return the flags that count: what stands on the left is not filled, and %+v is %v."""
    ignored = ("0" if "-" in flags else "") + ("+" if letter == "v" else "")
    return "".join(flag for flag in flags if flag not in ignored)


def _show(verb: FormatVerb, argument: Typed) -> Show:
    """Return what writes a value of a type by a verb. Raises TemplateFault if it cannot."""
    if argument.type is Type.EITHER:
        return _show_either(verb, argument)
    show = _SHOWS.get(argument.type)
    found = None if show is None else show(verb, argument.type)
    if found is None:
        what = f"printf cannot write {argument.type.value} by %{verb.flags}{verb.letter}"
        raise TemplateFault(argument.position, what, _HINT)
    return found


def _show_either(verb: FormatVerb, argument: Typed) -> Show:
    if verb != FormatVerb("v", position=verb.position):
        raise TemplateFault(argument.position, f"printf writes {argument.type.value} by %v only")
    return SHOWN[Type.EITHER]


def _text(verb: FormatVerb, _: Type) -> Show | None:
    """Write a text; width and precision count characters."""
    if verb.flags.strip("-"):
        return None
    if verb.letter in "xX":
        if verb.precision is not None:
            return None
        upper = verb.letter == "X"
        return lambda text: verb.pad(_hex(text, is_upper=upper))
    if verb.letter not in "svq":
        return None
    cut = slice(verb.precision)
    if verb.letter == "q":
        return lambda text: verb.pad(go.quote(text[cut]))
    return lambda text: verb.pad(text[cut])


def _hex(text: str, *, is_upper: bool) -> str:
    found = text.encode("utf-8", "surrogateescape").hex()
    return found.upper() if is_upper else found


def _number(verb: FormatVerb, _: Type) -> Show | None:
    if verb.letter not in _WHOLE or verb.precision is not None or "#" in verb.flags:
        return None
    spec = _spec(verb, _WHOLE[verb.letter])
    return lambda number: format(number, spec)


def _fraction(verb: FormatVerb, _: Type) -> Show | None:
    if verb.letter not in _FLOATS or "#" in verb.flags:
        return None
    if verb.letter in "gGv" and verb.precision is None:
        return _shortest(verb)
    spec = _spec(verb, _FLOATS[verb.letter])
    return lambda number: format(number, spec)


def _shortest(verb: FormatVerb) -> Show | None:
    """Write the digits that tell it from all other numbers, which Python has no format for."""
    if verb.letter == "G" or "0" in verb.flags:
        return None
    sign = next((flag for flag in _SIGNS if flag in verb.flags), "")

    def show(number: float) -> str:
        text = go.show_float(number)
        return verb.pad(text if text.startswith("-") else sign + text)

    return show


def _spec(verb: FormatVerb, kind: str) -> str:
    """Return Python's format of a number."""
    sign = next((flag for flag in _SIGNS if flag in verb.flags), "-")
    side = "<" if "-" in verb.flags else "=" if "0" in verb.flags else ">"
    fill = "0" if side == "=" else " "
    precision = "" if verb.precision is None else f".{verb.precision}"
    return f"{fill}{side}{sign}{verb.width or ''}{precision}{kind}"


def _truth(verb: FormatVerb, kind: Type) -> Show | None:
    if verb.letter not in "tv" or verb.flags.strip("-"):
        return None
    return lambda value: verb.pad(SHOWN[kind](value))


def _shown(verb: FormatVerb, kind: Type) -> Show | None:
    """Write what has words of its own: those, as a text, or by `%d` its number."""
    if verb.letter == "d" and kind is not Type.TIME:
        return _number(verb, kind)
    show = _text(verb, kind)
    return None if show is None else lambda value: show(SHOWN[kind](value))


def _list(verb: FormatVerb, kind: Type) -> Show | None:
    """Write each text of a list by the verb, in square brackets."""
    show = _text(verb, kind)
    return None if show is None else lambda texts: go.show_texts([show(text) for text in texts])


_SHOWS: Final[Mapping[Type, Callable[[FormatVerb, Type], Show | None]]] = {
    Type.TEXT: _text,
    Type.NUMBER: _number,
    Type.FRACTION: _fraction,
    Type.TRUTH: _truth,
    Type.TIME: _shown,
    Type.DURATION: _shown,
    Type.EVENT: _shown,
    Type.LIST: _list,
}
