"""The journal's file: transactions that survive a broken or removed file and a full disk."""

import contextlib
import errno
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sidecar.engines.base import FailureClass
from sidecar.lib.log import log_event
from sidecar.lib.threads import Closable
from sidecar.runner.journal.memory import RunMemory
from sidecar.runner.journal.records import JournalError
from sidecar.runner.journal.schema import (
    Rows,
    is_broken,
    open_copy,
    open_file,
    open_reading,
    put_back,
    read_what_is_left,
    release,
    set_aside,
)

_log = logging.getLogger(__name__)

_MOST_LATE = 1000
_HINTS = {
    FailureClass.DISK_FULL: "free space where the journal lies",
    FailureClass.PERMISSION: "give the journal's directory to the runner's user",
    FailureClass.UNKNOWN: "see whether its disk works, and who may write there",
}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_BUSY_HINT = "another program has the journal open for long: end it"

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], T]


class Database(Closable):
    """One file, open for all threads of this process.

    A file that turns out to be broken is renamed, and what can be read of it goes into a new
    one. If somebody removes the file, what is in `memory` goes into a new one. Whoever changes
    both holds `lock` meanwhile. A change that cannot be written is written with the next one that
    can be. `now` gives unix seconds; `for_daemon` lets the file be checked where the daemon before
    has died. Where its disk is so full that it cannot be opened, a copy in memory is read, and
    changes are made as soon as it can. Raises JournalError if there can be no file at all.
    With `only_reads` the file is looked at and nothing else: every change raises JournalError, and
    so does opening one that is not there, or that is broken.
    """

    def __init__(
        self,
        path: Path,
        memory: RunMemory,
        now: Callable[[], float] = time.time,
        *,
        for_daemon: bool = False,
        only_reads: bool = False,
    ) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._memory = memory
        self._now = now
        self._for_daemon = for_daemon
        self._only_reads = only_reads
        self._late: deque[Change[object]] = deque(maxlen=_MOST_LATE)
        self._is_reported = False
        self._is_copy = False
        self._connection, self._identity = self._open()

    def close(self) -> None:
        """Close the file, after another try to write what could not be written so far."""
        with self.lock:
            if self._for_daemon:
                self.try_change("that the daemon has ended", release)
            elif self._late:
                self.try_change("the last of it", lambda _: None)
            self._for_daemon = False
            self._connection.close()

    def read(self, query: Change[T]) -> T:
        """Run a query. Raises JournalError."""
        with self.lock:
            try:
                return query(self._connection)
            except sqlite3.Error as error:
                if is_broken(error) and not self._only_reads:
                    return self._begin_anew(query, str(error))
                raise _journal_error("read", error) from error

    def change(self, change: Change[T]) -> T:
        """Make a change that is on disk when this returns. Raises JournalError."""
        with self.lock:
            if self._only_reads:
                raise JournalError("the journal is only read here", "", FailureClass.PERMISSION)
            try:
                if self._is_copy:
                    self._leave_copy()
                if self._is_gone():
                    return self._begin_anew(change, "it was removed")
                return self._transact(change)
            except OSError as error:
                raise _journal_error("written", error) from error
            except sqlite3.Error as error:
                if is_broken(error):
                    return self._begin_anew(change, str(error))
                raise _journal_error("written", error) from error

    def _leave_copy(self) -> None:
        """Use the file in place of its copy in memory. Raises OSError or sqlite3.Error."""
        if _is_full(self.path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        opened = open_file(self.path, for_daemon=self._for_daemon)
        self._connection.close()
        self._connection, self._identity = opened, _identity(self.path)
        self._is_copy = False

    def try_change(self, what: str, change: Change[object]) -> bool:
        """Make a change now, or else with a later one. Return whether it is made.

        Of several failures in a row the first is logged; `what` is for the log.
        """
        with self.lock:
            try:
                self.change(change)
            except JournalError as error:
                self._late.append(change)
                if not self._is_reported:
                    fields = {"file": str(self.path), "what": what, "reason": error.message}
                    log_event(_log, logging.ERROR, "journal.not-written", **fields)
                self._is_reported = True
                return False
            self._is_reported = False
            return True

    def _transact(self, change: Change[T]) -> T:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for late in self._late:
                late(connection)
            result = change(connection)
            connection.execute("COMMIT")
        except BaseException:
            # A full disk may have ended the transaction already.
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        self._late.clear()
        return result

    def _is_gone(self) -> bool:
        """Return whether our path has another file, or none: what we write would be lost."""
        return _identity(self.path) != self._identity

    def _begin_anew(self, change: Change[T], reason: str) -> T:
        """Begin a new file in place of one that is broken or gone, and make the change there."""
        known = self._memory.rows()
        self._connection.close()
        try:
            rows = self._put_aside(reason)
            self._connection = self._open_with(known + rows)
            self._identity = _identity(self.path)
            return self._transact(change)
        except (OSError, sqlite3.Error) as error:
            raise _journal_error("begun anew", error) from error

    def _open(self) -> tuple[sqlite3.Connection, tuple[int, int]]:
        try:
            if self._only_reads:
                return open_reading(self.path), (0, 0)
            try:
                return open_file(self.path, for_daemon=self._for_daemon), _identity(self.path)
            except sqlite3.Error as error:
                if not is_broken(error):
                    raise
                rows = self._put_aside(str(error))
            return self._open_with(rows), _identity(self.path)
        except (OSError, sqlite3.Error) as error:
            if _is_full(self.path) and not self._only_reads:
                return self._copy(error), (0, 0)
            raise _journal_error("opened", error) from error

    def _copy(self, error: Exception) -> sqlite3.Connection:
        """Open a copy in memory; raises JournalError if the file cannot even be read."""
        try:
            copy = open_copy(self.path)
        except sqlite3.Error:
            raise _journal_error("opened", error) from error
        self._is_copy = True
        reason = f"its disk is full: {error}"
        fields = {"file": str(self.path), "what": "anything", "reason": reason}
        log_event(_log, logging.ERROR, "journal.not-written", **fields)
        return copy

    def _open_with(self, rows: Rows) -> sqlite3.Connection:
        """Open a new file with these rows."""
        connection = open_file(self.path, for_daemon=self._for_daemon)
        try:
            connection.execute("BEGIN IMMEDIATE")
            put_back(connection, rows)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _put_aside(self, reason: str) -> Rows:
        """Rename the file if it exists; return the rows that can be read of it."""
        aside = set_aside(self.path, self._now()) if self.path.is_file() else None
        rows = [] if aside is None else read_what_is_left(aside)
        fields = {"file": str(self.path), "rows": len(rows), "reason": reason}
        log_event(_log, logging.ERROR, "journal.set-aside", kept=str(aside or ""), **fields)
        return rows


def _is_full(path: Path) -> bool:
    """Return whether the disk of a file has no space left."""
    try:
        return os.statvfs(path.parent).f_bavail == 0
    except OSError:
        return False


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - asked before each change
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def _journal_error(what: str, error: Exception) -> JournalError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    number = getattr(error, "errno", 0)
    failure = FailureClass.UNKNOWN
    if code == sqlite3.SQLITE_FULL or number in {errno.ENOSPC, errno.EDQUOT}:
        failure = FailureClass.DISK_FULL
    elif code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM} or number in {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
    }:
        failure = FailureClass.PERMISSION
    hint = _BUSY_HINT if code in _BUSY else _HINTS[failure]
    return JournalError(f"the journal cannot be {what}: {error}", hint, failure)
