"""Moving what was restored aside to where it belongs.

Moving restored data into a folder that keeps what else it holds.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.runner.restore.choose import RestoreError
from sidecar.runner.restore.places import How, Step
from sidecar.runner.restore.staging import Staging, give_shape, is_ours, read_shape

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def conflicts(new: Path, room: Path) -> Iterator[Path]:
    """Find what is a folder on one side only: neither can take the place of the other."""
    for entry in sorted(new.iterdir()):
        there = room / entry.name
        if not os.path.lexists(there):
            continue
        if _is_folder(entry) and _is_folder(there):
            yield from conflicts(entry, there)
        elif _is_folder(entry) or _is_folder(there):
            yield there


def merge(new: Path, room: Path) -> None:
    """Rename all that is in `new` into `room`, over what has the same name. Raises OSError."""
    for entry in sorted(new.iterdir()):
        there = room / entry.name
        if _is_folder(entry) and os.path.lexists(there):
            _merge_folder(entry, there)
        else:
            entry.replace(there)


def _merge_folder(new: Path, there: Path) -> None:
    descriptor = os.open(new, _FOLDER)
    try:
        shape = read_shape(descriptor)
    finally:
        os.close(descriptor)
    merge(new, there)
    descriptor = os.open(there, _FOLDER)
    try:
        give_shape(descriptor, shape)
    finally:
        os.close(descriptor)


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)


@dataclass(frozen=True, slots=True)
class Move:
    """One step that was restored into `staging`; `made` are the folders made on the way to it.

    Both methods raise OSError, the first also RestoreError.
    """

    step: Step
    staging: Staging
    made: Sequence[Path]

    def make_ready(self) -> None:
        """Do all that can be done, or fail, without touching what is there."""
        step, item = self.step, self.step.item
        self._give_parents()
        if item.is_folder:
            self.staging.take_folder(item.source)
        else:
            self.staging.take_entry(item.source, Path(item.place).name)
        if step.how is How.FILL and self._leaving():
            raise RestoreError(
                f"something has come to {item.place} meanwhile: nothing was touched",
                "stop what writes there, and restore again",
            )
        found = next(conflicts(self.staging.new, step.room), None)
        if step.how is How.MERGE and found is not None:
            raise RestoreError(
                f"{found} is a folder here or in the snapshot, but not in both: nothing was touched"
            )

    def make(self) -> None:
        """Move it in."""
        if self.step.how is How.MERGE:
            merge(self.staging.new, self.step.room)
        else:
            self.staging.swap(self._leaving())

    def _leaving(self) -> list[str]:
        """List what is there now and has to go."""
        if self.step.item.is_folder:
            return [name for name in os.listdir(self.step.room) if not is_ours(name)]
        name = Path(self.step.item.place).name
        return [name] if os.path.lexists(self.step.item.place) else []

    def _give_parents(self) -> None:
        """Make the folders on the way what the snapshot says they were, if they are the same."""
        item = self.step.item
        if item.place == item.source:
            for folder in self.made:
                if str(folder) != item.place:
                    self.staging.give_shape_of(str(folder), folder)


@contextlib.contextmanager
def made_folders(room: Path) -> Iterator[tuple[Path, ...]]:
    """Make a folder with those above it; if the block raises, what is empty of them goes again."""
    missing = [one for one in (room, *room.parents) if not one.exists()]
    made: list[Path] = []
    try:
        for one in reversed(missing):
            one.mkdir(mode=0o755)
            made.append(one)
        yield tuple(made)
    except BaseException:
        for one in reversed(made):
            with contextlib.suppress(OSError):
                one.rmdir()
        raise
