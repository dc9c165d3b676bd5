"""Workloads that share their natural key have one order, whatever Docker's."""

import json
from datetime import UTC, datetime

from sidecar.backrest.document import Document
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.planner.propose import DesiredState, propose
from sidecar.planner.workload import group_workloads

LONE = Container("a" * 64, "web", labels={"backrest.enable": "true"})
TASK = Container("b" * 64, "web.1.x", labels={"com.docker.swarm.service.name": "web"})
COMPOSE = {"com.docker.compose.project": "demo"}
SERVICE = Container("c" * 64, "demo-db-1", labels={**COMPOSE, "com.docker.compose.service": "db"})
MEMBER = Container(
    "d" * 64,
    "demo-app-1",
    labels={**COMPOSE, "com.docker.compose.service": "app", "backrest.group": "db"},
)


def test_equal_keys_have_an_order_of_their_own() -> None:
    """A container and a Swarm service of one name, a group and a service: the order is fixed."""
    listed = (LONE, TASK, SERVICE, MEMBER)
    one = group_workloads(Inventory(listed), Policy())
    other = group_workloads(Inventory(listed[::-1]), Policy())
    assert one == other
    assert [workload.key for workload in one] == ["demo/db", "demo/db", "web", "web"]


ATTACK = {
    "backrest.enable": "true",
    "backrest.snapshot-start": "evil",
    "backrest.exec.start": "evil",
    "backrest.backup-flags": "--password-command=evil",
    "backrest.repo": "other",
    "backrest.paths.include": "/data/x, host:/etc",
}
GONE = Container(
    "e" * 64, "web", "sha256:gone", ATTACK, (Mount("bind", "/srv/data", "/data"),), state="exited"
)


def test_nothing_that_needs_trust_is_believed_of_an_image_that_was_removed() -> None:
    """Its labels cannot be told from the user's: only its claim on a plan is left, and paths."""
    inventory = Inventory((GONE,), missing_images=frozenset({"sha256:gone"}))
    [workload] = group_workloads(inventory, Policy())
    assert workload.labels == {"enable": "true", "paths.include": '["/data/x"]'}
    assert workload.ignored.keys() == {
        "snapshot-start",
        "exec.start",
        "backup-flags",
        "repo",
        "paths.include",
    }
    [problem] = workload.problems
    assert ("label.from-image", True) == (problem.reason, problem.blocks)


def test_the_last_known_labels_of_a_removed_image_count() -> None:
    """What it did not say is the user's."""
    inventory = Inventory((GONE,), image_labels={"sha256:gone": {"backrest.repo": "other"}})
    [workload] = group_workloads(inventory, Policy())
    assert "evil" == workload.labels["snapshot-start"]
    assert workload.ignored == {"repo": "other"}


def test_a_removed_image_leaves_the_standing_plan_without_what_may_be_its_own() -> None:
    """The plan keeps its paths and schedule; its hooks, flags and foreign paths go."""
    plan = {
        "id": "backrest_sidecar_web",
        "repo": "r",
        "paths": ["/etc", "/srv/data/x"],
        "schedule": {"cron": "0 5 * * *", "clock": "CLOCK_LOCAL"},
        "backup_flags": ["--password-command=evil"],
        "hooks": [
            {
                "conditions": ["CONDITION_SNAPSHOT_START"],
                "actionCommand": {"command": "evil"},
            }
        ],
    }
    repos = [{"id": "r", "uri": "/r", "autoInitialize": True}]
    root = {"modno": 1, "version": 6, "instance": "i", "repos": repos, "plans": [plan]}
    inventory = Inventory((GONE,), missing_images=frozenset({"sha256:gone"}))
    now = datetime(2026, 1, 15, 12, tzinfo=UTC)
    proposal = propose(Document(json.dumps(root)), DesiredState(inventory, Policy(), now))
    [after] = json.loads(proposal.after.text)["plans"]
    assert after == {
        "id": "backrest_sidecar_web",
        "repo": "r",
        "paths": ["/srv/data/x"],
        "schedule": {"cron": "0 5 * * *", "clock": "CLOCK_LOCAL"},
    }
    assert proposal.changes.orphaned == ()


def test_an_image_that_was_removed_makes_no_replica() -> None:
    """Compose writes its labels into what it builds, and a removed image tells nothing of them."""
    service = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    own = {**service, "com.docker.compose.config-hash": "h"}
    db = Container("a" * 64, "shop-db-1", "sha256:gone", {"backrest.enable": "true", **own})
    by_hand = Container("b" * 64, "by-hand", "sha256:gone", service, created=9)
    inventory = Inventory((db, by_hand), missing_images=frozenset({"sha256:gone"}))
    workloads = group_workloads(inventory, Policy())
    assert {"shop/db": ("shop-db-1",), "by-hand": ("by-hand",)} == {
        workload.key: workload.names for workload in workloads
    }


def test_what_no_document_can_hold_is_no_other_value() -> None:
    """A lone surrogate in an image's label is replaced in both, and makes nothing the user's."""
    labels = {"backrest.enable": "true\ud800"}
    container = Container("a" * 64, "web", "sha256:01", labels)
    inventory = Inventory((container,), image_labels={"sha256:01": labels})
    [workload] = group_workloads(inventory, Policy())
    assert {} == workload.labels
