"""Let only one scheduler execute a document: a lock among runners, and checks for Backrest.

Two schedulers would run each plan twice, and stop containers under each other's backups. Whether
Backrest runs is read from the lock of its operation log, or from its container.
"""

import errno
import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from sidecar.lib.errors import SidecarError, UsageError
from sidecar.lib.log import log_event
from sidecar.lib.read_file import refuse_other_kinds
from sidecar.lib.threads import Closable

FILE = ".backrest-runner.lock"
OPLOG_LOCK = "oplog.sqlite.lock"
_MOST_TEXT = 200
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_STOP = "stop it first, or execute runner.json alone: --documents runner"
_OTHER_DATA = f"{_STOP}; if it executes another document, name the right folder by --backrest-data"
_FORCE = f"{_STOP}; or, if you know that it executes another document, add --force"
_log = logging.getLogger(__name__)


class Locked(SidecarError):
    """Another scheduler executes this document."""


class SchedulerLock(Closable):
    """The right to execute what stands in `folders`, until it is closed or the process dies.

    Each folder has a lock of its own, for two runners that share one of their documents must not
    both run; two names of one folder count once. `purpose` is one word that others get in their
    error meanwhile: `daemon`. Where nothing can be written in a folder, a lock that is there is
    taken all the same, else one is made in the folder `state`. Raises Locked if another runner
    has one of them.
    """

    def __init__(self, folders: Iterable[Path], purpose: str, state: Path | None = None) -> None:
        self._descriptors: dict[tuple[int, int], int] = {}
        try:
            for folder in folders:
                self._take(folder / FILE, state)
        except SidecarError:
            self.close()
            raise
        for descriptor in self._descriptors.values():
            _note(descriptor, f"{purpose} {os.getpid()}\n")

    def close(self) -> None:
        """Release it; the files stay, for another process may have them open."""
        while self._descriptors:
            _, descriptor = self._descriptors.popitem()
            _note(descriptor, "")
            os.close(descriptor)

    def _take(self, path: Path, state: Path | None) -> None:
        try:
            path, descriptor = _open_lock(path, state)
        except OSError as error:
            raise UsageError(
                f"the lock {path} cannot be made: {error.strerror}",
                "let the runner's user write beside the document, or give --state-dir",
            ) from None
        found = os.fstat(descriptor)
        if (identity := (found.st_dev, found.st_ino)) in self._descriptors:
            os.close(descriptor)
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, _MOST_TEXT, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise _taken(path, holder) from None
        self._descriptors[identity] = descriptor


def _note(descriptor: int, holder: str) -> None:
    """Write who holds a lock, which is only for people: the disk may be full, or read-only."""
    with suppress(OSError):
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)


def is_executed(folders: Iterable[Path], state: Path) -> bool:
    """Return whether a runner executes what is in `folders`; `state` is its state folder."""
    return any(is_held(folder / FILE) for folder in (*folders, state))


def _open_lock(path: Path, state: Path | None) -> tuple[Path, int]:
    try:
        return path, _open_file(path)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        with suppress(FileNotFoundError):
            return path, _open_file(path, os.O_RDONLY)
        if state is None:
            raise
    return state / FILE, _open_file(state / FILE)


def _open_file(path: Path, access: int = os.O_RDWR | os.O_CREAT) -> int:
    flags = access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        refuse_other_kinds(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _taken(path: Path, holder: str) -> Locked:
    purpose, _, process = holder.partition(" ")
    if purpose == "daemon":
        hint = "ask it by `backrest-runner backup PLAN`, or stop it"
    else:
        hint = "wait for it to end"
    program = "backrest-sidecar" if purpose == "backup-once" else "backrest-runner"
    who = f"`{program} {purpose}` (process {process})" if process else "another runner"
    return Locked(f"{who} executes this document: it holds {path}", hint)


def refuse_beside_backrest(config: Path, data: Path | None, environ: Mapping[str, str]) -> None:
    """Raise Locked while a Backrest holds the lock of its operation log; see `held_by_backrest`."""
    if (found := held_by_backrest(config, data, environ)) is not None:
        raise Locked(f"Backrest runs: it holds {found}", _OTHER_DATA)


def held_by_backrest(config: Path, data: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the lock of the operation log of a Backrest that runs; None: none does.

    `data` is Backrest's data directory; None: $BACKREST_DATA, else `data` beside the
    document's directory, if there is one.
    """
    if data is not None and not data.is_dir():
        raise UsageError(
            f"--backrest-data {data} is no directory", "name the folder that holds oplog.sqlite"
        )
    folder = data or _usual_data(config, environ)
    return folder / OPLOG_LOCK if folder is not None and is_held(folder / OPLOG_LOCK) else None


def _usual_data(config: Path, environ: Mapping[str, str]) -> Path | None:
    if data := environ.get("BACKREST_DATA"):
        return Path(data)
    beside = config.absolute().parent.parent / "data"
    return beside if beside.is_dir() else None


def is_held(path: Path, locks: Path = Path("/proc/locks")) -> bool:
    """Return whether a process holds an flock on a file; False if the file does not exist.

    The kernel's list is read first, which takes no lock. It does not show processes of other
    containers; for those a shared lock is tried, and released at once, so that a Backrest which
    starts at this moment is blocked for a few microseconds at most.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        log_event(_log, logging.WARNING, "backrest.unknown", file=str(path), reason=error.strerror)
        return False
    try:
        return _is_listed(os.fstat(descriptor), locks) or _is_refused(descriptor)
    finally:
        os.close(descriptor)


def _is_listed(file: os.stat_result, locks: Path) -> bool:
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    with suppress(OSError):
        listed = locks.read_text(encoding="ascii", errors="replace")
        return (
            re.search(rf"^\d+: FLOCK .* WRITE .* {re.escape(device)} ", listed, re.MULTILINE)
            is not None
        )
    return False


def _is_refused(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # The file system has no such locks: then nobody holds one.
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def refuse_beside_container(name: str, runs: Callable[[str], bool]) -> None:
    """Raise Locked while the backrest container runs; log it if that cannot be known.

    `runs` returns whether the container of that name runs, and raises SidecarError if Docker
    does not answer. Without a `name` the usual one is checked, and a Docker that does not
    answer is not logged.
    """
    asked = name or "backrest"
    try:
        is_running = runs(asked)
    except SidecarError as error:
        if name:
            log_event(
                _log, logging.WARNING, "backrest.unknown", container=name, reason=error.message
            )
        return
    if is_running:
        raise Locked(f"Backrest runs: its container {asked} does", _FORCE)
