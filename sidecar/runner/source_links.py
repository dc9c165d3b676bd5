"""Symbolic links in the place of a plan's paths, and on the way to them.

Of a path that is a link a backup saves the link, not what it leads to. It is never resolved: what
runs in a container may have put it there, to have another's data read, and written through it by a
restore. So may it with a folder above a path, within a mount of its own: that one a backup would
follow.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.backrest.reading import RunPlan
from sidecar.docker.usage import is_within
from sidecar.engines.base import CommandResult, FailureClass, failed
from sidecar.runner.workload_names import read_workloads


@dataclass(frozen=True, slots=True)
class SourceLink:
    """A path that is a symbolic link, and where it leads to in the end."""

    path: str
    target: str


def refuse_links(plan: RunPlan, workloads: Path | None = None) -> CommandResult | None:
    """Return the failure of a backup that would save a link, or follow one out of a mount.

    None if what links lead to is saved too. `workloads` is the sidecar's file that tells mounts:
    whoever writes into it can have more refused by it, and nothing less.
    """
    said = [
        f"{one.path} is a link to {one.target}: the link would be saved, not what it leads to "
        f"→ {_remedy(one)}"
        for one in find_links(plan.paths)
    ]
    said += [
        f"a link on the way to {one.path} leads out of its mount, to {one.target}: what runs "
        f"in the container may have put it there → remove it, or, if it is yours, {_remedy(one)}"
        for one in _find_outside(plan, workloads)
    ]
    if not said:
        return None
    return failed(FailureClass.SOURCE_IS_LINK, f"source-is-link: {'; '.join(said)}")


def _remedy(link: SourceLink) -> str:
    return (
        f"name {link.target} among the plan's paths instead, by label as "
        f"paths.include=host:{link.target}"
    )


def _find_outside(plan: RunPlan, workloads: Path | None) -> Iterator[SourceLink]:
    """Yield the paths that lie within a known mount by name, and elsewhere by a link above."""
    paths = [os.path.normpath(path) for path in plan.paths if "\0" not in path]
    led = [SourceLink(path, real) for path in paths if (real := _followed(path)) != path]
    if not led or workloads is None:
        return
    mounts = [
        os.path.normpath(mount.seen)
        for workload in read_workloads(workloads)
        if workload.plan == plan.id
        for mount in workload.mounts
        if mount.seen.startswith("/")
    ]
    for link in led:
        others = (path for path in paths if path != link.path)
        around = (mount for mount in mounts if link.path != mount and is_within(link.path, mount))
        if any(not is_within(link.target, os.path.realpath(mount)) for mount in around) and not any(
            is_within(link.target, os.path.realpath(other)) for other in others
        ):
            yield link


def _followed(path: str) -> str:
    """Return where a normal path is by the links above it."""
    above, name = os.path.split(path)
    return os.path.join(os.path.realpath(above), name)  # noqa: PTH118 - of any bytes


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
