"""Check whether Backrest can parse a document at all, before any meaning is checked.

A check for each message is built once from the tables of `backrest.messages`. What it
finds is a `DocumentFault`, the record of all refusals, also of those by `backrest.rules`.
Backrest skips fields that it does not know, whatever they hold, and so does this; only
text that is no Unicode and boundless nesting are refused even there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.backrest.jsontext import Numeral, is_double, parse_integer
from sidecar.backrest.messages import CONFIG, FieldKind, MessageField, MessageType

# Backrest gives up at 10,000 levels; a document that comes near is broken.
_MAX_DEPTH: Final = 9_000
_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    list: "an array",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class DocumentFault:
    """One refusal: where (a JSON pointer), what is wrong, what to write instead.

    Texts name keys, ids and cron expressions, never a secret value.
    """

    pointer: str
    message: str
    hint: str = ""

    def under(self, *steps: str | int) -> "DocumentFault":
        """Return the same fault seen from further up: `steps` lead down to it."""
        return DocumentFault(pointer_of(steps) + self.pointer, self.message, self.hint)


def pointer_of(steps: Iterable[str | int]) -> str:
    """Return a JSON pointer (RFC 6901) such as `/plans/0/id`; "" is the whole document."""
    # A lone surrogate in a key could not be printed, so it is shown as a question mark.
    texts = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return "".join(f"/{text}" for text in texts).encode("utf-8", "replace").decode()


_Check = Callable[[Any], list[DocumentFault]]

_NO_FAULTS: Final[list[DocumentFault]] = []
_UNICODE_FAULT: Final = DocumentFault(
    "",
    "half of a surrogate pair (\\ud800 to \\udfff) stands alone",
    "write the whole pair, or the character itself",
)


def check_shape(document: Any) -> list[DocumentFault]:
    """Return what Backrest's parser refuses in a decoded document; never raises."""
    return list(_CONFIG(document))


def _message_check(message: MessageType) -> _Check:
    table = {
        spelling: (_field_check(field), field.kind is FieldKind.STRING and not field.repeated)
        for spelling, field in message.fields.items()
    }
    repetitions_of, other_names = _repetition_check(message), frozenset(_other_names(message))
    clashes_of = _oneof_check(message)

    def check(value: Any) -> list[DocumentFault]:
        if not isinstance(value, dict):
            return [_expected("an object", value)]
        found: list[DocumentFault] = []
        for key, item in value.items():
            known = table.get(key)
            if known is None:
                found += _check_unknown(key, item)
            elif item is None or (known[1] and type(item) is str and item.isascii()):
                continue
            elif faults := known[0](item):
                found += (fault.under(key) for fault in faults)
        if getattr(value, "repeated", ()) or not other_names.isdisjoint(value):
            found += repetitions_of(value)
        return found + clashes_of(value) if clashes_of else found

    return check


def _field_check(field: MessageField) -> _Check:
    one = _message_check(field.message) if field.message else _SCALARS[field.kind]
    return _list_check(one, field.kind is FieldKind.STRING) if field.repeated else one


def _list_check(check_item: _Check, of_strings: bool) -> _Check:
    def check(value: Any) -> list[DocumentFault]:
        if type(value) is not list:
            return [_expected("an array", value)]
        if of_strings and set(map(type, value)) == {str} and all(map(str.isascii, value)):
            return _NO_FAULTS
        return [
            fault.under(index) for index, item in enumerate(value) for fault in check_item(item)
        ]

    return check


def _other_names(message: MessageType) -> Mapping[str, str]:
    """Return the spellings besides the JSON names, each with its JSON name."""
    fields = message.fields.items()
    return {spelling: field.name for spelling, field in fields if spelling != field.name}


def _repetition_check(message: MessageType) -> _Check:
    """Return the check for a field that stands twice, be it under its two names."""
    second = _other_names(message)

    def check(value: Any) -> list[DocumentFault]:
        repeated = [key for key in getattr(value, "repeated", ()) if key in message.fields]
        both = [key for key in value if second.get(key) in value]
        return [_repeated(key) for key in repeated] + [_two_names(key, second[key]) for key in both]

    return check


