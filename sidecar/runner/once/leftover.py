"""What a killed backup has left: its own container, and those that it had stopped.

While a backup runs, a record of it lies in the state folder. The next start of a runner ends
by it what the backup has begun.
"""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from sidecar.lib.errors import StoreError
from sidecar.lib.log import log_event
from sidecar.lib.read_file import read_file
from sidecar.lib.write_file import write_small
from sidecar.runner.journal import Journal, Stopped
from sidecar.runner.once.quiesce import QuiesceControl, in_start_order
from sidecar.runner.quiesce import Wait, start_again

FILE = "backup-once.json"
DEFAULT_TIMEOUT = 60.0
"""Seconds that a container has to stop, before Docker kills it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """The name of a backup's container, as `backup-once-0a1b2c3d4e5f`; empty if it has none."""

    shot: str


_MOST_BYTES = 1 << 24


def write_record(state: Path, record: BackupRecord) -> None:
    """Write the record durably, before anything is stopped.

    Raises StoreError: then nothing must be stopped.
    """
    try:
        write_small(state, FILE, json.dumps(asdict(record)).encode(), durable=True)
    except OSError as error:
        raise StoreError(
            f"{state / FILE} cannot be written: {error.strerror}",
            "free space there, or name another folder by --runner-state-dir",
        ) from None


def read_record(state: Path) -> BackupRecord | None:
    """Read the record; None if there is none, or none that can be read."""
    try:
        shot = json.loads(read_file(state / FILE, _MOST_BYTES))["shot"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return BackupRecord(shot) if isinstance(shot, str) else None


def remove_record(state: Path) -> None:
    """Remove the record: nothing is left to recover."""
    (state / FILE).unlink(missing_ok=True)


class ContainerRemover(QuiesceControl, Protocol):
    """What recovery needs of Docker; every method may raise DockerError."""

    def discard(self, name: str, seconds: int = 10) -> bool:
        """Stop and remove a container that a backup created; False if there is none."""
        ...


def recover_leftovers(
    docker: ContainerRemover,
    journal: Journal,
    wait: Wait | None = None,
    *,
    is_alone: bool = True,
) -> tuple[str, ...]:
    """End a backup that still runs in a container, then start what was stopped for it.

    To be called at each start of a runner. Only where it `is_alone`, as the holder of the
    scheduler's lock is, the backup's process is known to be dead: else its container is left
    alone. For `wait` see `start_again`. Returns what could not be started, in words. Raises
    DockerError or JournalError.
    """
    state = journal.path.parent
    record = read_record(state) if is_alone else None
    if record is not None and record.shot and docker.discard(record.shot):
        log_event(_log, logging.WARNING, "leftover.ended", container=record.shot)
    if left := journal.containers.still_stopped():
        failures = start_again(docker, journal, wait, _in_start_order(docker, left))
        if failures or journal.containers.still_stopped():
            return failures
    if record is not None:
        remove_record(state)
    return ()


def _in_start_order(docker: QuiesceControl, left: Iterable[Stopped]) -> list[Stopped]:
    """Return them in the order in which they are to start."""
    ordered = in_start_order(docker.all(), docker.providers())
    place = {one.id: number for number, one in enumerate(ordered)}
    place |= {one.name: number for number, one in enumerate(ordered)}
    last = len(ordered)
    return sorted(left, key=lambda one: place.get(one.container, place.get(one.name, last)))
