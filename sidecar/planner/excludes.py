"""Exclude patterns: container paths in them become the runner's, the rest stays as written."""

import re
from collections.abc import Iterable, Iterator

from sidecar.planner.host_path import is_under, move, normal_path
from sidecar.planner.paths import PathSearch, leaves_root

_PARTS = re.compile(r"\\.?|[*?]|[^\\*?]+", re.DOTALL)
_WILDCARDS = {"*": "[^/]*", "?": "[^/]"}
_GLOB = frozenset("*?[\\")
_ESCAPE_GLOB = str.maketrans({character: f"\\{character}" for character in _GLOB})


def map_patterns(search: PathSearch, patterns: Iterable[str], label: str) -> tuple[str, ...]:
    """Map exclude patterns to the runner's paths, in label order.

    `label` names the label in problems, which the search keeps.
    """
    mapped: list[str] = []
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        if bare.startswith("/"):
            negation = "!" if bare != pattern else ""
            mapped += [negation + found for found in _map_pattern(search, bare, label)]
        else:
            mapped.append(pattern)
    return tuple(mapped)


def left_out_by(path: str, patterns: Iterable[str]) -> str:
    """Give the pattern that leaves out all of a runner path, if one does.

    As restic reads them: a relative pattern speaks of names anywhere in the path, and
    the last pattern that matches counts. In doubt nothing is left out.
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
    """Whether a pattern without `!` matches a path, a folder above it, or all that it holds."""
    bare = pattern.removesuffix("/**").removesuffix("/*").strip("/")
    start = r"\A/" if pattern.startswith("/") else "/"
    wanted = _PARTS.sub(lambda part: _expression(part[0]), bare)
    return re.search(rf"{start}{wanted}(?:/|\Z)", path) is not None


def _expression(part: str) -> str:
    if part in _WILDCARDS:
        return _WILDCARDS[part]
    return re.escape(part.removeprefix("\\"))


def _map_pattern(search: PathSearch, pattern: str, label: str) -> Iterator[str]:
    literal, rest = _split_pattern(pattern)
    if leaves_root(rest):
        search.tell(
            "path.escape",
            f"{pattern} leads out of {literal} through ..",
            "write it without ..",
            label,
        )
        return
    # All are looked up first, so that every problem is told.
    for path, place in list(search.located(literal, label, mounted=True)):
        destination = normal_path(place.mount.destination)
        # A pattern with a wildcard speaks of its own mount only.
        if not place.host or (rest and path != normal_path(literal)):
            continue
        runner = search.locator.runner_path(move(path, destination, place.host))
        if runner is not None:
            yield runner.translate(_ESCAPE_GLOB).rstrip("/") + rest


def _split_pattern(pattern: str) -> tuple[str, str]:
    """Split a pattern into its longest literal directory prefix and the rest (`/*.tmp`)."""
    parts = pattern.split("/")
    for index, part in enumerate(parts):
        if _GLOB.intersection(part):
            return "/".join(parts[:index]) or "/", "/" + "/".join(parts[index:])
    return pattern, ""
