"""What people see on a terminal: colours by meaning, and tables that fit its width.

Where nobody watches, in a pipe or a file, nothing is cut, folded or left out: programs read that.
What is shown comes from labels, documents and programs, so every text loses what a terminal would
obey, and none of it is read as markup.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TextIO

import click

from sidecar.cli.output.text import aligned, printable

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType
    from rich.text import Text

_GAP = 2
_LEAST_FOLDED = 24
_LEAST_PREFIX = 4
_HEIGHT = 25


class Meaning(Enum):
    """What a text means, with the colour that shows it: the same in all tables and lines."""

    GOOD = "green"
    BAD = "red"
    UNSURE = "yellow"
    HINT = "cyan"
    MUTED = "bright_black"


class Styled(NamedTuple):
    """A text with its meaning, for a cell of a table."""

    text: str
    meaning: Meaning


Cell = str | Styled


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, and what becomes of it where the terminal is too narrow.

    Attributes:
        title: Its heading.
        drop: When it is left out: 1 first, then 2 and so on; 0 never. Those alike go together.
        has_prefix: What all its texts begin with may be left out, for example `sidecar-media-`.
        folds: Its texts may take several lines.
        is_number: Its texts stand at the right.
    """

    title: str
    drop: int = 0
    has_prefix: bool = False
    folds: bool = False
    is_number: bool = False


def styled(text: str, meaning: Meaning) -> str:
    """Return a text in the colour of its meaning, without control characters."""
    return click.style(printable(text), fg=meaning.value)


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Return how many columns the terminal has that shows a stream; None: no terminal does.

    The stream is standard output if none is given. COLUMNS is believed more than the terminal.
    """
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    if (columns := os.environ.get("COLUMNS", "")).isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    width: int | None,
    below: Sequence[Sequence[str]] = (),
) -> str:
    """Return rows as lines whose columns line up, below their titles.

    `width` is that of the terminal; None: nobody watches, and all is written as it is. Where it
    is too narrow, first the prefix goes that all texts of a column have, then long texts are
    folded, then columns go, and at last each text of a row takes a line of its own. `below` has,
    for each row, further lines that follow it.
    """
    more = [_indented(lines) for lines in below] or [""] * len(rows)
    if width is None:
        titles = [column.title for column in columns]
        head, *lines = aligned([titles, *([_plain(cell) for cell in row] for row in rows)])
        return "\n".join((head, *(line + after for line, after in zip(lines, more, strict=True))))
    grid = _Grid(tuple(columns), tuple(tuple(map(_clean, row)) for row in rows))
    fitting = _fit(grid, width)
    if fitting is None:
        blocks = _blocks(grid, width)
        return "\n\n".join(block + after for block, after in zip(blocks, more, strict=True))
    head, *shown = _lines(fitting, width)
    notes = _notes(fitting.prefixes, [one.title for one in columns if one not in fitting.columns])
    return "\n".join(
        (
            head,
            *(one + after for one, after in zip(shown, more, strict=True)),
            *(_rendered(_rich(Styled(note, Meaning.MUTED)), width) for note in notes),
        )
    )


def folded(text: str, width: int | None, indent: str = "") -> str:
    """Return a text without colours, folded between words where the terminal is too narrow.

    `indent` is put in front of the lines after the first.
    """
    if width is None:
        return text
    from textwrap import wrap

    lines = wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines)


def _indented(lines: Sequence[str]) -> str:
    return "".join(f"\n    {printable(line)}" for line in lines)


def _plain(cell: Cell) -> str:
    return printable(cell) if isinstance(cell, str) else styled(*cell)


def _clean(cell: Cell) -> Cell:
    return printable(cell) if isinstance(cell, str) else cell._replace(text=printable(cell.text))


@dataclass(frozen=True, slots=True)
class _Grid:
    """The columns of a table that are left, and their cells; `prefixes` were cut, by title."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    prefixes: tuple[tuple[str, str], ...] = ()

    def natural_widths(self) -> list[int]:
        """Return how wide each column is without folding any."""
        from rich.cells import cell_len

        return [
            max(map(cell_len, (column.title, *texts)))
            for column, texts in zip(self.columns, self._texts(), strict=True)
        ]

    def _texts(self) -> Iterator[list[str]]:
        for index in range(len(self.columns)):
            yield [_text(row[index]) for row in self.rows]

    def without_prefixes(self) -> "_Grid":
        """Return it without what all texts of a column begin with, where that may go."""
        rows, found = [list(row) for row in self.rows], []
        for index, (column, texts) in enumerate(zip(self.columns, self._texts(), strict=True)):
            if column.has_prefix and (prefix := _shared_prefix(texts)):
                found.append((column.title, prefix))
                for row in rows:
                    row[index] = _shortened(row[index], prefix)
        return _Grid(self.columns, tuple(map(tuple, rows)), tuple(found))

    def without_one(self) -> "_Grid | None":
        """Return it without the column that goes next; None: all of them stay."""
        going = min((column.drop for column in self.columns if column.drop), default=0)
        if not going:
            return None
        kept = [index for index, column in enumerate(self.columns) if column.drop != going]
        columns = tuple(self.columns[index] for index in kept)
        titles = {column.title for column in columns}
        return _Grid(
            columns,
            tuple(tuple(row[index] for index in kept) for row in self.rows),
            tuple(one for one in self.prefixes if one[0] in titles),
        )


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def _shared_prefix(texts: Sequence[str]) -> str:
    """Return what all texts but empty ones begin with, up to the end of a word.

    The empty string if it is not worth it.
    """
    known = [text for text in texts if text]
    first, last = min(known, default=""), max(known, default="")
    pairs = enumerate(zip(first, last, strict=False))
    shared = first[: next((at for at, (a, b) in pairs if a != b), 0)]
    end = max(shared.rfind(mark) for mark in "-_/.") + 1
    return shared[:end] if end >= _LEAST_PREFIX else ""


