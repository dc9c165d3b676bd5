"""What wakes the daemon, as its flags say it."""

import os

import pytest
from click.testing import CliRunner

from sidecar.cli.commands import service
from sidecar.reconciler.settings import ReconcilerSettings


class _Daemon:
    """Keeps the settings that the command builds."""

    settings: ReconcilerSettings

    def __init__(self, settings: ReconcilerSettings, *_: object) -> None:
        _Daemon.settings = settings

    def run(self) -> bool:
        """End at once."""
        return True


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], (0.1, 0.5)),
        (["--settle", "50ms", "--settle-cap", "2s"], (0.05, 2.0)),
        (["--settle", "0", "--settle-cap", "0"], (0.0, 0.0)),
    ],
)
def test_settling_is_what_its_flags_say(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], expected: tuple[float, float]
) -> None:
    """A tenth of a second, half a second at the most."""
    monkeypatch.setattr("sidecar.reconciler.daemon.ReconcilerDaemon", _Daemon)
    monkeypatch.delenv("BACKREST_CONFIG", raising=False)
    done = CliRunner().invoke(service.daemon, flags, catch_exceptions=False)
    assert done.exit_code == os.EX_OK
    watching = _Daemon.settings.watching
    assert expected == (watching.settle, watching.cap)


def test_a_cap_below_the_settling_is_refused() -> None:
    """It would end each wait before it is over."""
    done = CliRunner().invoke(service.daemon, ["--settle", "2s", "--settle-cap", "1s"])
    assert "--settle-cap" in str(done.exception)
