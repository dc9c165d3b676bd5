"""Starting a program: the quick check first, else the command line. Imports next to nothing."""

import os
import sys
from collections.abc import Callable


def start(check: Callable[[], int], run_commands: Callable[[], None]) -> None:
    """Run a program and exit; `check` is its `healthcheck`, `run_commands` all else.

    The check runs every few seconds: it must not wait for all that the others import.
    """
    if sys.argv[1:2] == ["healthcheck"]:
        sys.exit(check())
    if os.getpid() == 1:
        _heed_sigterm()
    run_commands()


def _heed_sigterm() -> None:
    """End by SIGTERM as any other process does: the first one of a container would ignore it."""
    import signal  # noqa: PLC0415 - the quick check needs none

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
