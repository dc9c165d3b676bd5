"""What older versions let into a document goes at the first pass of this one.

An error that left the existing plan alone would protect each of these.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.backrest.document import Document
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.planner.propose import DesiredState, Proposal, propose

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
EVIL = {"conditions": ["CONDITION_SNAPSHOT_START"], "actionCommand": {"command": "evil"}}
FLAGS = ["--password-command=evil"]
IMAGE = {
    "backrest.snapshot-start": "evil",
    "backrest.backup-flags": FLAGS[0],
    "backrest.paths.include": "host:/etc, /data",
}
SWARM = "com.docker.swarm.service.name"


def container(name: str, labels: Mapping[str, str], image: str = "") -> Container:
    """Make a labelled container with one volume."""
    mount = Mount("volume", f"/v/{name}", "/data", name)
    own = {"backrest.enable": "true", "backrest.id": name, **labels}
    return Container(name.ljust(64, "0"), name, image, own, (mount,))


def plan(name: str, **more: Any) -> dict[str, Any]:
    """Make a standing plan."""
    return {"id": f"p_{name}", "repo": "r", "paths": [f"/v/{name}"], "hooks": [EVIL], **more}


def upgrade(containers: list[Container], plans: list[dict[str, Any]], **world: Any) -> Proposal:
    """Make the first pass over such a document."""
    repos = [{"id": "r", "uri": "/r", "autoInitialize": True}]
    root = {"modno": 1, "version": 6, "instance": "i", "repos": repos, "plans": plans}
    inventory = Inventory(tuple(containers), **world)
    return propose(
        Document(json.dumps(root)), DesiredState(inventory, Policy(plan_id_prefix="p_"), NOW)
    )


@pytest.mark.parametrize("error", [{}, {"backrest.schedule": "nonsense"}], ids=["", "error"])
def test_a_document_that_holds_each_attack(error: dict[str, str]) -> None:
    """Hooks by names that are paths, and what images said, are gone; the rest stays.

    Also where an error in another label keeps the plan as it is.
    """
    name = container("task", {SWARM: "../config.json", "backrest.hooks.template": "swarm-scale"})
    brought = container("image", IMAGE, "img")
    removed = container("gone", IMAGE, "removed")
    proposal = upgrade(
        [
            container(one.name, {**one.labels, **error}, one.image_id)
            for one in (name, brought, removed)
        ],
        [
            plan("task"),
            plan("image", paths=["/etc", "/v/image"], backup_flags=FLAGS),
            plan("gone", paths=["/etc", "/v/gone"], backup_flags=FLAGS),
        ],
        image_labels={"img": IMAGE},
        missing_images=frozenset({"removed"}),
    )
    after = {found["id"]: found for found in json.loads(proposal.after.text)["plans"]}
    assert after.keys() == {"p_task", "p_image", "p_gone"}
    for found in after.values():
        assert found.keys() & {"hooks", "backup_flags"} == set()
        assert found["paths"] == [f"/v/{found['id'].removeprefix('p_')}"]
    assert proposal.changes.updated == ("p_gone", "p_image", "p_task")


def test_a_plan_by_an_image_s_id_keeps_nothing_that_the_image_runs() -> None:
    """The plan stays, for its history; its commands do not."""
    labels = {"backrest.id": "shop", **IMAGE}
    proposal = upgrade(
        [container("web", labels, "img")],
        [plan("shop", paths=["/etc", "/v/web"], backup_flags=FLAGS)],
        image_labels={"img": labels},
    )
    [found] = json.loads(proposal.after.text)["plans"]
    assert (found["id"], found["paths"]) == ("p_shop", ["/v/web"])
    assert found.keys() & {"hooks", "backup_flags"} == set()


def test_a_path_of_an_image_gives_way_where_another_is_missing() -> None:
    """A path that the labels name and nobody finds keeps a plan's paths, but not those."""
    labels = {**IMAGE, "backrest.paths.exclude": "/nowhere/x"}
    proposal = upgrade(
        [container("web", labels, "img")],
        [plan("web", paths=["/etc", "/v/web/older"])],
        image_labels={"img": IMAGE},
    )
    [found] = json.loads(proposal.after.text)["plans"]
    assert found["paths"] == ["/v/web"]


def test_a_plan_of_foreign_paths_alone_gets_those_that_are_found() -> None:
    """It cannot be left without any."""
    proposal = upgrade(
        [container("web", {**IMAGE, "backrest.schedule": "nonsense"}, "img")],
        [plan("web", paths=["/etc"])],
        image_labels={"img": IMAGE},
    )
    [found] = json.loads(proposal.after.text)["plans"]
    assert found["paths"] == ["/v/web"]
