"""Text for terminals: columns that line up, and nothing that a terminal would obey.

Nor anything that a log of a GitHub workflow would obey: it takes a line that begins with `::`, and
`##[` anywhere in a line, as a command. What we print comes from labels, documents and programs.
"""

import codecs
import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

import click

from sidecar.lib.errors import SidecarError

# Colours in front of it are taken out where the stream is no terminal.
_COMMAND = re.compile(
    r"(?:^|(?<=\r))((?:\s|\x1b\[[\d;]*m)*):(?=(?:\x1b\[[\d;]*m)*:)|##(?=\[)", re.MULTILINE
)
_FALLBACKS = {
    "→": "->",
    "–": "-",
    "—": "-",
    "…": "...",
    "✓": "+",
    "✗": "x",
    "•": "*",
    "·": ".",
    "━": "#",
}
_PLAIN = "backrest.plain"
_ESCAPED = "backrest.escaped"


class CannotWriteError(SidecarError):
    """A stream takes no more, as one into a file on a full disk."""


@contextlib.contextmanager
def told_where_it_is_full() -> Iterator[None]:
    """Raise CannotWriteError where the block cannot write; a reader that has gone is none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"the output cannot be written: {error.strerror}"
        raise CannotWriteError(message, "what is there of it is cut off") from error


def echo(text: str = "", *, form: str = "text", err: bool = False, nl: bool = True) -> None:
    """Write text to standard output or standard error.

    `form` json: what a terminal would obey is escaped, and what the stream's encoding lacks.
    `form` github: the lines are commands of a workflow, else no line is one. Raises
    CannotWriteError, or BrokenPipeError.
    """
    stream = sys.stderr if err else sys.stdout
    if form == "json":
        encoding = stream.encoding or "utf-8"
        text = "\n".join(map(_escaped, text.split("\n")))
        text = text.encode(encoding, _ESCAPED).decode(encoding)
    elif form != "github":
        text = without_commands(text)
    # Given a stream, click writes to it as it is, and not UTF-8 to a terminal without it.
    with told_where_it_is_full():
        click.echo(text, file=stream, nl=nl)


def _escaped(line: str) -> str:
    """Return a line of JSON in which all can be printed; only its texts hold what cannot be."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)


def without_commands(text: str) -> str:
    """Return the text with a mark in front of what a GitHub workflow would take for a command."""
    return _COMMAND.sub(_marked, text) if ":" in text or "#" in text else text


def _marked(match: re.Match[str]) -> str:
    return "# #" if match[0] == "##" else f"{match[1]}\N{REPLACEMENT CHARACTER}:"


def prepare_streams() -> None:
    """Let no character end a program: what a stream's encoding lacks is written in plain ASCII.

    Streams that were closed before the program began lead nowhere, and no file takes their place.
    """
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_PLAIN)


def _open_what_is_closed() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python has no stream, whatever its type says, where it found none.
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))


def _replace_plainly(error: UnicodeError) -> tuple[str, int]:
    found = _characters(error)
    return "".join(_FALLBACKS.get(char, "?") for char in found), error.end  # type: ignore[attr-defined]


def _replace_escaped(error: UnicodeError) -> tuple[str, int]:
    found = _characters(error)
    return json.dumps(found)[1:-1], error.end  # type: ignore[attr-defined]


def _characters(error: UnicodeError) -> str:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return error.object[error.start : error.end]


codecs.register_error(_PLAIN, _replace_plainly)
codecs.register_error(_ESCAPED, _replace_escaped)


def choose_colour(environ: Mapping[str, str]) -> bool | None:
    """Return whether output is coloured: never, always, or None: where a terminal reads it.

    NO_COLOR forbids it and FORCE_COLOR demands it if they are not empty, the former first; a
    terminal that says it is `dumb` has no colours.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "") not in ("", "0"):
        return True
    return False if environ.get("TERM") == "dumb" else None


def can_redraw(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether a line that was written to the stream can be drawn anew."""
    return stream.isatty() and environ.get("TERM") != "dumb"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows as lines whose columns line up; cells may be coloured."""
    widths = [
        max(len(click.unstyle(cell)) for cell in column) for column in zip(*rows, strict=True)
    ]
    for row in rows:
        padded = [
            cell + " " * (width - len(click.unstyle(cell)))
            for cell, width in zip(row, widths, strict=True)
        ]
        yield "  ".join(padded).rstrip()


def printable(text: str) -> str:
    """Return the text without control characters: labels and programs may have put some in."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def printable_lines(text: str) -> str:
    """Return each line of the text printable, as messages of other programs have several."""
    return "\n".join(map(printable, text.splitlines()))
