"""Moving restored data from its staging folder to its place: in exchange, or merged into it."""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.runner.restore.choose import RestoreError
from sidecar.runner.restore.places import Effect, Step
from sidecar.runner.restore.shape import FOLDER, give_shape, read_shape
from sidecar.runner.restore.staging import Staging, is_ours


@dataclass(frozen=True, slots=True)
class Move:
    """Moves in one step that was restored into `staging`; `made` are folders created above it.

    Both methods raise OSError, the first also RestoreError.
    """

    step: Step
    staging: Staging
    made: Sequence[Path]

    def make_ready(self) -> None:
        """Do all that can fail without touching what is there."""
        step, item = self.step, self.step.item
        self._give_parents()
        if item.is_folder:
            self.staging.take_folder(item.source)
        else:
            self.staging.take_entry(item.source, Path(item.place).name)
        if step.effect is Effect.FILL and self._leaving():
            raise RestoreError(
                f"something has come to {item.place} meanwhile: nothing was touched",
                "stop what writes there, and restore again",
            )
        found = next(conflicts(self.staging.new, step.receiver), None)
        if step.effect is Effect.MERGE and found is not None:
            raise RestoreError(
                f"{found} is a folder here or in the snapshot, but not in both: nothing was touched"
            )

    def make(self) -> None:
        """Move it in, and what was there out; a single file in one step, without a gap."""
        if self.step.effect is Effect.MERGE or not self.step.item.is_folder:
            self.staging.sync()
            merge(self.staging.new, self.step.receiver)
        else:
            self.staging.swap(self._leaving())

    def _leaving(self) -> list[str]:
        """Return the names of the entries that are there now and have to go."""
        if self.step.item.is_folder:
            return [name for name in os.listdir(self.step.receiver) if not is_ours(name)]
        name = Path(self.step.item.place).name
        return [name] if os.path.lexists(self.step.item.place) else []

    def _give_parents(self) -> None:
        """Give created folders the shape of the snapshot, if the data returns to its path."""
        item = self.step.item
        if item.place == item.source:
            for folder in self.made:
                if str(folder) != item.place:
                    self.staging.give_shape_of(str(folder), folder)


@contextlib.contextmanager
def made_folders(receiver: Path) -> Iterator[tuple[Path, ...]]:
    """Create a folder and those above it; if the block raises, remove those that are empty."""
    missing = [one for one in (receiver, *receiver.parents) if not one.exists()]
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


def conflicts(new: Path, receiver: Path) -> Iterator[Path]:
    """Yield what is a folder on one side only: neither can take the place of the other."""
    for entry in sorted(new.iterdir()):
        there = receiver / entry.name
        if not os.path.lexists(there):
            continue
        if _is_folder(entry) and _is_folder(there):
            yield from conflicts(entry, there)
        elif _is_folder(entry) or _is_folder(there):
            yield there


def merge(new: Path, receiver: Path) -> None:
    """Rename all that is in `new` into `receiver`, over what has the same name. Raises OSError."""
    for entry in sorted(new.iterdir()):
        there = receiver / entry.name
        if _is_folder(entry) and os.path.lexists(there):
            _merge_folder(entry, there)
        else:
            entry.replace(there)


def _merge_folder(new: Path, there: Path) -> None:
    descriptor = os.open(new, FOLDER)
    try:
        shape = read_shape(descriptor)
    finally:
        os.close(descriptor)
    merge(new, there)
    descriptor = os.open(there, FOLDER)
    try:
        give_shape(descriptor, shape)
    finally:
        os.close(descriptor)


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)
