"""Tell whether a program still runs that may hold a lock, on which machine it ever was."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.engines.base import HeldLock, LockHolder, LockRecords
from sidecar.lib.process import child_of, started_at

# A holder that lives renews its lock every five minutes.
_NOT_RENEWED = 10 * 60.0
# The start of a process is known to about a second.
_SLACK = 2.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = "/proc/self/ns/pid"


def _started(pid: int) -> float | None:
    child = child_of(pid)
    return started_at(child) if child.started else None


def _boot() -> str:
    return _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else ""


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return os.readlink(_NAMESPACE)  # noqa: PTH115 - it leads to no path
    return ""


@dataclass(frozen=True, slots=True)
class Host:
    """This machine: its name, its clock, and when a process was started; None: no such process.

    `boot` and `namespace` tell where a process has its number, as in `base.LockHolder`.
    """

    name: str = field(default_factory=socket.gethostname)
    now: Callable[[], float] = time.time
    started: Callable[[int], float | None] = _started
    boot: str = field(default_factory=_boot)
    namespace: str = field(default_factory=_namespace)

    def has_number_of(self, holder: LockHolder) -> bool:
        """Return whether the holder's number means a process that we would see, for certain."""
        ours = (self.boot, self.namespace)
        return all(ours) and (holder.boot, holder.namespace) == ours

    def ran(self, pid: int, at: float) -> bool:
        """Return whether a process of that number runs here, and did so already at that time.

        One that started later only has the same number.
        """
        started = self.started(pid)
        return started is not None and started <= at + _SLACK


@dataclass(frozen=True, slots=True)
class Locking:
    """By what locks are judged: this machine, and what we remember of programs; None: nothing."""

    host: Host = field(default_factory=Host)
    records: LockRecords | None = None

    def holders(self, repo: str) -> tuple[LockHolder, ...]:
        """List our programs that may have left locks in the repository of this name."""
        return () if self.records is None else self.records.holders(repo)


def is_left_over(lock: HeldLock, host: Host, holders: Iterable[LockHolder]) -> bool:
    """Return whether a program of ours made the lock that has certainly ended.

    Also if the machine has another name by now, as a container that was made anew.
    """
    return any(may_hold(one, lock) and _is_over(one, lock, host) for one in holders)


def may_hold(holder: LockHolder, lock: HeldLock) -> bool:
    """Return whether the lock was made by a process of that number while the holder lived."""
    if (holder.hostname, holder.pid) != (lock.hostname, lock.pid):
        return False
    is_later = holder.over is not None and lock.time > holder.over + _SLACK
    return holder.since - _SLACK <= lock.time and not is_later


def _is_over(holder: LockHolder, lock: HeldLock, host: Host) -> bool:
    is_here = host.has_number_of(holder)
    if (is_here or lock.hostname == host.name) and host.ran(lock.pid, lock.time):
        return False
    if is_here:
        return True
    if holder.over is None:
        return False
    # The journal may be a copy, on another machine than that on which the holder lives.
    is_this_boot = holder.boot == host.boot != ""
    return is_this_boot or host.now() - lock.time > _NOT_RENEWED
