"""Problems as lines for people and as objects for programs."""

from collections.abc import Iterable
from typing import Any

import click

from sidecar.cli.output.text import printable
from sidecar.labels.problem import Problem, Severity

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
    """Return two lines for each problem: what is wrong where, and what to write instead."""
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


def nothing_labelled(label: str) -> str:
    """Return the sentence for a world without any label of ours; `label` is the one to write."""
    return (
        "No container has a label of ours, so nothing is backed up: write "
        f'`{label}: "true"` under the `labels:` of each service that shall be.'
    )
