"""Moving what was restored aside to where it belongs."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.runner.restore.faults import RestoreError
from sidecar.runner.restore.merge import conflicts, merge
from sidecar.runner.restore.places import How, Step
from sidecar.runner.restore.staging import Staging, is_ours


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
        step, piece = self.step, self.step.piece
        self._give_parents()
        if piece.is_folder:
            self.staging.take_folder(piece.source)
        else:
            self.staging.take_entry(piece.source, Path(piece.place).name)
        if step.how is How.FILL and self._leaving():
            raise RestoreError(
                f"something has come to {piece.place} meanwhile: nothing was touched",
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
        if self.step.piece.is_folder:
            return [name for name in os.listdir(self.step.room) if not is_ours(name)]
        name = Path(self.step.piece.place).name
        return [name] if os.path.lexists(self.step.piece.place) else []

    def _give_parents(self) -> None:
        """Make the folders on the way what the snapshot says they were, if they are the same."""
        piece = self.step.piece
        if piece.place == piece.source:
            for folder in self.made:
                if str(folder) != piece.place:
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
