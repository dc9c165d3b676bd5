"""The preview before anything exists: no document, and no Backrest."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.lib.errors import StoreError
from sidecar.reconciler.reconcile import PassOutcome, reconcile_now
from sidecar.reconciler.settings import InventorySource, ReconcilerSettings
from tests.fakes.fake_docker import FakeDocker

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
WEB = "backrest_sidecar_web"
MOUNT = {"Type": "bind", "Source": "/srv/web", "Destination": "/data"}


@pytest.fixture
def docker() -> Iterator[FakeDocker]:
    """A Docker with one labelled container."""
    with FakeDocker() as running:
        running.add("web", {"backrest.enable": "true"}, mounts=[MOUNT])
        yield running


def preview(folder: Path, docker: FakeDocker) -> PassOutcome:
    """Preview as the sidecar of compose.yaml does, which names the backrest container."""
    source = InventorySource(docker_sock=docker.address)
    settings = ReconcilerSettings(folder / "config.json", source=source, runner_named=True)
    return reconcile_now(settings, NOW, {}, dry_run=True)


def test_the_preview_needs_neither_document_nor_backrest(
    tmp_path: Path, docker: FakeDocker, caplog: pytest.LogCaptureFixture
) -> None:
    """It shows what a first pass would write, says so, and leaves nothing behind."""
    caplog.set_level(logging.WARNING)
    outcome = preview(tmp_path, docker)
    (plan,) = outcome.proposal.changes.added
    assert (WEB, "default", ("/srv/web",)) == (plan.id, plan.repo, plan.paths)
    assert not outcome.backrest.is_awaited
    assert not outcome.has_serious_problems
    assert any("init" in record.getMessage() for record in caplog.records)
    assert [] == list(tmp_path.iterdir())


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path, docker: FakeDocker) -> None:
    """As it is for a path with a mistake in it; nor is anything written without a document."""
    with pytest.raises(StoreError):
        preview(tmp_path / "confg", docker)
    source = InventorySource(docker_sock=docker.address)
    settings = ReconcilerSettings(tmp_path / "config.json", source=source)
    with pytest.raises(StoreError):
        reconcile_now(settings, NOW, {}, dry_run=False)
