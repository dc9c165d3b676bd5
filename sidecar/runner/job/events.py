"""Which events there are in a run, in Backrest's names and order: an earlier one counts first.

Ours beyond Backrest: END also where START hooks halt or where stale locks cannot be removed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.runner.due import Kind

_ANY = "CONDITION_ANY_ERROR"


@dataclass(frozen=True, slots=True)
class Events:
    """The event sets of one kind of work; `failed` if the work itself fails."""

    start: tuple[str, ...] = ()
    success: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    warning: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    halted: tuple[str, ...] = ()
    """It did not come to the work."""


_BACKUP = Events(
    start=("CONDITION_SNAPSHOT_START",),
    success=("CONDITION_SNAPSHOT_SUCCESS", "CONDITION_SNAPSHOT_END"),
    skipped=(
        "CONDITION_SNAPSHOT_SKIPPED",
        "CONDITION_SNAPSHOT_SUCCESS",
        "CONDITION_SNAPSHOT_END",
    ),
    warning=("CONDITION_SNAPSHOT_WARNING", "CONDITION_SNAPSHOT_END"),
    failed=("CONDITION_SNAPSHOT_ERROR", _ANY, "CONDITION_SNAPSHOT_END"),
    halted=(_ANY, "CONDITION_SNAPSHOT_ERROR", "CONDITION_SNAPSHOT_END"),
)


def _of_repo(name: str) -> Events:
    start, success, error = (f"CONDITION_{name}_{end}" for end in ("START", "SUCCESS", "ERROR"))
    done = (success,)
    return Events((start,), done, done, done, failed=(error, _ANY), halted=(_ANY, error))


EVENTS: Mapping[Kind, Events] = {
    Kind.BACKUP: _BACKUP,
    Kind.FORGET: _of_repo("FORGET"),
    Kind.PRUNE: _of_repo("PRUNE"),
    Kind.CHECK: _of_repo("CHECK"),
}
"""Restoring and verifying have no events."""
