"""What the two ways of backing up once have in common."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import IntEnum
from typing import Protocol

from sidecar.lib.errors import UsageError
from sidecar.runner.journal import Journal
from sidecar.runner.parts import JOURNAL
from sidecar.runner.settings import Settings

PURPOSE = "backup-once"
"""The word for whoever is refused because of us."""
Say = Callable[[str], None]
"""Tells people a line."""


class Result(IntEnum):
    """What came of it; of several the highest counts."""

    DONE = 0
    WARNING = 1
    """Everything is saved, but something went wrong besides."""
    FAILED = 2


class Way(Protocol):
    """A way to back up everything once. Everything but `stop` may raise SidecarError."""

    @property
    def container(self) -> str:
        """What containers are called that it makes; empty: it makes none."""
        ...

    def preview(self) -> tuple[str, ...]:
        """Say what would be done, a line each; does nothing."""
        ...

    def prepare(self) -> None:
        """See to it that it can be begun, while nothing is stopped yet."""
        ...

    def opened(self) -> AbstractContextManager[Journal]:
        """Be the only one who does this, for the block, and give the journal."""
        ...

    def resume(self) -> None:
        """Put right what its runs left that were killed; the containers run again by then."""
        ...

    def run(self) -> Result:
        """Do it."""
        ...

    def stop(self) -> None:
        """End it early; called by another thread, while `run` runs."""
        ...


def make_state(settings: Settings) -> None:
    """Make the state folder; raises UsageError."""
    state = settings.state_directory
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder {state} cannot be made: {error.strerror}",
            "name one that can be written by --runner-state-dir",
        ) from None


def open_journal(settings: Settings) -> Journal:
    """Open the journal that the runner has; raises SidecarError."""
    make_state(settings)
    return Journal(settings.state_directory / JOURNAL, settings.journal_keep)
