"""Turn a template's tree into functions that render it, and check every type. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sidecar.runner.template.functions import FUNCTIONS
from sidecar.runner.template.lexer import TemplateError, TemplateFault
from sidecar.runner.template.names import FIELDS, METHODS, SHOWN
from sidecar.runner.template.parser import (
    Call,
    Expression,
    FieldNode,
    IfNode,
    Literal,
    Node,
    Plain,
    parse_tree,
)
from sidecar.runner.template.values import Type, Typed, Values

_Piece = Callable[[Values], str]
_MOST_NESTED = 50
_LITERALS: dict[type, Type] = {str: Type.TEXT, bool: Type.TRUTH, int: Type.NUMBER}


@dataclass(frozen=True, slots=True)
class Template:
    """A checked template; `text` is its source and may hold secrets."""

    text: str = field(repr=False)
    _pieces: tuple[_Piece, ...] = field(repr=False)

    def render(self, values: Values) -> str:
        """Return the text for an event. Raises TemplateError for an index that is out of range."""
        try:
            return _join(self._pieces, values)
        except TemplateFault as fault:
            raise _error(self.text, fault) from None


def parse_template(text: str) -> Template:
    """Read a template; raises TemplateError if it is wrong or uses more than is supported."""
    try:
        return Template(text, _pieces(parse_tree(text)))
    except TemplateFault as fault:
        raise _error(text, fault) from None


def _error(text: str, fault: TemplateFault) -> TemplateError:
    return TemplateError(fault.message, text.count("\n", 0, fault.position) + 1, fault.hint)


def _join(pieces: Sequence[_Piece], values: Values) -> str:
    return "".join(piece(values) for piece in pieces)


def _pieces(nodes: Sequence[Node]) -> tuple[_Piece, ...]:
    return tuple(_piece(node) for node in nodes)


def _piece(node: Node) -> _Piece:
    if isinstance(node, Plain):
        text = node.text
        return lambda _: text
    if isinstance(node, IfNode):
        return _choice(node)
    typed = _typed(node.expression)
    show = SHOWN.get(typed.type)
    if show is None:
        raise TemplateFault(
            typed.position, f"{typed.type.value} cannot be shown", "name one of its fields"
        )
    return lambda values: show(typed.evaluate(values))


def _choice(node: IfNode) -> _Piece:
    condition = _typed(node.condition).evaluate
    then, otherwise = _pieces(node.then), _pieces(node.otherwise)
    return lambda values: _join(then if condition(values) else otherwise, values)


def _typed(expression: Expression, depth: int = 0) -> Typed:
    if isinstance(expression, Literal):
        return _literal(expression)
    if depth > _MOST_NESTED:
        raise TemplateFault(
            expression.position, f"more than {_MOST_NESTED} values stand in each other"
        )
    arguments = tuple(_typed(argument, depth + 1) for argument in expression.arguments)
    if isinstance(expression, Call):
        return _call(expression, arguments)
    return _field(expression, arguments)


def _literal(literal: Literal) -> Typed:
    value = literal.value
    text = value if isinstance(value, str) else None
    return Typed(_LITERALS[type(value)], lambda _: value, literal.position, text)


def _field(field: FieldNode, arguments: tuple[Typed, ...]) -> Typed:
    path, where = field.path, field.position
    method = METHODS.get(path)
    if method is not None:
        return Typed(method.type, method.bind(path, arguments, where), where)
    if path not in FIELDS:
        close = path.rpartition(".")[0]
        hint = f"known are {_known(close)}" if _known(close) else f"known are {_known('')}"
        raise TemplateFault(where, f"{path[:60]} is not known here", hint)
    if arguments:
        raise TemplateFault(where, f"{path} takes no arguments")
    kind, evaluate = FIELDS[path]
    return Typed(kind, evaluate, where)


def _known(owner: str) -> str:
    names = (*FIELDS, *METHODS)
    return ", ".join(name for name in names if name.rpartition(".")[0] == owner)


def _call(call: Call, arguments: tuple[Typed, ...]) -> Typed:
    function = FUNCTIONS.get(call.name)
    if function is None:
        known = ", ".join(FUNCTIONS)
        raise TemplateFault(
            call.position, f"the function {call.name[:30]} is not supported", f"use {known}"
        )
    kind, evaluate = function(call.name, arguments, call.position)
    return Typed(kind, evaluate, call.position)
