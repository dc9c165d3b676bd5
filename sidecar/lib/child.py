"""Naming a process so that it is never taken for another, and ending what one left."""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Child:
    """A program that was started: its pid, and when, in clock ticks: pids come again."""

    pid: int
    started: int


def child_of(pid: int) -> Child:
    """Name a living process; `started` is 0 where there is none, or it cannot be told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return Child(pid, 0)
    # The name in parentheses may hold blanks; the state follows it, the start 19 fields later.
    fields = text.rpartition(")")[2].split()
    return Child(pid, 0 if fields[0] in "XZ" else int(fields[19]))


def started_at(child: Child) -> float:
    """Give when a child was started, in unix seconds, to about a second."""
    lines = Path("/proc/stat").read_text(encoding="ascii", errors="replace").splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return boot + child.started / os.sysconf("SC_CLK_TCK")


def end_leftover(child: Child, grace: float) -> bool:
    """End the group of a child of a process that died; True if it still ran.

    A number that means another process by now is left alone.
    """
    if child.started == 0 or child_of(child.pid) != child:
        return False
    signal_group(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline:
        if child_of(child.pid) != child:
            return True
        time.sleep(_LOOK_SECONDS)
    signal_group(child.pid, signal.SIGKILL)
    return True


def signal_group(pid: int, which: signal.Signals) -> None:
    """Send a signal to a process group; one that is gone is none to send to."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, which)
