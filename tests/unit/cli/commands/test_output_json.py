"""What was backed up, as an object on one line, by the commands that do it."""

import json
from pathlib import Path

import pytest

from sidecar.backrest.operations import OperationEnd
from sidecar.cli.commands.backup_once import _event_shower
from sidecar.cli.commands.main import run_cli
from sidecar.engines.base import Progress
from sidecar.reconciler import backup
from sidecar.reconciler.backup import BackupResult
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.progress import RunFinished
from sidecar.runner.settings import RunnerSettings


def test_each_run_of_backup_once_is_an_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output has nothing else."""
    job = Job(JobKind.BACKUP, "web", "r")
    show = _event_shower(RunnerSettings(tmp_path / "config.json"), "json")
    show(job, Progress(0.5, 1, 2, 3, 4))
    show(job, RunFinished(reason="the runner stops"))
    shown = json.loads(capsys.readouterr().out)

    assert ("backup", "web", None) == (shown["kind"], shown["of"], shown["outcome"])
    assert "the runner stops" == shown["reason"]


@pytest.mark.parametrize(
    ("ending", "status"), [(OperationEnd.SUCCESS, 0), (OperationEnd.WARNING, 3), (None, 1)]
)
def test_a_backup_by_backrest_is_an_object(
    ending: OperationEnd | None,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With its exit status beside; null where its end was not waited for."""
    result = BackupResult("web", ending, "no disk", 2.5)
    monkeypatch.setattr(backup, "run_backup", lambda *_: result)

    assert status == run_cli(["backup", "web", "--output", "json"])
    assert {
        "kind": "backup",
        "of": "web",
        "outcome": ending and ending.value,
        "reason": "no disk",
        "seconds": 2.5,
    } == json.loads(capsys.readouterr().out)
