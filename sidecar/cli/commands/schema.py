"""JSON Schemas for editors: of the document, and of the labels of a Compose service."""

import json
import re
from importlib.resources import files
from typing import Any

from sidecar.labels.policy import Policy
from sidecar.labels.registry import FALSE_WORDS, LABELS, TRUE_WORDS, Label, parse_bool
from sidecar.reconciler.settings import check_policy

_INDEX = r"\.(?:0|[1-9][0-9]*)"
# Compose fills a variable in before anybody parses the value.
_VARIABLE = {"type": "string", "pattern": r"\$"}
_TEXT = ["string", "number", "boolean", "null"]


def render_schema(kind: str, label_prefix: str) -> str:
    """Return the JSON Schema of `document` (2020-12) or of `labels` (draft 7) as text."""
    if kind == "document":
        return files("sidecar.backrest").joinpath("config.schema.json").read_text("utf-8").rstrip()
    check_policy(Policy(label_prefix=label_prefix))
    return json.dumps(labels_schema(label_prefix), indent=2, ensure_ascii=False)


def labels_schema(prefix: str) -> dict[str, Any]:
    """Return the schema of a Compose service's `labels`, as a mapping or as a list."""
    return {
        # What editors know best, and the draft of Compose's own schema.
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Labels of a Compose service",
        "description": f"Labels outside {prefix}* are other programs' and not looked at.",
        "oneOf": [_mapping(prefix), _list(prefix)],
    }


def _mapping(prefix: str) -> dict[str, Any]:
    indexed = {
        f"^{_literal(prefix + label.name)}{_INDEX}$": {
            **_value(label, indexed=True),
            "description": f"one item, never split: {label.values}",
        }
        for label in LABELS
        if label.is_list
    }
    unknown = {f"^{_literal(prefix)}(?!(?:{_names()})$)": False}
    return {
        "type": "object",
        "properties": {prefix + label.name: _property(label) for label in LABELS},
        "patternProperties": indexed | unknown,
        "additionalProperties": True,
    }


def _property(label: Label) -> dict[str, Any]:
    default = "" if label.default == "–" else f" (default: {label.default})"
    return {"description": f"{label.values}{default}", **_value(label)}


def _value(label: Label, *, indexed: bool = False) -> dict[str, Any]:
    if pattern := _pattern(label):
        words: list[dict[str, Any]] = [{"enum": list(label.choices)}] if label.choices else []
        if label.parse is parse_bool:
            words = [{"type": "boolean"}, {"enum": [0, 1]}]
        return {"anyOf": [*words, {"type": "string", "pattern": f"^{pattern}$"}, _VARIABLE]}
    return {"type": _TEXT[:-1] if indexed else _TEXT}


def _pattern(label: Label) -> str:
    """Return the pattern of a value, without anchors; empty if any text may be right."""
    if label.parse is parse_bool:
        return rf"\s*(?:{'|'.join(_any_case(w) for w in sorted(TRUE_WORDS | FALSE_WORDS))})\s*"
    if not label.choices:
        return ""
    words = "|".join(_literal(word) for word in label.choices)
    if not label.is_list:
        return rf"\s*(?:{words})\s*"
    one = rf"\s*(?:[\"']?(?:{words})[\"']?\s*)?"
    return rf"(?:{one}(?:,{one})*|\s*\[.*)"


def _list(prefix: str) -> dict[str, Any]:
    start = _literal(prefix)
    rules: list[dict[str, Any]] = [{"not": {"pattern": f"^{start}(?!(?:{_names()})(?:=|$))"}}]
    for label in LABELS:
        if pattern := _pattern(label):
            name = start + _literal(label.name) + (f"(?:{_INDEX})?" if label.is_list else "")
            right = {"anyOf": [{"pattern": f"^{name}={pattern}$"}, _VARIABLE]}
            rules.append({"if": {"pattern": f"^{name}="}, "then": right})
    return {"type": "array", "items": {"type": "string", "allOf": rules}}


def _names() -> str:
    """Return all names after the prefix, longest first, as one pattern."""
    plain = sorted((label.name for label in LABELS), key=lambda name: (-len(name), name))
    listed = {label.name for label in LABELS if label.is_list}
    return "|".join(_literal(name) + (f"(?:{_INDEX})?" if name in listed else "") for name in plain)


def _any_case(word: str) -> str:
    return "".join(f"[{char}{char.upper()}]" if char.isalpha() else char for char in word)


def _literal(text: str) -> str:
    """Escape a text for patterns of Python and of ECMAScript, which has no escaped hyphen."""
    return re.sub(r"[.*+?^${}()|\[\]\\/]", r"\\\g<0>", text)
