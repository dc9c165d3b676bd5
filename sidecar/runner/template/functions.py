"""The functions of Go's templates, with their types checked when a template is read. Pure."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from sidecar.runner.template import go
from sidecar.runner.template.lexer import TemplateFault
from sidecar.runner.template.names import SHOWN
from sidecar.runner.template.printf import bind_printf
from sidecar.runner.template.values import Either, Evaluate, Type, Typed, Values

_WHOLE = frozenset({Type.NUMBER, Type.EVENT, Type.DURATION})
_ORDERED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_MOST_BOUNDS = 2
_Made = tuple[Type, Evaluate]
_Arguments = tuple[Typed, ...]


def _equal(name: str, arguments: _Arguments, position: int) -> _Made:
    if len(arguments) < 2:
        raise TemplateFault(position, f"{name} takes two values or more, not {len(arguments)}")
    first, *others = (argument.evaluate for argument in arguments)
    for other in arguments[1:]:
        _check_comparable(arguments[0], other)
    # All are evaluated, as in Go: one of them may be an index that is out of range.
    return Type.TRUTH, lambda values: first(values) in [other(values) for other in others]


def _compare(name: str, arguments: _Arguments, position: int) -> _Made:
    if len(arguments) != 2:
        raise TemplateFault(position, f"{name} takes two values, not {len(arguments)}")
    first, second = arguments
    _check_comparable(first, second)
    if first.type is Type.TRUTH and name != "ne":
        raise TemplateFault(position, f"{name} cannot compare truth values")
    compare = _ORDERED[name]
    return Type.TRUTH, lambda values: compare(first.evaluate(values), second.evaluate(values))


def _check_comparable(first: Typed, second: Typed) -> None:
    if _class_of(first) != _class_of(second):
        message = f"{first.type.value} and {second.type.value} cannot be compared"
        is_event = Type.EVENT in (first.type, second.type)
        hint = 'write eq (.EventName .Event) "snapshot error"' if is_event else ""
        raise TemplateFault(second.position, message, hint)


def _class_of(typed: Typed) -> Type:
    if typed.type in _WHOLE:
        return Type.NUMBER
    if typed.type not in (Type.TEXT, Type.TRUTH, Type.FRACTION):
        raise TemplateFault(typed.position, f"{typed.type.value} cannot be compared")
    return typed.type


def _join(name: str, arguments: _Arguments, position: int) -> _Made:
    """`and` gives the first value that is empty, `or` the first that is not; else the last."""
    if not arguments:
        raise TemplateFault(position, f"{name} takes a value or more")
    kinds = {argument.type for argument in arguments}
    wanted = name == "or"

    def choose(values: Values) -> tuple[Type, Any]:
        kind, value = Type.TRUTH, None
        for argument in arguments:
            kind, value = argument.type, argument.evaluate(values)
            if bool(value) is wanted:
                break
        return kind, value

    def choose_either(values: Values) -> Either:
        kind, value = choose(values)
        return value if isinstance(value, Either) else Either(kind, value)

    if len(kinds) == 1:
        return kinds.pop(), lambda values: choose(values)[1]
    return (Type.EITHER if kinds <= SHOWN.keys() else Type.MIXED), choose_either


def _negate(name: str, arguments: _Arguments, position: int) -> _Made:
    only = _only(name, arguments, position).evaluate
    return Type.TRUTH, lambda values: not only(values)


def _only(name: str, arguments: _Arguments, position: int) -> Typed:
    if len(arguments) != 1:
        raise TemplateFault(position, f"{name} takes one value, not {len(arguments)}")
    return arguments[0]


def _print(name: str, arguments: _Arguments, _: int) -> _Made:
    """Join values as Go prints them: `print` with a blank between two that are no texts."""
    shown = _sprint(arguments)
    if name == "print":
        return Type.TEXT, shown
    shows = _shows(arguments)
    return Type.TEXT, lambda values: " ".join(show(values) for show in shows) + "\n"


def _shows(arguments: _Arguments) -> list[Callable[[Values], str]]:
    return [_show(argument) for argument in arguments]


def _show(argument: Typed) -> Callable[[Values], str]:
    show = SHOWN.get(argument.type)
    if show is None:
        raise TemplateFault(argument.position, f"{argument.type.value} cannot be shown")
    return lambda values: show(argument.evaluate(values))


def _sprint(arguments: _Arguments) -> Callable[[Values], str]:
    shows = _shows(arguments)

    def render(values: Values) -> str:
        parts, was_text = list[str](), True
        for argument, show in zip(arguments, shows, strict=True):
            is_text = _is_text(argument, values)
            parts.append(show(values) if is_text or was_text else f" {show(values)}")
            was_text = is_text
        return "".join(parts)

    return render


def _is_text(argument: Typed, values: Values) -> bool:
    if argument.type is Type.EITHER:
        return argument.evaluate(values).type is Type.TEXT
    return argument.type is Type.TEXT


def _printf(name: str, arguments: _Arguments, position: int) -> _Made:
    if not arguments:
        raise TemplateFault(position, f"{name} takes a format and values")
    return Type.TEXT, bind_printf(arguments[0], arguments[1:])


def _escape(escape: Callable[[str], str]) -> Callable[[str, _Arguments, int], _Made]:
    def make(_: str, arguments: _Arguments, __: int) -> _Made:
        shown = _sprint(arguments)
        return Type.TEXT, lambda values: escape(shown(values))

    return make


def _length(name: str, arguments: _Arguments, position: int) -> _Made:
    """Count the bytes of a text, or the texts of a list."""
    items = _items(name, _only(name, arguments, position))
    return Type.NUMBER, lambda values: len(items(values))


def _items(name: str, typed: Typed) -> Callable[[Values], Any]:
    """Return what gives the bytes of a text or the texts of a list."""
    if typed.type is Type.TEXT:
        return lambda values: go.to_bytes(typed.evaluate(values))
    if typed.type is Type.LIST:
        return typed.evaluate
    raise TemplateFault(typed.position, f"{name} cannot take {typed.type.value}")


def _counts(name: str, bounds: _Arguments) -> list[Evaluate]:
    for bound in bounds:
        if bound.type not in _WHOLE:
            raise TemplateFault(bound.position, f"{name} cannot count by {bound.type.value}")
    return [bound.evaluate for bound in bounds]


def _index(name: str, arguments: _Arguments, position: int) -> _Made:
    """Return the text of a list, or the byte of a text, with this number, from 0 on."""
    if not arguments:
        raise TemplateFault(position, f"{name} takes a list or a text, and numbers")
    found, *bounds = arguments
    for at in _counts(name, tuple(bounds)):
        kind = Type.TEXT if found.type is Type.LIST else Type.NUMBER
        found = Typed(kind, _item(_items(name, found), at, position), position)
    return found.type, found.evaluate


def _item(items: Callable[[Values], Any], at: Evaluate, position: int) -> Evaluate:
    def evaluate(values: Values) -> Any:
        held, number = items(values), at(values)
        if not 0 <= number < len(held):
            raise TemplateFault(position, f"index {number} is out of range of {len(held)}")
        return held[number]

    return evaluate


def _slice(name: str, arguments: _Arguments, position: int) -> _Made:
    """Return a part of a list or of the bytes of a text: from a number on, up to another."""
    if not 1 <= len(arguments) <= 1 + _MOST_BOUNDS:
        raise TemplateFault(position, f"{name} takes a list or a text, and at most two numbers")
    whole, *bounds = arguments
    items, counts = _items(name, whole), _counts(name, tuple(bounds))

    def evaluate(values: Values) -> Any:
        held = items(values)
        given = [count(values) for count in counts]
        start = given[0] if given else 0
        end = given[1] if len(given) > 1 else len(held)
        if not 0 <= start <= end <= len(held):
            message = f"slice {start} to {end} is out of range of {len(held)}"
            raise TemplateFault(position, message)
        return held[start:end] if whole.type is Type.LIST else go.to_text(held[start:end])

    return whole.type, evaluate


FUNCTIONS: Final[Mapping[str, Callable[[str, _Arguments, int], _Made]]] = {
    "eq": _equal,
    **dict.fromkeys(_ORDERED, _compare),
    "and": _join,
    "or": _join,
    "not": _negate,
    "print": _print,
    "println": _print,
    "printf": _printf,
    "html": _escape(go.escape_html),
    "js": _escape(go.escape_js),
    "urlquery": _escape(go.escape_query),
    "len": _length,
    "index": _index,
    "slice": _slice,
}
"""Name → function; it gets its name, arguments and position, and raises TemplateFault."""
