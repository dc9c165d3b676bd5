"""A lint's report as text, as JSON and as annotations of a workflow."""

import json
import re
from dataclasses import replace
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.output.lint import render_lint
from sidecar.docker.models import Mount
from sidecar.labels.problem import Severity
from sidecar.planner.coverage import MountCoverage
from sidecar.planner.lint import LintFinding
from sidecar.reconciler.lint import LintReport

ERROR = LintFinding(
    *("keep.invalid", "50%, no\ncount", "write 7", "shop/web", "web-1", "backrest.keep"),
    file="a,b:c.yaml",
    line=7,
)
DEGRADED = LintFinding("path.unmapped", "m", workload="shop/web", severity=Severity.DEGRADED)
WARNING = LintFinding("lint.not-enabled", "n", "add it", "shop/db", severity=Severity.WARNING)
DATA = Mount("volume", "/v/web/_data", "/data", "web", "local")
BIND = Mount("bind", "/srv", "/srv")
COVERAGE = (
    MountCoverage("shop/web", "web-1", DATA, "plan_web", "/v/web/_data"),
    MountCoverage("shop/web", "web-1", BIND, "plan_web", "/srv", "only /srv/a of it"),
    MountCoverage("solo", "solo", BIND, reason="not labelled"),
)


def report(
    *findings: LintFinding, coverage: tuple[MountCoverage, ...] = (), has_document: bool = True
) -> LintReport:
    """A report of these findings."""
    return LintReport("config.json", has_document, findings, coverage)


@pytest.mark.parametrize(
    ("findings", "lax", "strict"),
    [
        ((), False, False),
        ((WARNING,), False, True),
        ((DEGRADED,), True, True),
        ((ERROR,), True, True),
    ],
)
def test_warnings_fail_only_a_strict_lint(
    findings: tuple[LintFinding, ...], lax: bool, strict: bool
) -> None:
    """Error and degraded always do."""
    found = report(*findings)
    assert (lax, strict) == (found.has_failed(strict=False), found.has_failed(strict=True))


def test_a_lint_of_nothing_labelled_shows_the_line_to_write() -> None:
    """Silence would pass for a backup."""
    line = 'write `backrest.enable: "true"` under the `labels:`'
    assert line in render_lint(replace(report(), unlabelled="backrest.enable"), "text")
    assert line not in render_lint(report(), "text")


def test_annotations_escape_what_the_workflow_would_read() -> None:
    """Percent and line ends in texts; in properties also colon and comma."""
    assert (
        "::error file=a%2Cb%3Ac.yaml,line=7,title=keep.invalid shop/web::"
        "50%25, no%0Acount → write 7"
    ) == render_lint(report(ERROR), "github")


def test_annotations_without_a_place_have_none() -> None:
    """A container on an engine stands in no file; only a warning is a warning."""
    assert [
        "::error title=path.unmapped shop/web::m",
        "::warning title=lint.not-enabled shop/db::n → add it",
    ] == render_lint(report(DEGRADED, WARNING), "github").splitlines()


@pytest.mark.parametrize(
    ("folder", "file", "shown"),
    [
        (".", "stacks/compose.yaml", "stacks/compose.yaml"),
        ("stacks", "compose.yaml", "stacks/compose.yaml"),
        ("stacks", "../compose.yaml", "compose.yaml"),
        ("..", "/elsewhere/compose.yaml", "/elsewhere/compose.yaml"),
        ("..", "repository-too/compose.yaml", "repository-too/compose.yaml"),
    ],
)
def test_annotations_name_files_from_the_folder_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, file: str, shown: str
) -> None:
    """Wherever the step runs; a file outside of it stays as it was given."""
    repository = tmp_path / "repository"
    (repository / "stacks").mkdir(parents=True)
    monkeypatch.chdir(repository / folder)
    found = replace(ERROR, file=file)
    line = render_lint(report(found), "github", str(repository))
    assert line.startswith(f"::error file={shown},line=7,")


