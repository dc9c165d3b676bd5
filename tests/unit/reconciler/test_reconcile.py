"""A pass whose document is saved by others meanwhile."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.document import parse_document
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.lib.errors import DocumentError, StoreError
from sidecar.planner.propose import Planner, Proposal, propose
from sidecar.reconciler.reconcile import Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.settings import Lifetime, ReconcilerSettings
from sidecar.reconciler.state import Memory
from sidecar.reconciler.store.read import Stored
from sidecar.reconciler.store.replace import Replacement, Store

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
WEB = "backrest_sidecar_web"
LOST = "backrest_sidecar_lost"
NIGHTLY = {"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"}
INVENTORY = Inventory(
    (
        Container(
            "1" * 64,
            "web",
            labels={"backrest.enable": "true"},
            mounts=(Mount("bind", "/data", "/data"),),
        ),
    )
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A document with a plan of ours whose workload is gone."""
    repo = {"id": "r1", "uri": "/r1", "password": "-", "autoInitialize": True}
    plan = {"id": LOST, "repo": "r1", "paths": ["/lost"], "schedule": NIGHTLY}
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps({"version": 6, "instance": "here", "repos": [repo], "plans": [plan]})
    )
    return path


def save(path: Path, instance: str) -> None:
    """Save as Backrest does: a new file, renamed over the old one."""
    document = json.loads(path.read_bytes()) | {"instance": instance}
    (path.parent / "foreign").write_text(json.dumps(document))
    (path.parent / "foreign").replace(path)


def meet(monkeypatch: pytest.MonkeyPatch, saves: Callable[[Path, int], None]) -> list[Replacement]:
    """Have something saved between each read and replacement; give what came of each."""
    results: list[Replacement] = []
    put = Store.replace

    def replace_after_save(store: Store, base: Stored, content: bytes) -> Replacement:
        saves(store.path, len(results))
        results.append(put(store, base, content))
        return results[-1]

    monkeypatch.setattr(Store, "replace", replace_after_save)
    return results


def reconciler(config: Path) -> tuple[Reconciler, ReconcilerSettings, Memory]:
    """Return one whose orphans have no grace, what it is to do, and what it remembers."""
    settings = ReconcilerSettings(config, lifetime=Lifetime(grace=0.0))
    memory = Memory(settings.state_directory)
    return Reconciler(settings, {}, PassRecorder(memory)), settings, memory


def plans_of(config: Path) -> dict[str, Any]:
    """Return the plans of the document, by id."""
    return {plan["id"]: plan for plan in json.loads(config.read_bytes())["plans"]}


def test_a_save_during_a_pass_is_merged(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass is made again on what stands there now; what it remembers is of its write."""
    results = meet(monkeypatch, lambda path, n: save(path, "renamed") if n == 0 else None)
    made, settings, memory = reconciler(config)
    outcome = made.run(settings, INVENTORY, NOW)
    assert results == [Replacement.CHANGED, Replacement.WRITTEN]
    assert outcome.written
    assert json.loads(config.read_bytes())["instance"] == "renamed"
    assert {WEB, LOST} == plans_of(config).keys()
    assert plans_of(config)[LOST]["schedule"] == {"disabled": True}
    assert {LOST: NIGHTLY} == memory.state.disabled
    assert () == memory.state.disabling


def test_a_pass_gives_up_when_every_attempt_meets_a_save(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of attempts is bounded, the last save stands, and no intent is left behind."""
    results = meet(monkeypatch, lambda path, n: save(path, f"save-{n}"))
    made, settings, memory = reconciler(config)
    with pytest.raises(StoreError, match="20 attempts"):
        made.run(settings, INVENTORY, NOW)
    assert results == [Replacement.CHANGED] * 20
    assert json.loads(config.read_bytes())["instance"] == "save-19"
    assert {LOST: NIGHTLY} == {key: plan["schedule"] for key, plan in plans_of(config).items()}
    assert ({}, ()) == (memory.state.disabled, memory.state.disabling)


def test_schedules_that_another_sidecar_takes_during_a_pass_are_kept(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command beside the daemon: what it remembers comes after the pass has looked there."""
    others = [reconciler(config)]
    make = Planner.propose

    def propose_late(*arguments: Any, **options: Any) -> Proposal:
        if others:
            other, settings, _memory = others.pop()
            assert other.run(settings, INVENTORY, NOW).written
        return make(*arguments, **options)

    monkeypatch.setattr(Planner, "propose", propose_late)
    made, settings, memory = reconciler(config)
    assert not made.run(settings, INVENTORY, NOW).written
    assert plans_of(config)[LOST]["schedule"] == {"disabled": True}
    assert ({LOST: NIGHTLY}, ()) == (memory.refresh().disabled, memory.state.disabling)


def test_schedules_that_another_sidecar_takes_before_a_pass_ends_are_kept(config: Path) -> None:
    """Also where the pass has nothing to write, and so sees no other document."""
    made, settings, memory = reconciler(config)
    patient = replace(settings, lifetime=Lifetime())
    made.run(patient, INVENTORY, NOW)
    desired, _ = made.desired_state(patient, INVENTORY, NOW)
    proposal = propose(parse_document(config.read_bytes()), desired)
    other, _, _ = reconciler(config)
    other.run(settings, INVENTORY, NOW)
    made.recorder.confirm(proposal)
    assert plans_of(config)[LOST]["schedule"] == {"disabled": True}
    assert {LOST: NIGHTLY} == memory.refresh().disabled


def test_what_a_command_accepts_during_a_pass_is_kept(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass has nothing to write, and would remember what was so when it began."""
    made, settings, memory = reconciler(config)
    patient = replace(settings, lifetime=Lifetime())
    made.run(patient, INVENTORY, NOW)
    make, command = Planner.propose, [Memory(settings.state_directory)]

    def propose_late(*arguments: Any, **options: Any) -> Proposal:
        if command:
            command.pop().change(accepted=(LOST,))
        return make(*arguments, **options)

    monkeypatch.setattr(Planner, "propose", propose_late)
    assert not made.run(patient, INVENTORY, NOW).written
    assert (LOST,) == memory.refresh().accepted


def test_faults_name_the_file(config: Path) -> None:
    """What is wrong with the document is told with its path."""
    config.write_text("[]")
    made, settings, _ = reconciler(config)
    with pytest.raises(DocumentError, match=r"config\.json: "):
        made.run(settings, INVENTORY, NOW)
