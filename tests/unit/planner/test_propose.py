"""Proposals for a desired state: made once for equal inputs."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sidecar.docker.models import Inventory
from sidecar.labels.policy import Policy
from sidecar.planner.lifecycle import PlanHistory
from sidecar.planner.propose import DesiredState, Planner

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
ID = "backrest_sidecar_web"
NIGHTLY = {"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"}
EXPIRED = PlanHistory(orphans={ID: NOW.timestamp() - 100}, grace=50.0)


def content_of(**plan: object) -> bytes:
    """Make the bytes of a document with one plan of ours."""
    repo = {"id": "r1", "uri": "/r1", "password": "-", "autoInitialize": True}
    plans = [{"id": ID, "repo": "r1", "paths": ["/data"], "schedule": NIGHTLY} | plan]
    return json.dumps({"version": 6, "instance": "here", "repos": [repo], "plans": plans}).encode()


def desired_state(history: PlanHistory | None = EXPIRED) -> DesiredState:
    """Make a desired of a world without containers."""
    return DesiredState(Inventory(), Policy(), NOW, history=history)


def test_equal_inputs_give_the_same_proposal() -> None:
    """The same inputs give the same object; a grace that ends meanwhile does not."""
    planner = Planner()
    waiting = replace(EXPIRED, grace=150.0)
    desired = desired_state(waiting)
    first = planner.propose(content_of(), desired)
    later = replace(desired, now=NOW + timedelta(seconds=10))
    over = replace(desired, now=NOW + timedelta(seconds=60))

    assert first is planner.propose(content_of(), later)
    assert first is not planner.propose(content_of(), over)
    assert (ID,) == planner.propose(content_of(), over).changes.updated


def test_a_document_that_was_just_proposed_is_not_decoded_again() -> None:
    """After our own write the next pass begins with what is known of it."""
    planner = Planner()
    first = planner.propose(content_of(), desired_state())
    second = planner.propose(first.after.content, desired_state(None))

    assert first.after is second.before