def test_annotation_of_a_whole_file_names_no_line() -> None:
    """A file that cannot be read has no line that is wrong."""
    found = LintFinding("lint.unreadable", "gone", file="compose.yaml")
    assert "::error file=compose.yaml,title=lint.unreadable::gone" == render_lint(
        report(found), "github"
    )


@given(text=st.text(), name=st.text(min_size=1))
def test_a_workflow_reads_the_very_text_and_never_a_second_command(text: str, name: str) -> None:
    """Whatever labels and files are called: one line, taken apart as GitHub's runner does."""
    found = LintFinding("keep.invalid", text, workload="shop/web", file=name, line=7)
    line = render_lint(report(found), "github")
    head, _, data = line.removeprefix("::error ").partition("::")
    pairs = dict(pair.split("=", 1) for pair in head.split(","))
    assert not re.search(r"[\r\n]", line)
    assert {"file": name, "line": "7", "title": "keep.invalid shop/web"} == {
        key: unescape(value, "%0D", "%0A", "%3A", "%2C", "%25") for key, value in pairs.items()
    }
    assert text == unescape(data, "%0D", "%0A", "%25")


def unescape(text: str, *escapes: str) -> str:
    """Put back what escapes stand for, one kind after the other, the percent sign last."""
    for escape in escapes:
        text = text.replace(escape, chr(int(escape[1:], 16)))
    return text


def test_clean_report_has_no_annotations() -> None:
    """Nothing is to be said on the page of the change."""
    assert "" == render_lint(report(coverage=COVERAGE), "github")


def test_text_tells_problems_places_and_coverage() -> None:
    """What is wrong comes first, then each mount with its plan or the reason."""
    lines = render_lint(report(ERROR, coverage=COVERAGE), "text").splitlines()
    plain = [
        line.replace("\x1b[31m", "").replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines
    ]
    assert [
        "shop/web",
        "  error      keep.invalid [web-1 backrest.keep] 50%, no\N{REPLACEMENT CHARACTER}count",
        "             → write 7",
        "             at a,b:c.yaml:7",
        "",
        "mounts of shop/web (web-1)",
        "  ✓ /data (volume) → /v/web/_data: plan plan_web",
        "  ~ /srv (bind) → /srv: plan plan_web, only /srv/a of it",
        "",
        "mounts of solo",
        "  – /srv (bind): not labelled",
        "",
        "1 error, 0 degraded, 0 warning; 2 of 3 mounts are in a plan.",
    ] == plain


def test_text_of_a_file_that_cannot_be_read_has_its_name_above_it() -> None:
    """It has neither workload nor container nor line."""
    found = LintFinding("lint.unreadable", "a.yaml cannot be read: gone", file="a.yaml")
    plain = click.unstyle(render_lint(report(found), "text"))
    assert plain.startswith("a.yaml\n  error      lint.unreadable a.yaml cannot be read: gone\n\n")


def test_text_says_what_was_not_checked() -> None:
    """Without a document nobody should think that the repositories are right."""
    shown = render_lint(report(has_document=False), "text")
    assert "Without a document repositories and secrets were not checked." in shown


def test_json_has_findings_and_coverage_with_stable_keys() -> None:
    """For programs: the problem's keys, its place, and every mount."""
    shown = json.loads(render_lint(report(ERROR, coverage=COVERAGE[1:2]), "json"))
    assert {
        "config": "config.json",
        "document": True,
        "problems": [
            {
                "reason": "keep.invalid",
                "severity": "error",
                "workload": "shop/web",
                "container": "web-1",
                "label": "backrest.keep",
                "message": "50%, no\ncount",
                "hint": "write 7",
                "file": "a,b:c.yaml",
                "line": 7,
            }
        ],
        "coverage": [
            {
                "workload": "shop/web",
                "container": "web-1",
                "destination": "/srv",
                "type": "bind",
                "source": "/srv",
                "plan": "plan_web",
                "path": "/srv",
                "reason": "only /srv/a of it",
            }
        ],
    } == shown
