"""Ending what a runner that died has left running.

A runner marks all programs that it starts, and those that these start, by a variable of
their environment. So none is overlooked, however short before its death it was started:
a START hook that is still at work would otherwise stop what is started again now.
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
_LOOK_SECONDS = 0.05


def marked(environ: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Give the environment for all programs of the runner whose journal lies there."""
    return {**environ, MARK: str(directory.absolute())}


def find_leftovers(directory: Path) -> tuple[Child, ...]:
    """List the living processes with the mark of this folder, except ourselves."""
    wanted = os.fsencode(f"{MARK}={directory.absolute()}")
    return tuple(child for child in _others() if wanted in _environment(child.pid))


def end_leftovers(
    directory: Path,
    patience: float,
    grace: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Wait `patience` seconds for them to end, then end them; give how many had to be ended.

    Whoever calls this has to be the only runner of that folder. A hook is better waited
    for: the engine goes on stopping a container though nobody waits for its answer.
    """

    def wait(seconds: float) -> tuple[Child, ...]:
        deadline = clock() + seconds
        while (left := find_leftovers(directory)) and clock() < deadline:
            sleep(_LOOK_SECONDS)
        return left

    overdue = wait(patience)
    for which in (signal.SIGTERM, signal.SIGKILL):
        for child in wait(0) if overdue else ():
            _send(child, which)
        wait(grace if overdue else 0)
    wait_until_buried(overdue, grace, clock, sleep)
    return len(overdue)


def wait_until_buried(
    children: Iterable[Child],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until nobody has to be told any more that these have ended, at most so long.

    Until then restic takes a lock of theirs for that of a living process.
    """
    deadline = clock() + seconds
    waiting = tuple(children)
    while any(_is_dead_but_there(child.pid) for child in waiting) and clock() < deadline:
        sleep(_LOOK_SECONDS)


def _is_dead_but_there(pid: int) -> bool:
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


def _others() -> Iterator[Child]:
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            child = child_of(int(entry.name))
            if child.started:
                yield child


def _environment(pid: int) -> list[bytes]:
    """Give the environment that a process was started with; nothing if that is not ours to see."""
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
