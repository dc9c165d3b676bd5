"""What the preview says of a plan that Backrest may never run by itself."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from sidecar.cli.output.changes import render_outcome_json
from sidecar.cli.output.plan_table import NEVER_RUN, render_table
from sidecar.labels.policy import Policy
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


def test_many_changes_are_one_line(tmp_path: Path, docker: FakeDocker) -> None:
    """As after an upgrade: how many plans change, and in which parts; the diff has the rest."""
    (tmp_path / "config.json").write_text(
        '{"modno": 1, "version": 6, "instance": "i", "repos": '
        '[{"id": "r", "uri": "/r", "password": "x", "autoInitialize": true}]}'
    )
    source = InventorySource(docker_sock=docker.address)
    before = ReconcilerSettings(tmp_path / "config.json", source=source)
    reconcile_now(before, NOW, {}, dry_run=False)
    policy = Policy(default_retention="daily=3", enforce_defaults=True)
    outcome = reconcile_now(replace(before, policy=policy), NOW, {}, dry_run=True)
    shown = click.unstyle(render_table(outcome, NOW)).splitlines()

    assert "Changed: 2 in retention; `--output diff` shows how." == shown[-1]
    assert f"paused  plan {PAUSED} (changed: retention)" in shown
    assert all(len(line) <= 60 for line in render_table(outcome, NOW, 60).splitlines()[-1:])


def test_plans_that_stay_are_no_change(tmp_path: Path, docker: FakeDocker) -> None:
    """And new ones are counted as such."""
    assert "Changed:" not in render_table(preview(tmp_path, docker), NOW)
