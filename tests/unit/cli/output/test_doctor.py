"""The doctor's report is one screen: what is wrong and what to do; the rest is counted."""

from dataclasses import replace

import click
import pytest

from sidecar.cli.output.doctor import render_doctor
from sidecar.service.check_result import (
    CheckResult,
    DoctorReport,
    failed,
    not_checked,
    passed,
    warned,
)


def shown(*findings: CheckResult, is_all: bool = False, width: int | None = None) -> list[str]:
    """The lines, without colours."""
    report = DoctorReport("config.json", findings)
    text = render_doctor(report, "table", is_all=is_all, width=width)
    return click.unstyle(text).splitlines()


def test_what_is_well_is_one_line() -> None:
    """And how to see it."""
    assert ["2 ok, 0 warning, 0 failure, 1 not checked.", "`--all` shows every check."] == shown(
        passed("a"), passed("b"), not_checked("c")
    )


def test_what_is_wrong_is_shown_with_what_to_do() -> None:
    """Also what was repaired; of many details the first."""
    many = [f"mount {number}" for number in range(9)]
    lines = shown(failed("a", "do this", many), warned("b", "that"), passed("c", fixed="made"))
    assert ["failure        a", "               - mount 0"] == lines[:2]
    assert ["               - and 4 more", "               → do this"] == lines[6:8]
    assert ["warning        b", "               → that", "ok             c"] == lines[8:11]
    assert "               fixed: made" == lines[11]
    assert "1 ok, 1 warning, 1 failure, 0 not checked." == lines[-1]


def test_all_shows_everything() -> None:
    """Every check, and every detail."""
    lines = shown(passed("a", details=[str(n) for n in range(9)]), is_all=True)
    assert ["ok             a", "               - 0"] == lines[:2]
    assert "               - 8" == lines[9]
    assert "1 ok, 0 warning, 0 failure, 0 not checked." == lines[-1]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_the_terminal(width: int) -> None:
    """Folded between words, of which none is lost; where there is room, below the message."""
    words = "what is wrong is told in a sentence of more than a hundred letters, all of which count"
    findings = [
        replace(failed(words, words, [words]), check="permission.containers", fixed=words),
        replace(warned(words, "x"), check="zones"),
    ]
    lines = shown(*findings, width=width)

    assert max(map(len, lines)) <= width
    assert " ".join(shown(*findings)).split() == " ".join(lines).split()
    assert lines[0].startswith("failure      permission.containers  what is wrong is")
    assert lines[1].startswith(" " * (36 if width >= 80 else 4))
