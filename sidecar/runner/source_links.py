"""Paths of a plan that are symbolic links: a backup saves the link, not what it leads to.

A link is never resolved: what runs in a container may have put it there, to have another's data
read, and written through it by a restore.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.docker.usage import is_within
from sidecar.engines.base import CommandResult, FailureClass, failed


@dataclass(frozen=True, slots=True)
class SourceLink:
    """A path that is a symbolic link, and where it leads to in the end."""

    path: str
    target: str


def refuse_links(paths: Sequence[str]) -> CommandResult | None:
    """Return the failure of a backup of these paths; None if what they lead to is saved too."""
    found = find_links(paths)
    if not found:
        return None
    said = "; ".join(
        f"{one.path} is a link to {one.target}: the link would be saved, not what it leads to "
        f"→ name {one.target} among the plan's paths instead, by label as "
        f"paths.include=host:{one.target}"
        for one in found
    )
    return failed(FailureClass.SOURCE_IS_LINK, f"source-is-link: {said}")


def find_links(paths: Sequence[str]) -> tuple[SourceLink, ...]:
    """Return the paths that are symbolic links out of all the others."""
    # Without its last slash: with it a path means what a link leads to, but not to restic.
    plain = {path: os.path.normpath(path) for path in paths}
    links = {path for path in plain.values() if _is_link(path)}
    # No file has a null byte in its name.
    others = (path for path in plain.values() if path not in links and "\0" not in path)
    saved = [os.path.realpath(path) for path in others]
    found = []
    for path in paths:
        if plain[path] in links:
            target = os.path.realpath(plain[path])
            if not any(is_within(target, other) for other in saved):
                found.append(SourceLink(path, target))
    return tuple(found)


def _is_link(path: str) -> bool:
    """Return whether it is one; what cannot be seen is none, and restic tells why."""
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False
