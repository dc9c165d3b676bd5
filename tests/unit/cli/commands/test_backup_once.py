"""The flags of backup-once, as far as no engine is needed."""

from pathlib import Path

import pytest

from sidecar.cli.commands.backup_once import backup_once
from sidecar.docker.models import Inventory
from sidecar.lib.errors import SidecarError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rcb-arg", "x"], "--rcb-arg is given without --rcb-image"),
        (["--rcb-image", "i", "--restic-path-prefix", "volumes"], "is not absolute"),
        (["--quiesce-timeout", "soon"], "no duration"),
        (["--rcb-image", "i", "--dry-run"], "needs the socket of the engine, not tcp"),
    ],
)
def test_flags_that_do_not_fit_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    """Before anything is stopped."""
    monkeypatch.setattr(
        "sidecar.reconciler.observe.observe", lambda settings: (Inventory(), settings)
    )
    config = ["--config", str(tmp_path / "config.json"), "--docker-sock", "tcp://127.0.0.1:9"]
    with pytest.raises(SidecarError, match=said):
        backup_once.main([*config, *words], standalone_mode=False)
