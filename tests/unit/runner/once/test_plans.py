"""Backing up once by the plans of the document."""

from pathlib import Path

import pytest

from sidecar.lib.errors import UsageError
from sidecar.runner.once.plans import PlansStrategy
from sidecar.runner.settings import RunnerSettings


def test_a_document_without_an_enabled_plan_is_no_backup(tmp_path: Path) -> None:
    """A backup of nothing must not look like one that went well."""
    config = tmp_path / "config.json"
    config.write_text('{"modno": 1, "version": 6, "instance": "i"}')
    with pytest.raises(UsageError, match="no enabled plan"):
        PlansStrategy(RunnerSettings(config), {}, lambda *_: None).prepare()
