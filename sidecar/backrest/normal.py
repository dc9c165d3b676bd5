"""The normal form of a plan, in which plans are compared: what Backrest's rewrite makes of it.

Backrest rewrites the whole document whenever it saves: fields get their JSON
names, zero values vanish, enum numbers become names, paths are sorted. A plan
that only went through that rewrite has not changed.
"""

from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, Final

from sidecar.backrest.jsontext import Numeral, parse_integer
from sidecar.backrest.messages import PLAN, FieldKind, MessageField, MessageType

_Normalise = Callable[[Any], Any]

_INT32: Final = 1 << 31


def normalise_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan as Backrest would write it, key order aside.

    Takes decoded JSON (numbers as `Numeral`) and plain Python values alike, and
    never raises. Null and unknown fields are dropped. A value of a type that
    Backrest refuses stays, in a form that equals no value Backrest accepts. What
    is normal already is shared with the argument: do not change the result.
    """
    normal: dict[str, Any] = _PLAN(plan)
    paths = normal.get("paths")
    if type(paths) is not list or not all(type(path) is str for path in paths):
        return normal
    ordered = sorted(paths)
    return normal if ordered == paths else {**normal, "paths": ordered}


def _message_normaliser(message: MessageType) -> _Normalise:
    table = {
        spelling: (field.name, _plain_type(field), _zero_type(field), _field_normaliser(field))
        for spelling, field in message.fields.items()
    }

    def normalise(value: Any) -> Any:
        if not isinstance(value, dict):
            return _keep_misplaced(value)
        normal, same = {}, True
        for key, item in value.items():
            known = table.get(key)
            if known is None or item is None:
                same = False
                continue
            name, plain_type, zero_type, normalise_item = known
            new = item if type(item) is plain_type else normalise_item(item)
            if new or type(new) is not zero_type:
                normal[name] = new
                same = same and new is item and name == key
            else:
                same = False
        # Objects that live on cost far more (the collector walks them) than a copy.
        return value if same else normal

    return normalise


def _plain_type(field: MessageField) -> type | None:
    """Return the type whose values need no change: a short cut for the most frequent fields."""
    return str if field.kind is FieldKind.STRING and not field.repeated else None


def _zero_type(field: MessageField) -> type | None:
    """Return the type of the field's zero value, which is not written; None: always written."""
    if field.repeated:
        return list
    return None if field.oneof else _ZERO_TYPES[field.kind]


def _field_normaliser(field: MessageField) -> _Normalise:
    if field.kind is FieldKind.ENUM:
        return _enum_list_normaliser(field) if field.repeated else _enum_normaliser(field)
    one = _message_normaliser(field.message) if field.message else _SCALARS[field.kind]
    return _list_normaliser(one, field) if field.repeated else one


def _list_normaliser(normalise_item: _Normalise, field: MessageField) -> _Normalise:
    plain_types = {str} if field.kind is FieldKind.STRING else set()

    def normalise(value: Any) -> Any:
        if type(value) is not list:
            return _keep_misplaced(value)
        if set(map(type, value)) == plain_types:
            return value
        normal = list(map(normalise_item, value))
        return value if all(map(is_, normal, value)) else normal

    return normalise


def _enum_normaliser(field: MessageField) -> _Normalise:
    """Return what gives an enum's name; "" for zero and for names unknown to Backrest."""
    zero, normalise_item = field.names[0], _enum_name_normaliser(field)
    plain = frozenset(field.names.values()) - {zero}

    def normalise(value: Any) -> Any:
        if type(value) is str and value in plain:
            return value
        new = normalise_item(value)
        return "" if new == zero else new

    return normalise


def _enum_list_normaliser(field: MessageField) -> _Normalise:
    normalise_item, known = _enum_name_normaliser(field), frozenset(field.names.values())

    def normalise(value: Any) -> Any:
        if type(value) is not list:
            return _keep_misplaced(value)
        if set(map(type, value)) == {str} and known.issuperset(value):
            return value
        return [new for item in value if (new := normalise_item(item)) != ""]

    return normalise


def _enum_name_normaliser(field: MessageField) -> _Normalise:
    names, known = dict(field.names), frozenset(field.names.values())

    def normalise(value: Any) -> Any:
        if type(value) is str:
            return value if value in known else ""
        number = value if type(value) is bool else _normal_integer(value)
        return names.get(number, number) if type(number) is int else number

    return normalise


def _normal_string(value: Any) -> Any:
    return value if type(value) is str else _keep_misplaced(value)


def _normal_bool(value: Any) -> Any:
    # 1 == True in Python, so a number here stays a Numeral, which equals neither.
    return Numeral(value) if type(value) in (int, float) else value


def _normal_integer(value: Any) -> Any:
    if type(value) is int:
        return value
    if isinstance(value, str):
        number = parse_integer(value, 32)
        return _keep_misplaced(value) if number is None else number
    if type(value) is bool:
        return str(value)
    if type(value) is float and value.is_integer() and -_INT32 <= value < _INT32:
        return int(value)
    return value


def _keep_misplaced(value: Any) -> Any:
    """Return a misplaced value as it is; a Numeral, which equals its spelling, as a float."""
    return float(value) if isinstance(value, Numeral) else value


_ZERO_TYPES: Final[Mapping[FieldKind, type | None]] = {
    FieldKind.STRING: str,
    FieldKind.BOOL: bool,
    FieldKind.INT32: int,
    FieldKind.ENUM: str,
    FieldKind.MESSAGE: None,
}
_SCALARS: Final[Mapping[FieldKind, _Normalise]] = {
    FieldKind.STRING: _normal_string,
    FieldKind.BOOL: _normal_bool,
    FieldKind.INT32: _normal_integer,
}
_PLAN: Final = _message_normaliser(PLAN)
