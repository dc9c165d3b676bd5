"""Text for terminals: columns that line up, sizes, and nothing that a terminal would obey.

Problems as lines for people and as objects for programs.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from sidecar.labels.problem import Problem, Severity


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
    """Return the text without control characters: labels and programs may have put some in."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


_COLOURS = {Severity.ERROR: "red", Severity.DEGRADED: "yellow", Severity.WARNING: "cyan"}


def problem_json(problem: Problem) -> dict[str, Any]:
    """Return a problem with its stable keys."""
    return {
        "reason": problem.reason,
        "severity": problem.severity.value,
        "workload": problem.workload,
        "container": problem.container,
        "label": problem.label,
        "message": problem.message,
        "hint": problem.hint,
    }


def problem_lines(problems: Iterable[Problem], indent: str = "  ") -> list[str]:
    """Give two lines a problem: what is wrong where, and what to write instead."""
    lines: list[str] = []
    for problem in problems:
        severity = click.style(f"{problem.severity.value:10}", fg=_COLOURS[problem.severity])
        place = " ".join(filter(None, (problem.container, problem.label)))
        where = f" [{place}]" if place else ""
        message = printable(f"{problem.reason}{where} {problem.message}")
        lines.append(f"{indent}{severity} {message}")
        if problem.hint:
            lines.append(f"{indent}{'':10} → {printable(problem.hint)}")
    return lines
