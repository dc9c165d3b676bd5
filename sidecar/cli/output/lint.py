"""A lint report: for people, for programs, and as annotations of a GitHub workflow."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

import click

from sidecar.cli.output.problems import nothing_labelled, problem_json, problem_lines
from sidecar.cli.output.terminal import folded
from sidecar.cli.output.text import printable
from sidecar.labels.problem import Severity
from sidecar.lib.text import counted
from sidecar.planner.coverage import MountCoverage
from sidecar.planner.lint import LintFinding
from sidecar.reconciler.lint import LintReport

_NO_DOCUMENT = "Without a document repositories and secrets were not checked."


def render_lint(
    report: LintReport, form: str, workspace: str = "", width: int | None = None
) -> str:
    """Write a report as `text`, `json` or `github`; the last is empty without findings.

    `workspace` is the folder of the repository, from which annotations name files;
    without it they are named as they were given. `width` is that of the terminal; None: none
    shows the text.
    """
    if form == "json":
        return _render_json(report)
    if form == "github":
        return "\n".join(_annotation(finding, workspace) for finding in report.findings)
    return "\n".join(_text_lines(report, width))


def _render_json(report: LintReport) -> str:
    shown = {
        "config": report.config,
        "document": report.has_document,
        "problems": [_finding_json(finding) for finding in report.findings],
        "coverage": [_coverage_json(one) for one in report.coverage],
    }
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _finding_json(finding: LintFinding) -> dict[str, Any]:
    return {**problem_json(finding), "file": finding.file, "line": finding.line}


def _coverage_json(one: MountCoverage) -> dict[str, Any]:
    mount = one.mount
    return {
        "workload": one.workload,
        "container": one.container,
        "destination": mount.destination,
        "type": mount.type,
        "source": mount.name or mount.source,
        "plan": one.plan,
        "path": one.path,
        "reason": one.reason,
    }


def _text_lines(report: LintReport, width: int | None) -> Iterator[str]:
    for about, findings in groupby(report.findings, lambda found: found.workload or found.file):
        yield click.style(printable(about), bold=True)
        for finding in findings:
            yield from problem_lines([finding], width=width)
            if finding.line:
                yield f"  {'':10} at {printable(finding.file)}:{finding.line}"
        yield ""
    yield from (folded(line, width, " " * 6) for line in _coverage_lines(report.coverage))
    if report.unlabelled:
        yield folded(nothing_labelled(report.unlabelled), width)
    yield folded(_summary(report), width)
    if not report.has_document:
        yield folded(_NO_DOCUMENT, width)


def _coverage_lines(coverage: Iterable[MountCoverage]) -> Iterator[str]:
    for (workload, container), mounts in groupby(coverage, lambda m: (m.workload, m.container)):
        name = workload if workload == container else f"{workload} ({container})"
        yield f"mounts of {click.style(printable(name), bold=True)}"
        yield from (printable(_coverage_line(one)) for one in mounts)
        yield ""


def _coverage_line(one: MountCoverage) -> str:
    where = f"{one.mount.destination} ({one.mount.type})"
    if not one.plan:
        return f"  – {where}: {one.reason}"
    mark = "~" if one.reason else "✓"
    more = f", {one.reason}" if one.reason else ""
    return f"  {mark} {where} → {one.path}: plan {one.plan}{more}"


def _summary(report: LintReport) -> str:
    counts = [
        f"{sum(finding.severity is severity for finding in report.findings)} {severity.value}"
        for severity in Severity
    ]
    held = sum(bool(one.plan) for one in report.coverage)
    mounts = counted(len(report.coverage), "mount is", "mounts are")
    return f"{', '.join(counts)}; {held} of {mounts} in a plan."


def _annotation(finding: LintFinding, workspace: str) -> str:
    """Return one workflow command; what makes the lint fail is an error there."""
    command = "warning" if finding.severity is Severity.WARNING else "error"
    properties = {
        "file": _from_workspace(finding.file, workspace),
        "line": str(finding.line or ""),
        "title": f"{finding.reason} {finding.workload}".rstrip(),
    }
    text = f"{finding.message} → {finding.hint}" if finding.hint else finding.message
    return f"::{command} {_properties(properties)}::{_escaped(text)}"


def _from_workspace(file: str, workspace: str) -> str:
    """Return a file as GitHub names it; a step may run in another folder than the workspace."""
    if not (file and workspace):
        return file
    path, top = os.path.realpath(file), os.path.realpath(workspace)
    return os.path.relpath(path, top) if os.path.commonpath([path, top]) == top else file


def _properties(properties: Mapping[str, str]) -> str:
    return ",".join(
        f"{name}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}"
        for name, value in properties.items()
        if value
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
