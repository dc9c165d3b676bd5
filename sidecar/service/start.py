"""Start a program: its `healthcheck` at once, all other commands after their imports."""

import os
import sys
from collections.abc import Callable


def start(check: Callable[[], int], run_commands: Callable[[], None]) -> None:
    """Run a program and exit; `check` is its `healthcheck`, `run_commands` all else.

    The check runs every few seconds: it must not wait for what the other commands import.
    """
    if sys.argv[1:2] == ["healthcheck"]:
        sys.exit(check())
    if os.getpid() == 1:
        _exit_on_sigterm()
    run_commands()


def _exit_on_sigterm() -> None:
    """Exit on SIGTERM, which the kernel does not do for the first process of a container."""
    import signal  # noqa: PLC0415 - the quick check needs none

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
