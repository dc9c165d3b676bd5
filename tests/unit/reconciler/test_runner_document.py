"""Whether Backrest has let go of a plan, by its container and by what we remember."""

import os
from pathlib import Path

import pytest

from sidecar.lib.errors import InventoryError
from sidecar.reconciler import runner_document
from sidecar.reconciler.apply.container import BackrestContainer, is_bundled_runner
from sidecar.reconciler.runner_document import has_let_go
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import State

STARTED = 1_000.0
DAEMON = ("tini", "--", "backrest-runner", "daemon")


def backrest(*, is_running: bool = True, command: tuple[str, ...] = ()) -> BackrestContainer:
    """Return Backrest's container."""
    return BackrestContainer("1" * 64, "backrest", is_running, STARTED, command=command)


@pytest.mark.parametrize(
    ("found", "written_at", "has"),
    [
        (None, STARTED + 1, True),
        (backrest(is_running=False), STARTED + 1, True),
        (backrest(command=DAEMON), STARTED + 1, True),
        (backrest(), STARTED - 1, True),
        (backrest(), STARTED + 1, False),
        (backrest(), 0.0, False),
        (InventoryError("no answer"), STARTED - 1, False),
    ],
)
def test_backrest_has_let_go_once_it_has_read_the_document(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    found: BackrestContainer | InventoryError | None,
    written_at: float,
    *,
    has: bool,
) -> None:
    """One that does not run holds nothing; where nothing is remembered, the file's time counts."""
    config = tmp_path / "config.json"
    config.touch()
    os.utime(config, (STARTED + 5, STARTED + 5))

    def find(*_: object) -> BackrestContainer | None:
        if isinstance(found, InventoryError):
            raise found
        return found

    monkeypatch.setattr(runner_document, "find_backrest", find)
    settings = ReconcilerSettings(config)

    assert has is has_let_go(settings, State(written_at=written_at), STARTED + 9)


def test_without_a_document_nothing_is_held(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """There is nothing that Backrest could have read."""
    monkeypatch.setattr(runner_document, "find_backrest", lambda *_: backrest())

    assert has_let_go(ReconcilerSettings(tmp_path / "config.json"), State(), STARTED + 9)


@pytest.mark.parametrize(
    ("command", "is_ours"),
    [
        (("/usr/bin/backrest-runner", "daemon"), True),
        (DAEMON, True),
        (("/backrest",), False),
        (("backrest-runner", "run"), False),
        ((), False),
    ],
)
def test_the_bundled_runner_is_told_by_its_command(
    command: tuple[str, ...], *, is_ours: bool
) -> None:
    """It may stand behind an init."""
    assert is_ours is is_bundled_runner(backrest(command=command))
