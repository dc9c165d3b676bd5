"""Compare the file with what Backrest serves: has anybody changed what is not ours?

Both are brought into Backrest's own form first, so that spellings and zeros do not count.
"""

from collections.abc import Mapping
from typing import Any

from sidecar.backrest.document import Document
from sidecar.backrest.jsontext import Object, parse_integer
from sidecar.backrest.messages import CONFIG, FieldKind, MessageField, MessageType, value_of
from sidecar.lib.text import MASK

_SORTED_BY_ID = frozenset({"repos", "plans"})
_SORTED = frozenset({"env", "paths"})
# The keys of an identity are its secret half, and are served as a mask or not at all.
_UNCOMPARED = frozenset({"modno", "ed25519priv", "ed25519pub"})
_BITS = 64

Normal = dict[str, Any]


def has_field(document: Document, name: str) -> bool:
    """Return whether a field of the configuration, such as `auth`, is a non-empty object."""
    _, value = value_of(document.root, CONFIG, name)
    return isinstance(value, Object) and bool(value)


def differs(file: Document, served: Document, prefix: str) -> bool:
    """Return whether anything foreign in the file means something else than it does as served.

    Plans whose ids begin with `prefix` do not count, nor does `modno`, and a masked value
    equals every value. Repositories of other instances are theirs to change, and their plans.
    An identity that is only served was made by Backrest itself.
    """
    one, other = _foreign(file, prefix), _foreign(served, prefix)
    if not _identity_of(one):
        other = _without_identity(other)
    return not _same(_without_empty_sync(one), _without_empty_sync(other))


def _identity_of(config: Normal) -> object:
    sync = config.get("sync")
    return sync.get("identity") if isinstance(sync, dict) else None


def _without_identity(config: Normal) -> Normal:
    sync = config.get("sync")
    rest = {k: v for k, v in sync.items() if k != "identity"} if isinstance(sync, dict) else sync
    return {**config, "sync": rest}


def _without_empty_sync(config: Normal) -> Normal:
    return {key: value for key, value in config.items() if key != "sync" or value}


def _foreign(document: Document, prefix: str) -> Normal:
    config = _normal(document.root, CONFIG)
    repos = _objects(config, "repos")
    shared = {repo.get("id") for repo in repos if repo.get("originInstanceId")}
    plans = [
        plan
        for plan in _objects(config, "plans")
        if plan.get("repo") not in shared and not str(plan.get("id", "")).startswith(prefix)
    ]
    own = [repo for repo in repos if repo.get("id") not in shared]
    return {**config, "repos": own, "plans": plans}


def _objects(config: Normal, name: str) -> list[Normal]:
    listed = config.get(name, [])
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def _normal(value: Mapping[str, Any], message: MessageType) -> Normal:
    """Return a message as Backrest would write it: its own names, no zeros, nothing unknown."""
    normal: Normal = {}
    for key, item in value.items():
        field = message.fields.get(key)
        if field is None or item is None or field.name in _UNCOMPARED:
            continue
        new = _of_field(field, item)
        if new not in ("", 0, False, []) or field.oneof:
            normal[field.name] = new
    return normal


def _of_field(field: MessageField, value: Any) -> Any:
    if not field.repeated or not isinstance(value, list):
        return _of_one(field, value)
    items = [_of_one(field, item) for item in value]
    if field.name in _SORTED_BY_ID:
        return sorted(items, key=_id_of)
    return sorted(items, key=str) if field.name in _SORTED else items


def _id_of(item: Any) -> str:
    return str(item.get("id", "")) if isinstance(item, dict) else ""


def _of_one(field: MessageField, value: Any) -> Any:
    if field.message is not None:
        return _normal(value, field.message) if isinstance(value, dict) else value
    if field.kind is FieldKind.ENUM:
        return _enum(field, value)
    if field.kind in {FieldKind.INT32, FieldKind.INT64}:
        return _integer(value)
    return _double(value) if field.kind is FieldKind.DOUBLE else value


def _enum(field: MessageField, value: Any) -> Any:
    number = _integer(value)
    name = field.names.get(number) if isinstance(number, int) else value
    # The zero value is not written.
    return "" if name == field.names.get(0) else name


def _integer(value: Any) -> Any:
    number = parse_integer(value, _BITS) if isinstance(value, str) else None
    return value if number is None else number


def _double(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    # Backrest masks keys and hashes.
    return bool(one == other or MASK in (one, other))
