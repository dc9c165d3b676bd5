"""Drift: reported when it is put back, and left alone when somebody insists."""

import json
from datetime import UTC, datetime
from typing import Any

from sidecar.backrest.document import Document
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.planner.drift import Drift, Watch, find_drift
from sidecar.planner.lifecycle import PlanHistory
from sidecar.planner.propose import DesiredState, Proposal, propose

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
ID = "backrest_sidecar_web"
PATHS = Drift(ID, "paths")


def document_of(**plan: Any) -> Document:
    """Make a document with the plan of `web`, changed by somebody."""
    plans = [{"id": ID, "repo": "r1", "paths": ["/data"]} | plan] if plan.get("id", ID) else []
    repo = {"id": "r1", "uri": "/r1", "password": "-", "autoInitialize": True}
    return Document(json.dumps({"version": 6, "instance": "here", "repos": [repo], "plans": plans}))


def run(document: Document, watch: Watch, **labels: str) -> Proposal:
    """Make a pass over one labelled container."""
    own = {f"backrest.{key}": value for key, value in ({"enable": "true"} | labels).items()}
    web = Container("1" * 64, "web", labels=own, mounts=(Mount("bind", "/data", "/data"),))
    history = PlanHistory(contested=watch.contested)
    return propose(document, DesiredState(Inventory((web,)), Policy(), NOW, history=history))


def settled() -> Watch:
    """Return a watch that has asserted the plan."""
    return Watch().after(run(document_of(), Watch()), 0.0)


def test_an_edit_of_an_owned_key_is_drift() -> None:
    """It is put back, and reported by plan and key."""
    proposal = run(document_of(paths=["/other"], excludes=["*.tmp"]), settled())

    assert (Drift(ID, "excludes"), PATHS) == find_drift(settled(), proposal)
    assert ["/data"] == json.loads(proposal.after.text)["plans"][0]["paths"]


def test_what_the_labels_ask_for_anew_is_no_drift() -> None:
    """Nor is the first pass of all."""
    changed = run(document_of(), settled(), **{"paths.exclude": "*.log"})

    assert () == find_drift(settled(), changed)
    assert () == find_drift(Watch(), run(document_of(paths=["/other"]), Watch()))


def test_a_plan_that_was_taken_away_is_drift_and_always_comes_back() -> None:
    """A backup is never given up because somebody saves an old copy often."""
    watch, gone = settled(), document_of(id="")
    for moment in range(9):
        proposal = run(gone, watch)
        assert (Drift(ID, "plan"),) == find_drift(watch, proposal)
        assert [ID] == [plan.id for plan in proposal.changes.added]
        watch = watch.after(proposal, float(moment))


def fight(times: int, apart: float) -> Watch:
    """Put the same drift back so often."""
    watch = settled()
    for number in range(times):
        watch = watch.after(run(document_of(paths=["/other"]), watch), number * apart)
    return watch


def test_the_third_time_in_ten_minutes_is_the_last() -> None:
    """Then the key is theirs, and the rest stays ours."""
    watch = fight(3, 60.0)
    proposal = run(document_of(paths=["/other"], excludes=["*.tmp"]), watch)

    assert {ID: frozenset({"paths"})} == watch.contested
    assert (Drift(ID, "excludes"),) == find_drift(watch, proposal)
    assert run(document_of(paths=["/other"]), watch).changes.is_empty
    assert {} == fight(2, 60.0).contested
    assert {} == fight(9, 400.0).contested


def test_what_is_left_alone_is_taken_up_again() -> None:
    """When the labels ask for something else, after an hour, or when all begins anew."""
    watch = fight(3, 60.0)
    same, other = run(document_of(), watch), run(document_of(), watch, **{"paths.exclude": "x"})

    assert {} != watch.after(same, 3000.0).contested
    assert {} == watch.after(other, 3000.0).contested
    assert {} == watch.after(same, 9000.0).contested
    assert {} == watch.forgiving().contested


def test_a_contested_key_that_backrest_would_refuse_is_replaced() -> None:
    """Nobody wants a document that keeps Backrest from starting."""
    watch = fight(3, 60.0)
    proposal = run(document_of(paths=[""]), watch)

    assert ["/data"] == json.loads(proposal.after.text)["plans"][0]["paths"]
