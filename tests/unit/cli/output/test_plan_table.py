"""What the preview says of a plan that Backrest may never run by itself."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.cli.output.changes import render_outcome_json
from sidecar.cli.output.plan_table import NEVER_RUN, render_table
from sidecar.reconciler.reconcile import PassOutcome, reconcile_now
from sidecar.reconciler.settings import InventorySource, ReconcilerSettings
from sidecar.reconciler.state import FirstRun, Memory
from tests.fakes.fake_docker import FakeDocker

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PAUSED = "backrest_sidecar_paused"


@pytest.fixture
def docker() -> Iterator[FakeDocker]:
    """A Docker with one service that is backed up every other day, and one each night."""
    with FakeDocker() as running:
        for name, schedule in {"paused": "every 2d", "nightly": "0 2 * * *"}.items():
            labels = {"backrest.enable": "true", "backrest.schedule": schedule}
            mount = {"Type": "bind", "Source": f"/srv/{name}", "Destination": "/data"}
            running.add(name, labels, mounts=[mount])
        yield running


def preview(folder: Path, docker: FakeDocker) -> PassOutcome:
    """Preview as `reconcile --dry-run` does."""
    source = InventorySource(docker_sock=docker.address)
    settings = ReconcilerSettings(folder / "config.json", source=source)
    return reconcile_now(settings, NOW, {}, dry_run=True)


def noted(outcome: PassOutcome) -> tuple[int, list[str]]:
    """Return how often the table has the note, and which plans have it in the JSON."""
    shown = json.loads(render_outcome_json(outcome))
    return render_table(outcome, NOW).count(NEVER_RUN[0]), [
        n["plan"] for n in shown.get("notes", [])
    ]


def test_a_plan_with_a_pause_has_a_note(tmp_path: Path, docker: FakeDocker) -> None:
    """Without an API nobody has it run the first time; a cron has no such note."""
    assert (1, [PAUSED]) == noted(preview(tmp_path, docker))


def test_a_plan_that_has_run_has_none(tmp_path: Path, docker: FakeDocker) -> None:
    """Backrest counts from that run, whenever it is started anew."""
    memory = Memory(tmp_path / ".sidecar")
    memory.change(first_runs={PAUSED: FirstRun(1.0)})
    assert (1, [PAUSED]) == noted(preview(tmp_path, docker))
    memory.change(first_runs={PAUSED: FirstRun(1.0, is_over=True)})
    assert (0, []) == noted(preview(tmp_path, docker))
