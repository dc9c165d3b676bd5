"""Read the locks of a repository of restic, and tell those that it would take from a living one."""

import contextlib
from collections.abc import Iterable

from sidecar.engines.base import HeldLock, LockHolder
from sidecar.engines.locking import Host, may_hold
from sidecar.engines.restic.messages import parse_message, parse_time

# Restic removes locks that are older than half an hour, whoever holds them; a process that was
# suspended, or whose storage hangs, does not renew its own.
_OLD = 30 * 60.0
_SOON_OLD = 25 * 60.0


def parse_lock(name: str, output: bytes) -> HeldLock | None:
    """Parse the output of `restic cat lock NAME`; None if it is not a lock."""
    message = parse_message(output.strip())
    with contextlib.suppress(KeyError, ValueError, TypeError):
        if message is not None:
            at = parse_time(str(message["time"])).timestamp()
            is_exclusive = message.get("exclusive") is True
            hostname = str(message.get("hostname", ""))
            return HeldLock(name, hostname, int(message["pid"]), at, is_exclusive)
    return None


def is_in_danger(lock: HeldLock, host: Host, holders: Iterable[LockHolder] = ()) -> bool:
    """Return whether restic would remove the lock although its holder lives, as far as we know.

    Restic believes that a process whose number it does not see has ended, also that of another
    container with the same host name.
    """
    age = host.now() - lock.time
    if lock.hostname != host.name or host.ran(lock.pid, lock.time):
        return lock.hostname == host.name and age >= _SOON_OLD
    ours = [one for one in holders if may_hold(one, lock)]
    return age < _OLD and any(one.over is None and not host.has_number_of(one) for one in ours)
