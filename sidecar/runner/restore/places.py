"""What lies where something is to be restored, and whether it may be touched."""

import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sidecar.docker.usage import is_within
from sidecar.engines.base import FailureClass
from sidecar.lib.text import render_size
from sidecar.runner.restore.choose import (
    LinkedPlaceError,
    ReadOnlyPlaceError,
    RestoreError,
    RestoreItem,
    RestoreRequest,
    place_of,
)
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
    """Return what would happen to what is there; `check_step` tells whether it may. Pure."""
    if _is_free(item, existing):
        return Step(item, existing, Effect.FILL)
    is_merged = bool(request.target) and item.is_folder
    return Step(item, existing, Effect.MERGE if is_merged else Effect.REPLACE)


def check_step(step: Step, request: RestoreRequest) -> None:
    """Raise RestoreError if what is there must not be touched. Pure."""
    item, existing = step.item, step.existing
    if step.effect is Effect.FILL:
        return
    kind = "a folder" if item.is_folder else "a file"
    if _is_of_another_kind(item, existing):
        raise RestoreError(
            f"{item.place} is {existing} now, and {kind} in the snapshot: nothing was touched",
            f"restore it elsewhere: --to DIR or --path-map {item.source}=PLACE",
        )
    if request.target and not request.force:
        raise RestoreError(
            f"{item.place} is {existing}: nothing was touched",
            "name an empty folder, or write --force to overwrite what has the same name",
        )
    if not request.target and not request.in_place:
        raise RestoreError(
            f"{item.place} is {existing}: nothing was touched",
            "write --yes (or --in-place) to replace it by what the snapshot holds, or --to DIR",
        )


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
    saved, and what is a link now may lead to another's data. So is all in a mount of the container
    that its paths lie in: what runs there may have put the link there. What lies above these, and
    the target of a restore, is the operator's own.
    """
    roots = [request.target] if request.target else [*_kept_by_containers(item, request, sources)]
    way = Path(item.place).parent
    below = [one for one in (way, *way.parents) if any(is_within(str(one), root) for root in roots)]
    for one in reversed(below):
        if one.is_symlink() and str(one) != request.target:
            raise LinkedPlaceError(
                f"{one} is a symbolic link now, and a folder in the snapshot: nothing was touched",
                "put the folder back in its place, or restore to a --target",
            )


def _kept_by_containers(
    item: RestoreItem, request: RestoreRequest, sources: Iterable[str]
) -> Iterator[str]:
    """Yield the folders around a place whose contents are not the operator's own."""
    # Whoever writes into the record of mounts can have more refused by it, and nothing less.
    mounts = (seen for seen, _ in request.inside if seen != "/")
    holding = [
        one for one in (*map(posixpath.normpath, sources), *mounts) if is_within(item.source, one)
    ]
    for one in holding or [item.source]:
        yield place_of(one, request.path_map)


def check_mounts(step: Step, mountinfo: str) -> None:
    """Raise RestoreError if something is mounted within a place that would be moved and deleted."""
    found = [one for one in parse_mounts(mountinfo) if _is_below(one, step.item.place)]
    if step.effect is not Effect.FILL and found:
        raise RestoreError(
            f"{found[0]} is mounted within {step.item.place}: nothing was touched",
            "restore the parts of it, each by its own path, or all of it to a folder: --to",
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


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """What a restore needs on the disk of a place, and what is free there, in bytes."""

    place: str
    needed: int
    free: int

    @property
    def lacking(self) -> str:
        """What is missing, in words; empty if it is enough."""
        if self.needed <= self.free:
            return ""
        missing = render_size(self.needed - self.free)
        return f"{missing} more would be needed on the disk of {self.place}"


def measure_space(
    steps: Iterable[Step], free: Mapping[Path, tuple[int, int]]
) -> tuple[DiskSpace, ...]:
    """Return what is needed of each disk. Pure.

    `free` gives for each receiver its device and the bytes that are free there. What is
    replaced takes space until all is restored. A disk is called by the last place on it.
    """
    disks: dict[int, DiskSpace] = {}
    for step in steps:
        device, available = free[step.receiver]
        before = disks[device].needed if device in disks else 0
        disks[device] = DiskSpace(step.item.place, before + step.item.bytes, available)
    return tuple(disks.values())


def check_writable(receiver: Path) -> None:
    """Raise RestoreError if a folder lies in what can only be read. Raises OSError."""
    if os.statvfs(nearest_folder(receiver)).f_flag & os.ST_RDONLY:
        raise ReadOnlyPlaceError(
            f"{receiver} can only be read here: nothing was touched",
            "they have to be mounted writable where this runs, as in compose.runner-restore.yaml",
            FailureClass.PERMISSION,
        )


def nearest_folder(path: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def free_at(receiver: Path) -> tuple[int, int]:
    """Return the device that would hold a folder, and the bytes that are free there."""
    nearest = nearest_folder(receiver)
    return nearest.stat().st_dev, shutil.disk_usage(nearest).free
