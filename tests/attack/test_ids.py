"""Workloads that ask for the plan of another: by an id, a name, an image, or a name's hash."""

import json
from dataclasses import replace

import pytest

from sidecar.docker.models import Container, Inventory
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.planner.ids import Owner, suffixed_id
from sidecar.planner.lifecycle import PlanHistory
from sidecar.planner.propose import DesiredState, Proposal, propose
from tests.attack.crowd import NOW, POLICIES, container, document, look, plans_of

VICTIM = "backrest_sidecar_shop"
# `suffixed_id("backrest_sidecar_foo", CHOSEN)` ends with 0c0ffe: found among eight million names.
CHOSEN = "x8099450"
STANDING = "backrest_sidecar_foo_0c0ffe"
HERE = "com.docker.compose.project"


def pass_over(
    policy: str, plan: str, owner: str, *containers: Container, project: str = ""
) -> Proposal:
    """Make a pass over a document with one plan, of which the owner is remembered."""
    standing = document([{"id": plan, "repo": "store", "paths": ["/srv/victim"]}])
    history = PlanHistory(owners={plan: Owner(owner, project)}, grace=1e9)
    rules = Policy(hook_policy=HookPolicy(policy))
    return propose(standing, DesiredState(Inventory(containers), rules, NOW, history=history))


def in_project(name: str, labels: dict[str, str], project: str) -> Container:
    """Return a container of a Compose project, with data of its own."""
    made = container(name, labels, f"/srv/{name}")
    compose = {HERE: project, "com.docker.compose.service": name}
    return replace(made, labels={**made.labels, **compose})


ASKING = {
    "an-id": container("evil", {"id": "shop"}, "/srv/evil"),
    "an-id-in-other-letters": container("evil", {"id": "__SHOP//"}, "/srv/evil"),
    "a-name": container("SHOP", {}, "/srv/evil"),
    "the-data-of-the-victim": container("evil", {"id": "shop"}, "/srv/victim"),
    "older": container("evil", {"id": "shop"}, "/srv/evil", created=-9),
    "another-project": in_project("evil", {"id": "shop"}, "elsewhere"),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize("state", ["running", "exited", "unlabelled"])
def test_nobody_gets_the_plan_of_an_owner_that_is_there(name: str, policy: str, state: str) -> None:
    """Whatever state it is in, and whether or not it still has a label."""
    labels = {} if state == "unlabelled" else {"backrest.enable": "true", "backrest.id": "shop"}
    victim = replace(container("victim", {}, "/srv/victim"), labels=labels, state=state)
    proposal = pass_over(policy, VICTIM, "victim", victim, ASKING[name])

    assert ["/srv/victim"] == plans_of(proposal)["shop"]["paths"]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_name_that_was_chosen_for_its_hash_gives_nothing(policy: str) -> None:
    """Three bytes of a hash are found in a minute; the plan stays with its owner."""
    assert STANDING == suffixed_id("backrest_sidecar_foo", CHOSEN)
    victim = container("victim", {"id": "foo_0c0ffe"}, "/srv/victim")
    thief = container(CHOSEN, {"id": "foo"}, "/srv/evil")
    for others in ((), (container("a", {"id": "foo"}, "/srv/a"),)):
        proposal = pass_over(policy, STANDING, "victim", victim, thief, *others)
        assert ["/srv/victim"] == plans_of(proposal)["foo_0c0ffe"]["paths"]
        assert "plan.id-taken" in {one.reason for one in proposal.rendered.problems}
        assert "/srv/evil" not in json.dumps(plans_of(proposal))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_removed_image_claims_no_id_before_others(policy: str) -> None:
    """Its `id` may be its own: it keeps a plan that stands, and is no rival of a new one."""
    victim = in_project("db", {}, "shop")
    evil = container("evil", {"id": "shop_db"}, "/srv/evil", image_id="sha256:gone")
    proposal = look(policy, victim, evil, missing_images=frozenset({"sha256:gone"}))

    assert {"shop_db": ["/srv/db"]} == {
        name: plan["paths"] for name, plan in plans_of(proposal).items()
    }


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("is_known", [True, False])
def test_an_image_makes_its_container_no_replica(policy: str, *, is_known: bool) -> None:
    """Labels of Compose that it has speak for nobody, also once it was removed."""
    compose = {HERE: "shop", "com.docker.compose.service": "db"}
    victim = replace(
        container("shop-db-1", {}, "/srv/db"),
        labels={"backrest.enable": "true", **compose, "com.docker.compose.config-hash": "h"},
        image_id="sha256:01",
    )
    evil = container("evil", {}, "/srv/evil", image_id="sha256:01", created=9)
    evil = replace(evil, labels=compose)
    images = {"image_labels": {"sha256:01": compose}}
    gone = {"missing_images": frozenset({"sha256:01"})}
    world = images if is_known else gone
    proposal = look(policy, victim, evil, **world)
    paths = {path for plan in plans_of(proposal).values() for path in plan["paths"]}

    assert "/srv/evil" not in paths
    assert is_known == (paths == {"/srv/db"})
