"""Mask the secrets of documents and plans, so that people and logs may see them."""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

from sidecar.backrest.edit import Edit, apply_edits
from sidecar.backrest.jsontext import Numeral, decode, parse_integer, scalars
from sidecar.lib.text import MASK, without_credentials

# Names without case and underscores, so that both spellings of a field are met.
_SECRET_KEYS = frozenset(
    {
        "password",
        "passwordbcrypt",
        "webhookurl",
        "shoutrrrurl",
        "baseurl",
        "token",
        "bottoken",
        "secret",
        "initialpairingsecret",
        "identity",
        "flags",
    }
)
_ASSIGNMENT_KEYS = frozenset({"env"})
_SECRET_NAME = re.compile(
    "auth|command|cookie|credential|dsn|header|key|pass|private|secret|token|webhook|(?:^|_)sas(?:$|_)",
    re.IGNORECASE,
)
_OF_FILES = ("file", "google_application_credentials")
_SECRET_FLAG = re.compile(r"((?:password|secret|token|key)[\w.-]*)([= ]).*", re.IGNORECASE)
_INTEGER_BITS = 64
_DEEPEST = 100
_TOO_DEEP = "(nested too deep to be shown)"


class _Secret(NamedTuple):
    start: int
    end: int
    shown: str


def mask_value(value: Any, key: str = "", *, secret: bool = False, depth: int = 0) -> Any:
    """Copy decoded JSON with its secrets masked; numbers become Python's own.

    A number that no float holds, such as `1E400`, becomes a string, and so does what lies deeper
    than a hundred objects and arrays.
    """
    secret = secret or _is_secret(key)
    if isinstance(value, dict | list) and depth == _DEEPEST:
        return _TOO_DEEP
    if isinstance(value, dict):
        return {
            name: mask_value(item, name, secret=secret, depth=depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [mask_value(item, key, secret=secret, depth=depth + 1) for item in value]
    if secret and value not in (None, ""):
        return MASK
    if isinstance(value, Numeral):
        whole = parse_integer(value, _INTEGER_BITS)
        return _double(value) if whole is None else whole
    return mask_string(value, key) if isinstance(value, str) else value


def _double(text: str) -> float | str:
    """Return a number as a float, else its spelling: JSON has no infinity."""
    value = float(text)
    return value if isfinite(value) else str(text)


def mask_string(text: str, key: str = "") -> str:
    """Mask what is secret inside a string: assignments, passwords in URLs and flags."""
    if _plain(key) in _ASSIGNMENT_KEYS:
        name, equals, _ = text.partition("=")
        return f"{name}={MASK}" if equals else MASK
    if _plain(key) == "backupflags":
        text = _SECRET_FLAG.sub(rf"\1\2{MASK}", text)
    return without_credentials(text)


def is_secret_name(name: str) -> bool:
    """Return whether a variable or an option of this name may hold a secret: `B2_ACCOUNT_KEY`.

    A command may, in one of its words. The path of a file is none: `RESTIC_PASSWORD_FILE`.
    """
    if name.lower().endswith(_OF_FILES):
        return False
    return _SECRET_NAME.search(name) is not None


def mask_texts(before: str, after: str) -> tuple[str, str]:
    """Mask two versions of a document's text; a secret only in the second is marked as new."""
    known = {before[secret.start : secret.end] for secret in _secrets(before)}
    return _masked(before, known), _masked(after, known)


def _masked(text: str, known: set[str]) -> str:
    edits = [
        Edit(
            s.start,
            s.end,
            json.dumps(s.shown + ("" if text[s.start : s.end] in known else " (new)")),
        )
        for s in _secrets(text)
    ]
    return apply_edits(text, edits)


def _secrets(text: str) -> Iterator[_Secret]:
    decode(text)
    for key, is_hidden, value, start, end in scalars(text, _is_secret):
        if is_hidden and value not in (None, ""):
            yield _Secret(start, end, MASK)
        elif type(value) is str and (shown := mask_string(value, key)) != value:
            yield _Secret(start, end, shown)


def _is_secret(key: str) -> bool:
    return _plain(key) in _SECRET_KEYS


@lru_cache(maxsize=1024)
def _plain(key: str) -> str:
    return key.replace("_", "").lower()
