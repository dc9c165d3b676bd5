"""Keys of the document that its published schema does not name: spelling mistakes, above all.

Backrest ignores what it does not know, so that `backrest.rules` says nothing about it. A key
may also be one of a newer Backrest than this version of ours knows: it is no fault.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import create

from sidecar.backrest.messages import CONFIG, MessageType
from sidecar.lib.text import closest, quoted

NOT_KNOWN = "not known to Backrest 1.x as of this version, and ignored"
"""What is said of such a key."""

_MOST = 10
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """A key, as `plans[2].retention.keepDialy`, and the known one that is meant, or nothing."""

    path: str
    meant: str = ""


class UnknownKeys(NamedTuple):
    """The first ones; ten thousand plans may have the same mistake."""

    listed: tuple[UnknownKey, ...]
    has_more: bool


def find_unknown_keys(document: Mapping[str, Any]) -> UnknownKeys:
    """Find keys that the schema does not name; no value of the document is part of the result.

    What stands below such a key, or below another spelling of a known one, is not looked at.
    """
    found = tuple(islice(_find(document), _MOST + 1))
    return UnknownKeys(found[:_MOST], len(found) > _MOST)


def _find(document: Mapping[str, Any]) -> Iterator[UnknownKey]:
    for error in _validator().iter_errors(document):
        *above, key = error.absolute_path
        if not _is_other_spelling(above, str(key)):
            yield UnknownKey(_path_of([*above, key]), _meant(str(key), error.validator_value))


@cache
def _validator() -> Any:
    """Return a validator by those keywords of the schema that lead from key to key."""
    schema = json.loads(files("sidecar.backrest").joinpath("config.schema.json").read_text("utf-8"))
    keywords = {
        "$ref": Draft202012Validator.VALIDATORS["$ref"],
        "items": Draft202012Validator.VALIDATORS["items"],
        "anyOf": _check_branches,
        "properties": _check_keys,
    }
    kinds = Draft202012Validator.TYPE_CHECKER
    return create(Draft202012Validator.META_SCHEMA, keywords, type_checker=kinds)(schema)


def _check_branches(
    validator: Any, branches: list[dict[str, Any]], value: Any, _schema: Any
) -> Iterator[ValidationError]:
    """Follow the branches of a value that may be null; others are conditions on known keys."""
    for branch in branches if {"type": "null"} in branches else ():
        yield from validator.descend(value, branch)


def _check_keys(
    validator: Any, known: Mapping[str, Any], value: Any, _schema: Any
) -> Iterator[ValidationError]:
    """Yield an error for each key that is not known, and those of the values of known keys."""
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if key in known:
            if _holds_objects(inner):
                yield from validator.descend(inner, known[key], path=key)
        # A key in brackets is a fault, which the rules find.
        elif not key.startswith("["):
            yield ValidationError("not known", path=[key])


def _holds_objects(value: Any) -> bool:
    """Return whether there may be keys in a value; most values are texts, and cost a descent."""
    items = value if isinstance(value, list) else [value]
    return any(isinstance(item, dict) for item in items)


def _is_other_spelling(above: list[str | int], key: str) -> bool:
    """Return whether Backrest reads a key as another name of a known one, as `prune_policy`."""
    message: MessageType | None = CONFIG
    for step in above:
        if isinstance(step, str) and message is not None:
            message = message.fields[step].message
    return message is not None and key in message.fields


def _path_of(steps: list[str | int]) -> str:
    """Write steps as people do: `plans[2].retention.keepDialy`."""
    words = (f"[{step}]" if isinstance(step, int) else f".{_shown(step)}" for step in steps)
    return "".join(words).removeprefix(".")


def _shown(key: str) -> str:
    return key if _PLAIN.fullmatch(key) else quoted(key)


def _meant(key: str, known: Iterable[str]) -> str:
    folded = {name.lower(): name for name in known}
    return folded.get(closest(key, folded), "")
