"""Show something again and again on a terminal of which nothing is left changed afterwards."""

import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import islice

import click

from sidecar.cli.output.text import echo
from sidecar.lib.errors import SidecarError, UsageError
from sidecar.service.signals import SignalWaiter

SECONDS = 10.0
"""How long what is shown stays before it is read again."""
# A screen of its own, and no cursor; then back to what was there before.
_ENTER, _LEAVE, _HOME = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H\x1b[2J"


def show_answer(read: Callable[[], tuple[str, int]], form: str, *, is_watched: bool) -> int:
    """Show what is read, once or again and again; return its exit status. See `watch`."""
    if is_watched:
        return watch(read)
    text, status = read()
    echo(text, form=form)
    return status


def watch(read: Callable[[], tuple[str, int]], seconds: float = SECONDS) -> int:
    """Show what is read, anew each so many seconds, until SIGINT, SIGTERM or SIGHUP.

    `read` returns the text and an exit status; of a SidecarError its words are shown. At the end
    the last text is left on the terminal. Return the last status, 1 after an error. Raises
    UsageError where standard output is no terminal.
    """
    if not sys.stdout.isatty():
        raise UsageError("--watch needs a terminal", "leave it out where nobody watches")
    text, status = "", 1

    def on_hangup() -> None:
        waiter.stop()

    with closing(SignalWaiter(on_hangup)) as waiter, waiter.install_signals():
        echo(_ENTER, nl=False)
        try:
            while True:
                try:
                    text, status = read()
                except SidecarError as error:
                    text, status = _words(error), 1
                echo(_HOME + _fitting(text), nl=False)
                if not waiter.wait(seconds):
                    break
        finally:
            echo(_LEAVE, nl=False)
    echo(text)
    return status


def _words(error: SidecarError) -> str:
    return f"Error: {error.message}" + (f"\n  → {error.hint}" if error.hint else "")


def _fitting(text: str) -> str:
    """Return the first lines of a text, as many as the terminal has, and the last one."""
    lines, height = text.splitlines(), shutil.get_terminal_size().lines
    if len(lines) < height:
        return text
    return "\n".join((*islice(lines, height - 3), click.style("…", dim=True), lines[-1]))
