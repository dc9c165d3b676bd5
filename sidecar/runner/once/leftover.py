"""What a backup left that was killed: its own container, and those that it had stopped.

What a backup leaves on the disk as long as it runs, for the next start if it is killed.
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import RootModel, ValidationError

from sidecar.docker.usage import ContainerUse
from sidecar.lib.errors import StoreError
from sidecar.lib.log import log_event
from sidecar.lib.write_file import write_small
from sidecar.runner.journal import Stopped
from sidecar.runner.once.quiesce import StopsAndTells, in_start_order
from sidecar.runner.quiesce import StoppedRecords, start_again

FILE = "backup-once.json"


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """When it began, in unix seconds of the engine's clock; `shot`: what its container is called.

    `shot` is empty where it makes none.
    """

    at: float
    shot: str


_BYTES = RootModel[BackupRecord]


def write_record(state: Path, record: BackupRecord) -> None:
    """Write it durably, before anything is stopped. Raises StoreError: stop nothing then."""
    try:
        write_small(state, FILE, _BYTES(record).model_dump_json().encode(), durable=True)
    except OSError as error:
        raise StoreError(
            f"{state / FILE} cannot be written: {error.strerror}",
            "free space there, or name another folder by --runner-state-dir",
        ) from None


def read_record(state: Path) -> BackupRecord | None:
    """Read it; None if there is none, or none that can be read."""
    try:
        return _BYTES.model_validate_json((state / FILE).read_bytes()).root
    except (OSError, ValidationError):
        return None


def remove_record(state: Path) -> None:
    """Forget it: nothing is left to be put right."""
    (state / FILE).unlink(missing_ok=True)


DEFAULT_TIMEOUT = 60.0
"""Seconds that a container has to stop, before the engine ends it by force."""

_log = logging.getLogger(__name__)


class ContainerRemover(StopsAndTells, Protocol):
    """What is needed of `OneShotDocker`; everything may raise ContainersError."""

    def discard(self, name: str, seconds: int = 10) -> bool:
        """Stop and remove a container of ours."""
        ...


def recover_leftovers(
    engine: ContainerRemover, journal: StoppedRecords, seconds: float = DEFAULT_TIMEOUT
) -> tuple[str, ...]:
    """End a backup that still runs in a container, then start what was stopped for it.

    For each start of a runner, which has to be the only one of this journal. Gives what could
    not be started, in words; raises ContainersError or JournalError.
    """
    state = journal.path.parent
    record = read_record(state)
    if record is not None and record.shot and engine.discard(record.shot):
        log_event(_log, logging.WARNING, "leftover.ended", container=record.shot)
    if left := journal.still_stopped():
        since = None if record is None else record.at
        failures = start_again(_Settling(engine, since, seconds), _Sorted(engine, journal, left))
        if failures or journal.still_stopped():
            return failures
    if record is not None:
        remove_record(state)
    return ()


class _Settling:
    """The engine, for containers that it may be about to stop: who asked for that was killed.

    A container that runs and was not started since then is stopped first: only then is it
    certain that it stays when it is started.
    """

    def __init__(self, engine: StopsAndTells, since: float | None, seconds: float) -> None:
        self._engine = engine
        self._since = since
        self._seconds = math.ceil(seconds)

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it."""
        self._engine.stop(container, seconds)

    def start(self, container: str) -> bool:
        """Start it for good; False if it does not exist."""
        started = self._engine.started_at(container)
        if started is not None and (self._since is None or started <= self._since):
            log_event(_log, logging.INFO, "container.settle", container=container)
            self._engine.stop(container, self._seconds)
        return self._engine.start(container)

    def find(self, name: str) -> ContainerUse | None:
        """Find it by its id or its name."""
        return self._engine.find(name)

    def goes_when_stopped(self, container: str) -> bool:
        """Tell whether it would be removed."""
        return self._engine.goes_when_stopped(container)


class _Sorted:
    """The journal, whose stopped containers come in the order in which they start."""

    def __init__(
        self, engine: StopsAndTells, journal: StoppedRecords, left: tuple[Stopped, ...]
    ) -> None:
        self._journal = journal
        ordered = in_start_order(engine.all(), engine.providers())
        place = {one.id: number for number, one in enumerate(ordered)}
        place |= {one.name: number for number, one in enumerate(ordered)}
        last = len(ordered)
        self._left = sorted(
            left, key=lambda one: place.get(one.container, place.get(one.name, last))
        )

    @property
    def path(self) -> Path:
        """Its file."""
        return self._journal.path

    def stopped(self, container: str, name: str, run: int = 0) -> None:
        """Record that it is to be started again."""
        self._journal.stopped(container, name, run)

    def resumed(self, container: str) -> None:
        """Record that it needs not be started again."""
        self._journal.resumed(container)

    def still_stopped(self) -> tuple[Stopped, ...]:
        """List what is to be started again."""
        return tuple(self._left)
