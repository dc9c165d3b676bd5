"""What lies where something is to be restored, and whether it may be touched."""

import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sidecar.docker.usage import is_within
from sidecar.lib.text import render_size
from sidecar.runner.restore.choose import RestoreError, RestoreItem, RestoreRequest, place_of
from sidecar.runner.restore.staging import is_ours

_OCTAL = re.compile(r"\\([0-7]{3})")


class ExistingTarget(StrEnum):
    """What is in a place now."""

    MISSING = "nothing"
    EMPTY = "an empty folder"
    FULL = "a folder with contents"
    ENTRY = "a file"
    LINK = "a symbolic link"


class Effect(StrEnum):
    """What restored data does to what is in its place."""

    FILL = "fills it"
    REPLACE = "replaces it"
    MERGE = "is put into it, over what has the same name"


@dataclass(frozen=True, slots=True)
class Step:
    """What is restored to one place, and what is there now."""

    item: RestoreItem
    existing: ExistingTarget
    effect: Effect

    @property
    def receiver(self) -> Path:
        """The folder that receives it."""
        place = Path(self.item.place)
        return place if self.item.is_folder else place.parent


def read_target(place: str) -> ExistingTarget:
    """Return what is in a place. Raises OSError where that cannot be seen."""
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


def plan_step(item: RestoreItem, existing: ExistingTarget, request: RestoreRequest) -> Step:
    """Decide what happens to what is there. Pure; raises RestoreError if it must not be touched."""
    if _is_free(item, existing):
        return Step(item, existing, Effect.FILL)
    kind = "a folder" if item.is_folder else "a file"
    if _is_of_another_kind(item, existing):
        raise RestoreError(
            f"{item.place} is {existing} now, and {kind} in the snapshot: nothing was touched",
            f"restore it elsewhere: --target DIR or --path-map {item.source}=PLACE",
        )
    if request.target:
        if not request.force:
            raise RestoreError(
                f"{item.place} is {existing}: nothing was touched",
                "name an empty --target, or write --force to overwrite what has the same name",
            )
        return Step(item, existing, Effect.MERGE if item.is_folder else Effect.REPLACE)
    if not request.in_place:
        raise RestoreError(
            f"{item.place} is {existing}: nothing was touched",
            "write --in-place to replace it by what the snapshot holds, or --target DIR",
        )
    return Step(item, existing, Effect.REPLACE)


def _is_free(item: RestoreItem, existing: ExistingTarget) -> bool:
    return existing is ExistingTarget.MISSING or (
        item.is_folder and existing is ExistingTarget.EMPTY
    )


def _is_of_another_kind(item: RestoreItem, existing: ExistingTarget) -> bool:
    is_folder = existing in {ExistingTarget.EMPTY, ExistingTarget.FULL}
    return is_folder != item.is_folder


def check_links(item: RestoreItem, request: RestoreRequest, sources: Iterable[str]) -> None:
    """Raise RestoreError if a symbolic link lies on the way to a place.

    `sources` are the paths of the snapshot: below them everything was a folder when it was
    saved, and what is a link now may lead to another's data. What lies above them, and the
    target of a restore, is the operator's own.
    """
    root = request.target
    if not root:
        holding = [one for one in map(posixpath.normpath, sources) if is_within(item.source, one)]
        root = place_of(max(holding, key=len, default=item.source), request.path_map)
    way = Path(item.place).parent
    below = [one for one in (way, *way.parents) if is_within(str(one), root)]
    for one in reversed(below):
        if one.is_symlink() and str(one) != request.target:
            raise RestoreError(
                f"{one} is a symbolic link now, and a folder in the snapshot: nothing was touched",
                "put the folder back in its place, or restore to a --target",
            )


def check_mounts(step: Step, mountinfo: str) -> None:
    """Raise RestoreError if something is mounted within a place that would be moved and deleted."""
    found = [one for one in parse_mounts(mountinfo) if _is_below(one, step.item.place)]
    if step.effect is not Effect.FILL and found:
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
    """Return in words where there is too little space, empty if nowhere. Pure.

    `free` gives for each receiver its device and the bytes that are free there. What is
    replaced takes space until all is restored.
    """
    needed: dict[int, int] = {}
    for step in steps:
        device, available = free[step.receiver]
        needed[device] = needed.get(device, 0) + step.item.bytes
        if needed[device] > available:
            missing = render_size(needed[device] - available)
            return f"{missing} more would be needed on the disk of {step.item.place}"
    return ""


def free_at(receiver: Path) -> tuple[int, int]:
    """Return the device that would hold a folder, and the bytes that are free there."""
    nearest = receiver
    while not nearest.is_dir() and nearest != nearest.parent:
        nearest = nearest.parent
    return nearest.stat().st_dev, shutil.disk_usage(nearest).free
