"""A plan of ours whose workload is gone, and what is wanted then: the smallest change there is."""

import json
from datetime import UTC, datetime

from sidecar.docker.models import Inventory
from sidecar.labels.policy import Policy
from sidecar.planner.lifecycle import PlanHistory
from sidecar.planner.propose import DesiredState

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
