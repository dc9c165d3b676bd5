"""Text for terminals: columns that line up, sizes, and nothing that a terminal would obey."""

from collections.abc import Iterator, Sequence

import click

_STEP = 1000.0
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Write rows as lines whose columns line up; cells may be coloured."""
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
    """Take control characters out of a text."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def render_size(size: float) -> str:
    """Write a number of bytes in the unit that suits it."""
    step = 0
    while size >= _STEP and step < len(_UNITS) - 1:
        size /= _STEP
        step += 1
    return f"{size:.1f} {_UNITS[step]}" if step else f"{size:.0f} B"
