"""What there is where something is to be restored, and whether that may be done.

Which containers use the places of a restore.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sidecar.docker.endpoint import DEFAULT_ADDRESS
from sidecar.docker.lifecycle import NoDocker
from sidecar.docker.usage import ContainerUse, is_within, on_host, own_container, own_id, users_of
from sidecar.lib.text import render_size
from sidecar.runner.restore.choose import RestoreError, RestoreItem, RestoreRequest
from sidecar.runner.restore.staging import is_ours

_OCTAL = re.compile(r"\\([0-7]{3})")


class ExistingTarget(StrEnum):
    """What is in a place."""

    MISSING = "nothing"
    EMPTY = "an empty folder"
    FULL = "a folder with contents"
    ENTRY = "a file"
    LINK = "a symbolic link"


class How(StrEnum):
    """What becomes of what is in a place."""

    FILL = "fills it"
    REPLACE = "replaces it"
    MERGE = "is put into it, over what has the same name"


@dataclass(frozen=True, slots=True)
class Step:
    """What is restored to one place, and what is there now."""

    item: RestoreItem
    standing: ExistingTarget
    how: How

    @property
    def room(self) -> Path:
        """The folder that receives it."""
        place = Path(self.item.place)
        return place if self.item.is_folder else place.parent


def look_at(place: str) -> ExistingTarget:
    """Look what is there. Raises OSError where that cannot be seen."""
    path = Path(place)
    try:
        if path.is_symlink():
            return ExistingTarget.LINK
        if not path.is_dir():
            path.lstat()
            return ExistingTarget.ENTRY
        with os.scandir(path) as entries:
            is_empty = all(is_ours(entry.name) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return ExistingTarget.MISSING
    return ExistingTarget.EMPTY if is_empty else ExistingTarget.FULL


def plan_step(item: RestoreItem, standing: ExistingTarget, request: RestoreRequest) -> Step:
    """Decide what becomes of what is there. Pure; raises RestoreError if it must not be touched."""
    if _is_free(item, standing):
        return Step(item, standing, How.FILL)
    kind = "a folder" if item.is_folder else "a file"
    if _is_of_another_kind(item, standing):
        raise RestoreError(
            f"{item.place} is {standing} now, and {kind} in the snapshot: nothing was touched",
            f"restore it elsewhere: --target DIR or --path-map {item.source}=PLACE",
        )
    if request.target:
        if not request.force:
            raise RestoreError(
                f"{item.place} is {standing}: nothing was touched",
                "name an empty --target, or write --force to overwrite what has the same name",
            )
        return Step(item, standing, How.MERGE if item.is_folder else How.REPLACE)
    if not request.in_place:
        raise RestoreError(
            f"{item.place} is {standing}: nothing was touched",
            "write --in-place to replace it by what the snapshot holds, or --target DIR",
        )
    return Step(item, standing, How.REPLACE)


def _is_free(item: RestoreItem, standing: ExistingTarget) -> bool:
    return standing is ExistingTarget.MISSING or (
        item.is_folder and standing is ExistingTarget.EMPTY
    )


def _is_of_another_kind(item: RestoreItem, standing: ExistingTarget) -> bool:
    is_folder = standing in {ExistingTarget.EMPTY, ExistingTarget.FULL}
    return is_folder != item.is_folder


def check_mounts(step: Step, mountinfo: str) -> None:
    """Refuse to move what something is mounted in: it would be moved along, and deleted."""
    found = [one for one in parse_mounts(mountinfo) if _is_below(one, step.item.place)]
    if step.how is not How.FILL and found:
        raise RestoreError(
            f"{found[0]} is mounted within {step.item.place}: nothing was touched",
            "restore the parts of it by --path, or all of it to a --target",
        )


def _is_below(path: str, folder: str) -> bool:
    return path != folder and is_within(path, folder)


def parse_mounts(mountinfo: str) -> tuple[str, ...]:
    """List the mount points of `/proc/self/mountinfo`."""
    lines = (line.split(" ") for line in mountinfo.splitlines())
    return tuple(
        _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), fields[4])
        for fields in lines
        if len(fields) > 4
    )


def check_space(steps: tuple[Step, ...], free: Mapping[Path, tuple[int, int]]) -> str:
    """Tell where there is too little space, empty if nowhere. Pure.

    `free` gives for each room its device and the bytes that are free there; what is replaced
    is there until all is restored.
    """
    needed: dict[int, int] = {}
    for step in steps:
        device, available = free[step.room]
        needed[device] = needed.get(device, 0) + step.item.bytes
        if needed[device] > available:
            missing = render_size(needed[device] - available)
            return f"{missing} more would be needed on the disk of {step.item.place}"
    return ""


def free_at(room: Path) -> tuple[int, int]:
    """Return the device that would hold a folder, and the bytes that are free there."""
    existing = room
    while not existing.is_dir() and existing != existing.parent:
        existing = existing.parent
    return existing.stat().st_dev, shutil.disk_usage(existing).free


_MARKS = ("/.dockerenv", "/run/.containerenv")


class ContainerLister(Protocol):
    """What is needed of `Containers`; everything may raise ContainersError."""

    @property
    def address(self) -> str:
        """Where the engine is."""
        ...

    def all(self) -> tuple[ContainerUse, ...]:
        """List the containers."""
        ...

    def data_root(self) -> str:
        """Return the engine's folder."""
        ...


@dataclass(frozen=True, slots=True)
class TargetUsage:
    """Where this process runs: the id of its container or its beginning, empty outside of any."""

    container: str

    @classmethod
    def found(cls) -> "TargetUsage":
        """Look where we are; where the id of our container is not known, it is `?`."""
        return cls(own_id() or ("?" if any(Path(mark).exists() for mark in _MARKS) else ""))


def users_at_work(
    engine: ContainerLister, places: Iterable[str], here: TargetUsage | None = None
) -> tuple[ContainerUse, ...]:
    """List the containers at work that use a place, except our own.

    Where there is no engine at the usual address, and we are in no container ourselves,
    there are none. Raises ContainersError where it cannot be known.
    """
    here = here or TargetUsage.found()
    try:
        everything = engine.all()
    except NoDocker:
        if here.container or engine.address != DEFAULT_ADDRESS:
            raise
        return ()
    own = own_container(everything, here.container)
    others = [one for one in everything if one.is_at_work and one != own]
    wanted = {on_host(os.path.realpath(place), own) for place in places}
    return users_of(wanted, others, engine.data_root())
