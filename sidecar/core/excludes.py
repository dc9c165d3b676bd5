"""Exclude patterns: container paths in them become the runner's, the rest stays as written."""

from collections.abc import Iterable, Iterator

from sidecar.core.locate import move, normal_path
from sidecar.core.path_search import PathSearch, leaves_root

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
