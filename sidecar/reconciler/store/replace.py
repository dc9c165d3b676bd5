"""Replace the document's file atomically, so that nobody's save is lost.

`read` gives the bytes and the identity of the state that they were read from; `replace`
puts other bytes in place of that very state, or reports that it is not there any more, and
the caller reads again. Among ourselves a lock on the directory keeps order, without a lock
file: it is held for the replacement only, and for a whole turn by one that came too late.
Other programs know no lock: they save when they like, and no save of theirs is lost.
SIGKILL at any moment leaves the old or the new file.
"""

import logging
import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path

from sidecar.lib import files as atomic
from sidecar.lib.errors import StoreError
from sidecar.reconciler.store import leftovers
from sidecar.reconciler.store.read import (
    DigestCache,
    DocumentFile,
    FileIdentity,
    Stored,
    explained,
    find_document_file,
    hint_for,
)

_POLL_SECONDS = 0.02
_NEW_FILE_MODE = 0o600

_log = logging.getLogger(__name__)


class AlreadyThereError(StoreError):
    """There is a file where one should be created."""


class Replacement(Enum):
    """What came of it to replace a state of the file by another."""

    WRITTEN = auto()
    CHANGED = auto()
    """Nothing is written: somebody saved since that state was read."""


class Store:
    """Reads and replaces one file.

    `mode`: permission bits that each write gives it; None keeps those it has (0600 for
    a new file). `lock_wait`: seconds to wait for other sidecars; long, because hundreds
    may queue and a dead one holds no lock. `pause` waits for some seconds. `beside`: another
    store of the same program; in the same directory a turn of that one is one of this one too.
    """

    def __init__(
        self,
        path: Path,
        mode: int | None = None,
        lock_wait: float = 300.0,
        *,
        pause: Callable[[float], None] = time.sleep,
        beside: "Store | None" = None,
    ) -> None:
        self.path = path
        self._mode = mode
        self._lock_wait = lock_wait
        self._pause = pause
        self._known = DigestCache()
        self._written: tuple[int, ...] = ()
        self._turn: int | None = None
        has_same_lock = beside is not None and beside.path.parent == path.parent
        self._beside = beside if has_same_lock else None

    def is_last_write(self, state: tuple[int, ...]) -> bool:
        """Return whether a file of this device, inode, size and times is our last write.

        The times are mtime and ctime in ns. Thread-safe.
        """
        return bool(state) and state == self._written

    def read(self) -> Stored:
        """Read the file as it is, without a lock and without changing anything."""
        with self._opened() as directory:
            return find_document_file(directory, self.path, self._known).load()

    def recover(self) -> list[str]:
        """Put in order what an interrupted write left; return sentences for people about it.

        Raises StoreError. Where nothing is left, nothing is locked.
        """
        with self._opened() as directory:
            file = find_document_file(directory, self.path, self._known)
            if not leftovers.are_left(file):
                return []
            # It may also be of a write that another sidecar is at: that one holds the lock.
            with self._locked(directory):
                return leftovers.recover(file)

    def replace(self, base: Stored, content: bytes) -> Replacement:
        """Write `content` in place of `base`, a state that `read` returned; raises StoreError.

        What an interrupted write left is put in order first.
        """
        with self._own_turn() as directory:
            file = find_document_file(directory, self.path, self._known)
            _log_all(leftovers.recover(file))
            if file.identity() != base.identity:
                return Replacement.CHANGED
            is_written = self._replace(file, base.identity, content)
            return Replacement.WRITTEN if is_written else Replacement.CHANGED

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other sidecars from replacing the file for as long as the body runs.

        For one that they came before: of hundreds that read and replace at the same time, one
        could come too late each time. For one thread.
        """
        with self._own_turn() as directory:
            self._turn = directory
            try:
                yield
            finally:
                self._turn = None

    def create(self, content: bytes) -> None:
        """Create the file; AlreadyThereError if anything has its name, which is never touched."""
        with self._own_turn() as directory:
            file = find_document_file(directory, self.path, self._known)
            _log_all(leftovers.recover(file))
            with explained(file.path, "create"):
                self._create(file, content)

    def _create(self, file: DocumentFile, content: bytes) -> None:
        if file.identity() is not None:
            raise _already_there(file)
        with self._new_part(file, content, None) as part:
            try:
                atomic.rename_new(file.directory, part, file.name)
            except FileExistsError:
                raise _already_there(file) from None
        _sync(file)

    def _replace(self, file: DocumentFile, base: FileIdentity, content: bytes) -> bool:
        """Write `content` over `base`; False if somebody saved since `base` was read."""
        digest = file.known.digest(content)
        with explained(file.path, "replace"):
            with self._new_part(file, content, base) as part:
                ours = file.identity(part)
                if ours is None or ours.digest != digest:
                    raise StoreError(
                        f"what was written beside {file.path} cannot be read back",
                        "check the disk",
                    )
                swap = leftovers.swap_for(file, part, base.digest, digest)
                atomic.replace(file.directory, part, swap.name)
            try:
                if not _exchange(file, swap, base, ours):
                    return False
                self._note_write(ours)
                return True
            finally:
                # Also after an error; what else it may hold is for the next recovery.
                if file.identity(swap.name) == ours:
                    atomic.remove(file.directory, swap.name)

    def _note_write(self, ours: FileIdentity) -> None:
        """Remember the state of the file, unless somebody else has saved since."""
        self._written = ()
        with suppress(OSError):
            found = self.path.stat()
            known = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if known == (ours.device, ours.inode, ours.size, ours.mtime_ns):
                self._written = (*known, found.st_ctime_ns)

    @contextmanager
    def _new_part(
        self, file: DocumentFile, content: bytes, base: FileIdentity | None
    ) -> Iterator[str]:
        """Write `content` durably beside the document; removed at the end if still there."""
        part = leftovers.new_part_name(file)
        descriptor = atomic.create_new(file.directory, part)
        try:
            try:
                self._set_attributes(descriptor, file, base)
                atomic.write_all(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            yield part
        finally:
            atomic.remove(file.directory, part)

    def _set_attributes(
        self, descriptor: int, file: DocumentFile, base: FileIdentity | None
    ) -> None:
        """Give the new file its owner, attributes and mode before anything secret is in it."""
        mode = _NEW_FILE_MODE
        if base is not None:
            mode = _copy_owner(descriptor, file)
        if not atomic.give_mode(descriptor, mode if self._mode is None else self._mode):
            raise StoreError(
                f"the file system does not let {file.path} have the mode that is wanted",
                "set the mode by the options of the mount",
            )

    @contextmanager
    def _opened(self) -> Iterator[int]:
        directory = _open_directory(self.path)
        try:
            yield directory
        finally:
            os.close(directory)

    @contextmanager
    def _own_turn(self) -> Iterator[int]:
        """Give the directory, locked by `turn` or now."""
        turn = self._turn
        if turn is None and self._beside is not None:
            turn = self._beside._turn  # noqa: SLF001 - of the same class
        if turn is not None:
            yield turn
            return
        with self._opened() as directory, self._locked(directory):
            yield directory

    @contextmanager
    def _locked(self, directory: int) -> Iterator[None]:
        self._wait_for_lock(directory)
        try:
            yield
        finally:
            atomic.unlock(directory)

    def _wait_for_lock(self, directory: int) -> None:
        for _ in range(max(1, math.ceil(self._lock_wait / _POLL_SECONDS))):
            with explained(self.path.parent, "lock"):
                if atomic.try_lock(directory):
                    return
            self._pause(_POLL_SECONDS)
        raise StoreError(
            f"another process has locked {self.path.parent} for {self._lock_wait:g} seconds",
            "see whether a second sidecar is stuck",
        )


def _exchange(
    file: DocumentFile, swap: leftovers.Swap, base: FileIdentity, ours: FileIdentity
) -> bool:
    """Make `swap` the document if that is still `base`; undo it if `base` was not displaced."""
    if file.identity() != base:
        return False
    try:
        if not atomic.exchange(file.directory, swap.name, file.name):
            # Without an exchange nobody sees what was displaced: the check above has to do.
            atomic.replace(file.directory, swap.name, file.name)
    except FileNotFoundError:
        return False
    if file.identity(swap.name) in (base, None):
        atomic.remove(file.directory, swap.name)
        _sync(file)
        return True
    leftovers.put_back(file, swap, ours)
    _log_all(leftovers.drop_superseded(file, swap, ours))
    return False


def _sync(file: DocumentFile) -> None:
    """Make the rename durable; where that fails the new document stands all the same."""
    try:
        atomic.sync_directory(file.directory)
    except OSError as error:
        _log.warning(
            "%s is written, but it is not certain that it would survive a loss of power: %s; "
            "check the disk",
            file.path,
            error.strerror or error,
        )


def _log_all(notices: list[str]) -> None:
    for notice in notices:
        _log.warning("%s", notice)


def _copy_owner(descriptor: int, file: DocumentFile) -> int:
    """Copy owner and attributes of the document; return its permission bits."""
    document = atomic.open_present(file.directory, file.name)
    try:
        status = os.fstat(document)
        if not atomic.give_owner(descriptor, status.st_uid, status.st_gid):
            raise StoreError(
                f"the owner {status.st_uid}:{status.st_gid} of {file.path} cannot be kept "
                f"by user {os.geteuid()}, so nothing is written",
                hint_for(f"user {status.st_uid} and group {status.st_gid}"),
            )
        atomic.copy_attributes(document, descriptor)
        return stat.S_IMODE(status.st_mode)
    finally:
        os.close(document)


def _open_directory(path: Path) -> int:
    with explained(path.parent, "open"):
        try:
            return atomic.open_directory(path.parent)
        except (FileNotFoundError, NotADirectoryError) as error:
            message = f"there is no directory {path.parent} for {path.name}"
            raise StoreError(message, "create it, or mount Backrest's config directory") from error


def _already_there(file: DocumentFile) -> AlreadyThereError:
    return AlreadyThereError(
        f"{file.path} is there already", "it is never overwritten: move it away"
    )
