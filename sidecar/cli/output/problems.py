"""Problems as lines for people and as objects for programs."""

from collections.abc import Iterable
from typing import Any

from sidecar.cli.output.terminal import Meaning, folded, styled
from sidecar.cli.output.text import printable
from sidecar.labels.problem import Problem, Severity

_MEANINGS = {
    Severity.ERROR: Meaning.BAD,
    Severity.DEGRADED: Meaning.UNSURE,
    Severity.WARNING: Meaning.HINT,
}
_WIDTH = 10


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


def problem_lines(
    problems: Iterable[Problem], indent: str = "  ", width: int | None = None
) -> list[str]:
    """Return two lines for each problem: what is wrong where, and what to write instead.

    `width` is that of the terminal, in which long ones are folded; None: none shows them.
    """
    lines: list[str] = []
    before = " " * (len(indent) + _WIDTH + 1)
    room = None if width is None else max(1, width - len(before))
    for problem in problems:
        severity = styled(f"{problem.severity.value:{_WIDTH}}", _MEANINGS[problem.severity])
        place = " ".join(filter(None, (problem.container, problem.label)))
        where = f" [{place}]" if place else ""
        message = printable(f"{problem.reason}{where} {problem.message}")
        first, *more = folded(message, room).split("\n")
        lines += [f"{indent}{severity} {first}", *(before + line for line in more)]
        if problem.hint:
            hint = folded(f"→ {printable(problem.hint)}", room, "  ")
            lines += [before + line for line in hint.split("\n")]
    return lines


def nothing_labelled(label: str) -> str:
    """Return the sentence for a world without any label of ours; `label` is the one to write."""
    return (
        "No container has a label of ours, so nothing is backed up: write "
        f'`{label}: "true"` under the `labels:` of each service that shall be.'
    )
