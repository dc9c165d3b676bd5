"""Exclude patterns as restic reads them: their literal beginning, and what they leave out."""

import re
from collections.abc import Iterable
from functools import lru_cache

from sidecar.planner.host_path import is_under

_SIGNS = re.compile(r"\\?.", re.DOTALL)
_ANY = "*"
_WILDCARDS = frozenset("*?")
# More are no pattern that a person wrote; in doubt nothing is left out.
_MOST_STEPS = 10_000
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
    wanted = pattern.removesuffix("/**").removesuffix("/*").strip("/").split("/")
    parts = path.removeprefix("/").split("/")
    places = range(1 if pattern.startswith("/") else len(parts) - len(wanted) + 1)
    if len(wanted) > len(parts) or len(wanted) * len(places) > _MOST_STEPS:
        return False
    return any(all(map(_matches, wanted, parts[place:])) for place in places)


@lru_cache(maxsize=4096)
def _matches(pattern: str, name: str) -> bool:
    """Return whether a pattern without `/` matches a name; `[` is a character like any other.

    It takes no longer than both are long, times each other: whoever writes a label must not
    be able to make a pass take long.
    """
    signs = _signs(pattern)
    if len(signs) - signs.count(_ANY) > len(name):
        return False
    at = place = 0
    star = resume = -1
    while place < len(name):
        if at < len(signs) and signs[at] == _ANY:
            star, resume = at, place
            at += 1
        elif at < len(signs) and signs[at] in ("?", f"={name[place]}"):
            at += 1
            place += 1
        elif star >= 0:
            # The last star takes one character more; those before it need not.
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return all(sign == _ANY for sign in signs[at:])


def _signs(pattern: str) -> list[str]:
    """Return the parts of a pattern: `*`, `?`, or `=` and a character; of many `*` one."""
    signs: list[str] = []
    for part in _SIGNS.findall(pattern):
        if part == "\\":
            continue  # at the end it escapes nothing
        sign = part if part in _WILDCARDS else f"={part[-1]}"
        if sign != _ANY or signs[-1:] != [_ANY]:
            signs.append(sign)
    return signs
