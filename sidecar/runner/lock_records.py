"""Remember which programs may hold locks of repositories, to tell those that were left.

Every program that may take a lock is recorded in the journal, and inherits a descriptor that has
a shared lock on a file beside it. Whoever gets that file for himself knows that all programs of
so far have ended, in whichever container they ran. It is tried at the start of each process.
"""

import fcntl
import logging
import os
from pathlib import Path

from sidecar.engines.base import LockHolder
from sidecar.engines.locking import Host
from sidecar.lib.errors import SidecarError
from sidecar.lib.files import try_lock
from sidecar.lib.log import log_event
from sidecar.lib.process import Child
from sidecar.lib.threads import Closable
from sidecar.runner.journal import Journal

FILE = "engine.lock"
_log = logging.getLogger(__name__)


class JournalLockRecords(Closable):
    """What the journal knows of the programs that were started; see `base.LockRecords`.

    Where the file beside the journal cannot be locked, as on a full disk, none is recorded: a
    lock that is left then stays until it is half an hour old.
    """

    def __init__(self, journal: Journal, host: Host | None = None) -> None:
        self._journal = journal
        self._host = host or Host()
        self._descriptor = -1
        path = journal.path.parent / FILE
        try:
            self._descriptor = _open(path)
            if try_lock(self._descriptor):
                self._end_all()
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        except OSError as error:
            self.close()
            fields = {"file": str(path), "what": "holders of locks", "reason": error.strerror}
            log_event(_log, logging.ERROR, "journal.not-written", **fields)

    def close(self) -> None:
        """Release the file; programs that still run go on holding it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    @property
    def inherited(self) -> tuple[int, ...]:
        """The descriptor of the file; nothing if it is not open."""
        return (self._descriptor,) if self._descriptor >= 0 else ()

    def note(self, repo: str, child: Child) -> None:
        """Record that a program may hold locks of a repository from now on."""
        if self._descriptor < 0:
            # Nobody would notice that it still runs.
            return
        host = self._host
        holder = LockHolder(host.name, child.pid, host.boot, host.namespace, host.now())
        self._journal.locks.note(repo, holder)

    def holders(self, repo: str) -> tuple[LockHolder, ...]:
        """List the programs that may have left locks; none if the journal is out of reach."""
        try:
            return self._journal.locks.holders(repo)
        except SidecarError as error:
            log_event(_log, logging.ERROR, "journal.unreadable", reason=error.message)
            return ()

    def _end_all(self) -> None:
        try:
            self._journal.locks.end_all(self._host.now())
        except SidecarError as error:
            log_event(_log, logging.ERROR, "journal.unreadable", reason=error.message)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(path, flags, 0o600)
