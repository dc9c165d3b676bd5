"""Text for terminals: columns that line up, short ids, and nothing that a terminal would obey."""

from collections.abc import Iterator, Sequence

import click

_SHORT_ID = 8


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


def short_id(snapshot: str) -> str:
    """Return as much of a snapshot's id as restic shows, for example `4bba301e`."""
    return snapshot[:_SHORT_ID]
