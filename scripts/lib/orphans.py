"""Take in the processes whose parent has died, and bury those that end, as an init does.

The first process of a container may bury them late or never, and until then a program takes a
dead process for a living one: restic keeps its lock, dockerd does not start again.
"""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_SUBREAPER = 36
_LOOK_SECONDS = 0.01


@contextlib.contextmanager
def adopted_orphans() -> Iterator[None]:
    """Do so for the block, for processes that are not of our own session."""
    over = threading.Event()

    def bury() -> None:
        while not over.wait(_LOOK_SECONDS):
            for orphan, state in strangers():
                if state == "Z":
                    # One of our own may have been waited for meanwhile.
                    with contextlib.suppress(OSError):
                        os.waitpid(orphan, os.WNOHANG)

    thread = threading.Thread(target=bury, name="orphanage")
    _be_subreaper(1)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _be_subreaper(0)


def strangers() -> Iterator[tuple[int, str]]:
    """Yield the children that are not of our session, and the letter of their state.

    We have not started them, or so that they are on their own.
    """
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in children.read_text().split():
                with contextlib.suppress(OSError):
                    stat = Path(f"/proc/{pid}/stat").read_text()
                    state, _, _, session = stat.rpartition(") ")[2].split()[:4]
                    if int(session) != os.getsid(0):
                        yield int(pid), state


def _be_subreaper(value: int) -> None:
    if ctypes.CDLL(None).prctl(_SUBREAPER, value, 0, 0, 0) != 0:
        raise OSError("this kernel gives orphans to its init only")
