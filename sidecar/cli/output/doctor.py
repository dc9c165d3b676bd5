"""The doctor's report: one screen, or a line for each check, for people, and JSON for programs."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from sidecar.cli.output.terminal import Meaning, folded, styled
from sidecar.cli.output.text import printable
from sidecar.service.check_result import CheckResult, CheckStatus, DoctorReport

_MEANINGS = {
    CheckStatus.OK: Meaning.GOOD,
    CheckStatus.WARNING: Meaning.UNSURE,
    CheckStatus.FAILURE: Meaning.BAD,
    CheckStatus.NOT_CHECKED: Meaning.MUTED,
}
_WORDS = {
    CheckStatus.OK: "ok",
    CheckStatus.WARNING: "warning",
    CheckStatus.FAILURE: "failure",
    CheckStatus.NOT_CHECKED: "not checked",
}
_WIDTH = max(map(len, _WORDS.values()))
_MOST_DETAILS = 5
# What belongs to a message stands below it, if that leaves as many columns.
_LEAST_MESSAGE = 40
_NARROW_INDENT = "    "


def render_doctor(
    report: DoctorReport, form: str, *, is_all: bool = True, width: int | None = None
) -> str:
    """Write a report as `table` or `json`.

    A table has all checks if `is_all`, else those in which something is wrong or was repaired. JSON
    has all. `width` is that of the terminal; None: none shows it.
    """
    if form == "json":
        return _render_json(report)
    return "\n".join(_lines(report, width, is_all=is_all))


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


def _lines(report: DoctorReport, width: int | None, *, is_all: bool) -> Iterator[str]:
    shown = [finding for finding in report.findings if is_all or _is_told(finding)]
    longest = max((len(finding.check) for finding in shown), default=0)
    for finding in shown:
        first, *more = _finding_lines(finding, longest, is_all=is_all)
        indent = " " * (_WIDTH + longest + 4)
        if width is not None and width - len(indent) < _LEAST_MESSAGE:
            indent = _NARROW_INDENT
        line = folded(first, width, indent)
        yield styled(line[:_WIDTH], _MEANINGS[finding.verdict]) + line[_WIDTH:]
        yield from (folded(f"{indent}{one}", width, f"{indent}  ") for one in more)
    if shown:
        yield ""
    counts = Counter(finding.verdict for finding in report.findings)
    words = ", ".join(f"{counts[verdict]} {_WORDS[verdict]}" for verdict in CheckStatus) + "."
    yield styled(words, _meaning_of(report))
    if len(shown) < len(report.findings):
        yield "`--all` shows every check."


def _is_told(finding: CheckResult) -> bool:
    is_wrong = finding.verdict in {CheckStatus.WARNING, CheckStatus.FAILURE}
    return is_wrong or bool(finding.fixed)


def _meaning_of(report: DoctorReport) -> Meaning:
    verdicts = {finding.verdict for finding in report.findings}
    if report.has_failed:
        return Meaning.BAD
    return Meaning.UNSURE if CheckStatus.WARNING in verdicts else Meaning.GOOD


def _finding_lines(finding: CheckResult, longest: int, *, is_all: bool) -> Iterator[str]:
    """Yield what a check found, in a line, and what belongs below it, without an indent."""
    word = f"{_WORDS[finding.verdict]:{_WIDTH}}"
    yield f"{word}  {printable(finding.check):{longest}}  {printable(finding.message)}"
    details = finding.details if is_all else finding.details[:_MOST_DETAILS]
    for detail in details:
        yield f"- {printable(detail)}"
    if left := len(finding.details) - len(details):
        yield f"- and {left} more"
    if finding.fixed:
        yield f"fixed: {printable(finding.fixed)}"
    if finding.hint:
        yield f"→ {printable(finding.hint)}"
