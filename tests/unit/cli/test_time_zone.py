"""A TZ that is no time zone ends both programs at their start; help needs none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.cli.commands import main as sidecar_main
from sidecar.cli.runner import main as runner_main

PROGRAMS: list[tuple[Callable[[list[str]], int], list[list[str]]]] = [
    (sidecar_main.run_cli, [["daemon"], ["reconcile", "--dry-run"], ["status"]]),
    (runner_main.run_cli, [["daemon"], ["run", "web"], ["plans"], ["history"], ["restore", "web"]]),
]
COMMANDS = [(run, command) for run, commands in PROGRAMS for command in commands]


@pytest.mark.parametrize(("run", "command"), COMMANDS)
def test_a_wrong_time_zone_is_told_at_the_start(
    run: Callable[[list[str]], int],
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Instead of backups at other hours than those that were asked for."""
    monkeypatch.setenv("TZ", "Europe/Berln")
    monkeypatch.chdir(tmp_path)
    assert 1 == run(command)
    told = capsys.readouterr().err
    assert "TZ=Europe/Berln is no time zone that is known here" in told
    assert "→ write TZ=Europe/Berlin" in told
    assert [] == list(tmp_path.iterdir())

    assert 0 == run([*command, "--help"])
