"""Read a repository's locks, and find those whose holder still runs on this host."""

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.engines.restic.messages import parse_message, parse_time
from sidecar.lib.process import child_of, started_at

# Restic removes locks that are older than half an hour, whoever holds them; a process that was
# suspended, or whose storage hangs, does not renew its own.
_SOON_OLD = 25 * 60.0
# The start of a process is known to about a second.
_SLACK = 2.0


def _started(pid: int) -> float | None:
    child = child_of(pid)
    return started_at(child) if child.started else None


@dataclass(frozen=True, slots=True)
class Host:
    """This machine: its name, its clock, and when a process was started; None: no such process."""

    name: str = field(default_factory=socket.gethostname)
    now: Callable[[], float] = time.time
    started: Callable[[int], float | None] = _started


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock: who holds it, and when it was made or last renewed, in unix seconds."""

    hostname: str
    pid: int
    time: float

    def __str__(self) -> str:
        return f"PID {self.pid} on {self.hostname}"


def parse_lock(output: bytes) -> Lock | None:
    """Parse the output of `restic cat lock`; None if it is not a lock."""
    message = parse_message(output.strip())
    with contextlib.suppress(KeyError, ValueError, TypeError):
        if message is not None:
            at = parse_time(str(message["time"])).timestamp()
            return Lock(str(message.get("hostname", "")), int(message["pid"]), at)
    return None


def is_in_danger(lock: Lock, host: Host) -> bool:
    """Return whether restic would remove the lock although its holder runs on this host.

    A process that started after the lock was made only has the same number.
    """
    if lock.hostname != host.name or host.now() - lock.time < _SOON_OLD:
        return False
    started = host.started(lock.pid)
    return started is not None and started <= lock.time + _SLACK
