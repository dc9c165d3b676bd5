"""workloads.json in the state directory: written after a pass, by which both programs know names.

It may be lost at any time: then plans are known by their ids, and the next pass writes it again.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sidecar.backrest.workloads import (
    LARGEST,
    NAME,
    WorkloadRecord,
    WorkloadsInvalid,
    join_lines,
    parse_workloads,
)
from sidecar.lib.log import log_event
from sidecar.lib.read_file import read_file
from sidecar.planner.propose import DesiredState, Proposal
from sidecar.planner.records import WorkloadRecords, gone_plans
from sidecar.reconciler.state import Memory, file_signature, write_in_turn

_log = logging.getLogger(__name__)


class WorkloadsFile:
    """Keeps the file as the last pass has it; for one thread.

    A pass in which nothing changed costs a look at the file's inode. What cannot be written is
    logged once, and tried again with the next pass.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._records = WorkloadRecords()
        self._proposal: Proposal | None = None
        self._lines: tuple[str, ...] | None = None
        self._seen: tuple[int, ...] = ()
        self._gone: dict[str, WorkloadRecord | None] = {}
        self._is_logged = False

    def update(self, proposal: Proposal, desired: DesiredState) -> None:
        """Write what a pass found, if the file says anything else. Raises nothing."""
        directory = self._memory.directory
        if directory is None or self._memory.is_read_only:
            return
        is_seen = file_signature(directory / NAME) == self._seen != ()
        if is_seen and proposal is self._proposal:
            return
        self._gone = self._records_of(gone_plans(proposal, desired), directory / NAME)
        lines = self._records.lines(proposal, desired, self._gone)
        self._proposal = proposal
        if not (is_seen and lines == self._lines):
            self._save(directory, join_lines(lines))
            self._lines = lines

    def _records_of(self, plans: Sequence[str], path: Path) -> dict[str, WorkloadRecord | None]:
        """Return what the file has of plans whose workload is gone; it is read once for each."""
        found = {plan: self._gone[plan] for plan in plans if plan in self._gone}
        if len(found) == len(plans):
            return found
        known = {one.plan: one for one in read_workloads(path)}
        return {plan: found.get(plan) or known.get(plan) for plan in plans}

    def _save(self, directory: Path, content: bytes) -> None:
        path = directory / NAME
        try:
            with self._memory.turn():
                if _content(path) != content:
                    write_in_turn(directory, NAME, content)
            self._seen, self._is_logged = file_signature(path), False
        except OSError as error:
            self._seen = ()
            if not self._is_logged:
                fields = {"directory": str(directory), "reason": error.strerror}
                log_event(_log, logging.WARNING, "workloads.not-saved", **fields)
            self._is_logged = True


def read_workloads(path: Path) -> tuple[WorkloadRecord, ...]:
    """Return the records of the file; none where it is absent, unreadable or not ours."""
    with suppress(OSError, WorkloadsInvalid):
        return parse_workloads(read_file(path, LARGEST))
    return ()


def _content(path: Path) -> bytes:
    """Return what the file holds now; empty where it is none that can be read."""
    with suppress(OSError):
        return read_file(path, LARGEST)
    return b""
