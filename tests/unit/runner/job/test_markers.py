"""The files that say how a plan's last backup ended."""

import os
from pathlib import Path

import pytest

from sidecar.engines.base import FailureClass
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.markers import marker_name, write_marker
from sidecar.runner.journal import Ended, Run, RunCause, RunOutcome

NOW = 1_780_000_000.0


def ended(outcome: RunOutcome, reason: str = "", name: str = "web") -> Run:
    """Return a backup that ended."""
    end = Ended(outcome, NOW, failure=FailureClass.NETWORK if reason else None, reason=reason)
    return Run(1, Job(JobKind.BACKUP, name, "store"), RunCause.SCHEDULE, NOW - 9, ended=end)


def test_a_failure_leaves_three_lines(tmp_path: Path) -> None:
    """FAILED, when, and why; in one line, whatever the reason holds."""
    write_marker(tmp_path, ended(RunOutcome.FAILED, "no\nroute\x07 to \udc80 host"))
    text = (tmp_path / "web.failed").read_text()
    assert ["FAILED", "1780000000"] == text.splitlines()[:2]
    assert 3 == len(text.splitlines())
    write_marker(tmp_path, ended(RunOutcome.INTERRUPTED))
    assert "FAILED\n1780000000\ninterrupted\n" == (tmp_path / "web.failed").read_text()


def test_a_success_takes_the_failure_away(tmp_path: Path) -> None:
    """And leaves its time; a failure leaves the last success where it is."""
    write_marker(tmp_path, ended(RunOutcome.FAILED, "x"))
    for outcome in (RunOutcome.SUCCESS, RunOutcome.WARNING, RunOutcome.SKIPPED):
        write_marker(tmp_path, ended(outcome))
        assert ["web.success"] == os.listdir(tmp_path)
    assert "1780000000\n" == (tmp_path / "web.success").read_text()
    write_marker(tmp_path, ended(RunOutcome.FAILED, "x"))
    assert {"web.success", "web.failed"} == set(os.listdir(tmp_path))


def test_what_was_called_off_changes_no_marker(tmp_path: Path) -> None:
    """Nor does a run that has no end, or is no backup."""
    write_marker(tmp_path, ended(RunOutcome.CANCELLED, "x"))
    write_marker(tmp_path, Run(1, Job(JobKind.BACKUP, "web", "s"), RunCause.MANUAL, NOW))
    check = Job(JobKind.CHECK, "s", "s")
    write_marker(tmp_path, Run(1, check, RunCause.MANUAL, NOW, ended=Ended(RunOutcome.FAILED, NOW)))
    assert [] == os.listdir(tmp_path)


def test_a_marker_that_cannot_be_written_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run itself is over and recorded."""
    (tmp_path / "state").write_text("a file")
    write_marker(tmp_path / "state", ended(RunOutcome.SUCCESS))
    assert ["marker.not-written"] == [record.message for record in caplog.records]


def test_a_marker_stays_in_its_folder_whatever_the_plan_is_called(tmp_path: Path) -> None:
    """Two plans never share one."""
    names = ["web", "../web", "a/b", "..", "x" * 300, "x" * 299 + "y", "Ä"]
    for name in names:
        write_marker(tmp_path / "state", ended(RunOutcome.SUCCESS, name=name))
    assert len(names) == len(os.listdir(tmp_path / "state")) == len(set(map(marker_name, names)))
    assert ["state"] == os.listdir(tmp_path)
