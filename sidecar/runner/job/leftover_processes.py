"""Find and end the programs that a runner which died has left running.

A runner marks all programs that it starts, and those that these start, by a variable of their
environment. So none is overlooked, however short before the runner's death it was started: a
START hook that still stops containers would otherwise stop what is started again now.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from sidecar.lib.process import Child, child_of

MARK = "BACKREST_RUNNER_STATE"
"""The variable; its value is the journal's folder."""

_PROC = Path("/proc")
_POLL_SECONDS = 0.05


def marked(environ: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Return the environment for all programs of the runner whose journal lies in `directory`."""
    return {**environ, MARK: str(directory.absolute())}


def find_leftovers(directory: Path) -> tuple[Child, ...]:
    """List the living processes with the mark of this folder, except ourselves."""
    wanted = os.fsencode(f"{MARK}={directory.absolute()}")
    return tuple(child for child in _other_processes() if wanted in _environment(child.pid))


def end_leftovers(
    directory: Path,
    patience: float,
    grace: float,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Wait `patience` seconds for them to end, then end them; return how many had to be ended.

    Only the one runner of that folder may call this. A hook is better waited for: Docker goes
    on stopping a container though nobody waits for its answer.
    """

    def wait(seconds: float) -> tuple[Child, ...]:
        deadline = monotonic() + seconds
        while (left := find_leftovers(directory)) and monotonic() < deadline:
            sleep(_POLL_SECONDS)
        return left

    overdue = wait(patience)
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        for child in wait(0) if overdue else ():
            _send(child, which)
        wait(grace if overdue else 0)
    wait_until_reaped(overdue, grace, monotonic, sleep)
    return len(overdue)


def wait_until_reaped(
    children: Iterable[Child],
    seconds: float,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until none of these is a zombie any more, at most so many seconds.

    Restic takes the lock of a zombie for that of a living process.
    """
    deadline = monotonic() + seconds
    waiting = tuple(children)
    while any(_is_zombie(child.pid) for child in waiting) and monotonic() < deadline:
        sleep(_POLL_SECONDS)


def _is_zombie(pid: int) -> bool:
    return (_PROC / str(pid)).exists() and not child_of(pid).started


def _send(child: Child, which: signal.Signals) -> None:
    """Send a signal to this process, never to another that has its number by now."""
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(child.pid)
        try:
            if child_of(child.pid) == child:
                signal.pidfd_send_signal(descriptor, which)
        finally:
            os.close(descriptor)


def _other_processes() -> Iterator[Child]:
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            child = child_of(int(entry.name))
            if child.started:
                yield child


def _environment(pid: int) -> list[bytes]:
    """Return the environment that a process was started with; nothing if we may not read it."""
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
