"""The doctor's report: a line for each check for people, and JSON for programs."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from sidecar.cli.output.text import printable
from sidecar.reconciler.doctor.check import CheckResult, CheckStatus, DoctorReport

_COLOURS = {
    CheckStatus.OK: "green",
    CheckStatus.WARNING: "yellow",
    CheckStatus.FAILURE: "red",
    CheckStatus.NOT_CHECKED: "bright_black",
}
_WORDS = {
    CheckStatus.OK: "ok",
    CheckStatus.WARNING: "warning",
    CheckStatus.FAILURE: "failure",
    CheckStatus.NOT_CHECKED: "not checked",
}
_WIDTH = max(map(len, _WORDS.values()))


def render_doctor(report: DoctorReport, form: str) -> str:
    """Write a report as `table` or `json`."""
    if form == "json":
        return _render_json(report)
    return "\n".join(_lines(report))


def _render_json(report: DoctorReport) -> str:
    shown = {
        "config": report.config,
        "failed": report.has_failed,
        "checks": [_finding_json(finding) for finding in report.findings],
    }
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _finding_json(finding: CheckResult) -> dict[str, Any]:
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "message": finding.message,
        "hint": finding.hint,
        "details": list(finding.details),
        "fixed": finding.fixed,
    }


def _lines(report: DoctorReport) -> Iterator[str]:
    width = max((len(finding.check) for finding in report.findings), default=0)
    for finding in report.findings:
        yield from _finding_lines(finding, width)
    yield ""
    counts = Counter(finding.verdict for finding in report.findings)
    yield ", ".join(f"{counts[verdict]} {_WORDS[verdict]}" for verdict in CheckStatus) + "."


def _finding_lines(finding: CheckResult, width: int) -> Iterator[str]:
    word = click.style(f"{_WORDS[finding.verdict]:{_WIDTH}}", fg=_COLOURS[finding.verdict])
    yield f"{word}  {finding.check:{width}}  {printable(finding.message)}"
    indent = " " * (_WIDTH + width + 4)
    for detail in finding.details:
        yield f"{indent}- {printable(detail)}"
    if finding.fixed:
        yield f"{indent}fixed: {printable(finding.fixed)}"
    if finding.hint:
        yield f"{indent}→ {printable(finding.hint)}"