def _shortened(cell: Cell, prefix: str) -> Cell:
    if not _text(cell):
        return cell
    short = f"…{_text(cell).removeprefix(prefix)}"
    return short if isinstance(cell, str) else cell._replace(text=short)


def _fit(grid: _Grid, width: int) -> _Grid | None:
    """Return as much of a table as fits, with the width of each column; None: too little does."""
    if _total(grid.natural_widths()) <= width:
        return grid
    left: _Grid | None = grid.without_prefixes()
    while left is not None and _folded_widths(left, width) is None:
        left = left.without_one()
    return left


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _folded_widths(grid: _Grid, width: int) -> list[int] | None:
    """Return widths that fit, folding columns narrowed as needed; None: they do not."""
    widths = grid.natural_widths()
    least = [
        min(one, _LEAST_FOLDED) if column.folds else one
        for one, column in zip(widths, grid.columns, strict=True)
    ]
    spare = width - _total(least)
    if spare < 0:
        return None
    for index, natural in enumerate(widths):
        given = min(natural - least[index], spare)
        least[index] += given
        spare -= given
    return least


def _lines(grid: _Grid, width: int) -> Iterator[str]:
    """Yield the titles, then each row, which has several lines where a text is folded."""
    from rich.table import Table

    widths = _folded_widths(grid, width) or grid.natural_widths()
    titles = tuple(Styled(column.title, Meaning.MUTED) for column in grid.columns)
    for row in (titles, *grid.rows):
        drawn = Table.grid(padding=(0, _GAP, 0, 0))
        for column, wide in zip(grid.columns, widths, strict=True):
            side: JustifyMethod = "right" if column.is_number else "left"
            drawn.add_column(width=wide, overflow="fold", justify=side)
        drawn.add_row(*map(_rich, row))
        yield _rendered(drawn, width)


def _blocks(grid: _Grid, width: int) -> Iterator[str]:
    """Yield each row as a block of lines, a title and a text in each."""
    from rich.cells import cell_len
    from rich.table import Table

    titles = max((cell_len(column.title) for column in grid.columns), default=0)
    for row in grid.rows:
        block = Table.grid(padding=(0, _GAP, 0, 0))
        block.add_column(width=titles)
        block.add_column(width=max(1, width - titles - _GAP), overflow="fold")
        for column, cell in zip(grid.columns, row, strict=True):
            if _text(cell):
                block.add_row(_rich(Styled(column.title, Meaning.MUTED)), _rich(cell))
        yield _rendered(block, width)


def _rich(cell: Cell) -> "Text":
    from rich.text import Text

    text = Text(_text(cell))
    if isinstance(cell, Styled):
        # Only the text has the colour, not the blanks that fill its column.
        text.stylize(cell.meaning.value)
    return text


def _rendered(renderable: "RenderableType", width: int) -> str:
    """Return lines with colours, which `echo` takes out where none are wanted."""
    from io import StringIO

    from rich.console import Console

    stream = StringIO()
    console = Console(
        file=stream,
        width=width,
        height=_HEIGHT,
        force_terminal=True,
        color_system="standard",
        no_color=False,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    console.print(renderable)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def _notes(prefixes: Sequence[tuple[str, str]], left_out: Sequence[str]) -> Iterator[str]:
    """Yield what a reader has to know of what is not shown."""
    for title, prefix in prefixes:
        yield f"… in {title} is {prefix}"
    if left_out:
        yield f"too narrow for: {', '.join(left_out)}"