def _repeated(key: str) -> DocumentFault:
    return DocumentFault(
        "", f"the key {key!r} stands here more than once", "keep one of them"
    ).under(key)


def _two_names(key: str, name: str) -> DocumentFault:
    text = f"{key!r} and {name!r} are two names of one field"
    return DocumentFault("", text, f"keep {name!r} only").under(key)


def _oneof_check(message: MessageType) -> _Check | None:
    """Return the check for two members of one group; None for a message without groups."""
    group_of = {key: field.oneof for key, field in message.fields.items() if field.oneof}
    if not group_of:
        return None

    def check(value: Any) -> list[DocumentFault]:
        members = [key for key in value if key in group_of and value[key] is not None]
        if len(members) < 2:
            return _NO_FAULTS
        text = f"only one of {', '.join(map(repr, members))} may be set"
        return [DocumentFault("", text, "remove the others").under(members[1])]

    return check


def _check_string(value: Any) -> list[DocumentFault]:
    if type(value) is not str:
        return [_expected("text in quotes", value)]
    return _NO_FAULTS if _is_unicode(value) else [_UNICODE_FAULT]


def _check_bool(value: Any) -> list[DocumentFault]:
    return _NO_FAULTS if type(value) is bool else [_expected("true or false without quotes", value)]


def _check_int32(value: Any) -> list[DocumentFault]:
    return _check_integer(value, 32)


def _check_int64(value: Any) -> list[DocumentFault]:
    return _check_integer(value, 64)


def _check_integer(value: Any, bits: int) -> list[DocumentFault]:
    if isinstance(value, str) and parse_integer(value, bits) is not None:
        return _NO_FAULTS
    return [_expected(f"a whole number that fits in {bits} bits", value)]


def _check_double(value: Any) -> list[DocumentFault]:
    special = type(value) is str and value in ("NaN", "Infinity", "-Infinity")
    if special or (isinstance(value, str) and is_double(value)):
        return _NO_FAULTS
    return [_expected("a number", value)]


def _check_enum(value: Any) -> list[DocumentFault]:
    if isinstance(value, Numeral):
        return _check_int32(value)
    # A name that Backrest does not know is dropped, not refused.
    return _check_string(value)


def _expected(what: str, value: Any) -> DocumentFault:
    return DocumentFault("", f"{what} is expected, not {_kind_of(value)}")


def _kind_of(value: Any) -> str:
    if isinstance(value, Numeral):
        # Nothing is quoted back: any value might be a secret.
        return "this number"
    return _KINDS.get(type(value), "an object" if isinstance(value, dict) else "text")


def _check_unknown(key: str, value: Any) -> list[DocumentFault]:
    """Check a field that Backrest does not know: its texts and its depth only."""
    if key[:1] == "[" and key[-1:] == "]":
        return [DocumentFault("", "a key in brackets names a protocol extension").under(key)]
    if key.isascii() and (value is None or type(value) is bool or isinstance(value, Numeral)):
        return _NO_FAULTS
    return list(_walk(key, value))


def _walk(key: str, value: Any) -> Iterator[DocumentFault]:
    """Yield the faults anywhere in a value; without recursion, so that no depth can break it."""
    if not _is_unicode(key):
        yield _UNICODE_FAULT.under(key)
    pending = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if depth > _MAX_DEPTH:
            yield DocumentFault("", "nested too deep").under(key)
            return
        inner = _children(item)
        if inner is not None:
            pending += ((one, depth + 1) for one in inner)
        elif isinstance(item, str) and not _is_unicode(item):
            yield _UNICODE_FAULT.under(key)


def _children(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if type(value) is list else None


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


_SCALARS: Final[Mapping[FieldKind, _Check]] = {
    FieldKind.STRING: _check_string,
    FieldKind.BOOL: _check_bool,
    FieldKind.INT32: _check_int32,
    FieldKind.INT64: _check_int64,
    FieldKind.DOUBLE: _check_double,
    FieldKind.ENUM: _check_enum,
}
_CONFIG: Final = _message_check(CONFIG)
