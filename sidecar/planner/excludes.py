"""Exclude patterns as restic reads them: their literal beginning, and what they leave out."""

import re
from collections.abc import Iterable

from sidecar.planner.host_path import is_under

_PARTS = re.compile(r"\\.?|[*?]|[^\\*?]+", re.DOTALL)
_WILDCARDS = {"*": "[^/]*", "?": "[^/]"}
_GLOB = frozenset("*?[\\")
_ESCAPE_GLOB = str.maketrans({character: f"\\{character}" for character in _GLOB})


def split_pattern(pattern: str) -> tuple[str, str]:
    """Split an absolute pattern after its longest directory without wildcards.

    `/data/logs/*.tmp` gives `/data/logs` and `/*.tmp`, `/data/logs` itself and nothing.
    """
    parts = pattern.split("/")
    for index, part in enumerate(parts):
        if _GLOB.intersection(part):
            return "/".join(parts[:index]) or "/", "/" + "/".join(parts[index:])
    return pattern, ""


def escape_path(path: str) -> str:
    """Return the pattern that matches just this path: wildcards get a backslash before them."""
    return path.translate(_ESCAPE_GLOB)


def left_out_by(path: str, patterns: Iterable[str]) -> str:
    """Return the pattern that leaves out all of a runner path, the empty string if none does.

    A relative pattern is about names anywhere in the path, and the last pattern that
    matches counts. In doubt nothing is left out.
    """
    found = ""
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        if _covers(bare, path):
            found = pattern if bare == pattern else ""
        elif bare != pattern and (not bare.startswith("/") or is_under(bare, path)):
            found = ""
    return found


def _covers(pattern: str, path: str) -> bool:
    """Return whether a pattern without `!` matches a path, a folder above it, or all within."""
    bare = pattern.removesuffix("/**").removesuffix("/*").strip("/")
    start = r"\A/" if pattern.startswith("/") else "/"
    wanted = _PARTS.sub(lambda part: _expression(part[0]), bare)
    return re.search(rf"{start}{wanted}(?:/|\Z)", path) is not None


def _expression(part: str) -> str:
    if part in _WILDCARDS:
        return _WILDCARDS[part]
    return re.escape(part.removeprefix("\\"))
