"""Plan ids: what the golden cases cannot name."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b

import pytest

from sidecar.backrest.document import Document
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.planner.ids import PREFIX, Owner, sanitize, suffixed_id
from sidecar.planner.lifecycle import PlanHistory
from sidecar.planner.propose import DesiredState, Proposal, propose

POLICY = Policy(plan_id_prefix="p_")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ab-1", "ab_1"),
        ("__a__b__", "a__b"),
        ("İ", "i"),
        ("-._", ""),
        ("", ""),
        ("ＡＢ", ""),
        ("x\ny", "x_y"),
    ],
)
def test_sanitize(text: str, expected: str) -> None:
    """Lower case, one `_` for each other character, none at either end."""
    assert sanitize(text) == expected


def test_the_suffix_is_the_beginning_of_the_key_s_hash() -> None:
    """Six hex digits of BLAKE2b with 512 bits, unkeyed, over the UTF-8 of the natural key."""
    expected = blake2b("demo/wéb".encode(), digest_size=64).hexdigest()[:6]
    assert suffixed_id("p_demo_web", "demo/wéb") == f"p_demo_web_{expected}"


@pytest.mark.parametrize(
    ("prefix", "valid"),
    [
        ("a_", True),
        ("backrest_sidecar_", True),
        ("0__", True),
        ("a", False),
        ("_a_", False),
        ("A_", False),
        ("a-_", False),
        ("_", False),
        ("", False),
        ("ä_", False),
        ("a_\n", False),
    ],
)
def test_prefixes(prefix: str, valid: bool) -> None:
    """A prefix begins with a letter or digit, ends with `_` and has lower case only."""
    assert bool(PREFIX.fullmatch(prefix)) == valid


def container(name: str, created: int = 0, **labels: str) -> Container:
    """Make a labelled container with a volume of its own."""
    own = {"backrest.enable": "true", **{f"backrest.{key}": text for key, text in labels.items()}}
    mount = Mount("volume", f"/volumes/{name}", "/data", name)
    return Container(name.ljust(64, "0"), name, labels=own, mounts=(mount,), created=created)


def run(
    containers: tuple[Container, ...], history: PlanHistory, *plans: str, policy: Policy = POLICY
) -> Proposal:
    """Make a pass over a document with these plans."""
    listed = [
        {"id": f"p_{name}", "repo": "r", "paths": ["/older"], "retention": {"policyKeepAll": True}}
        for name in plans
    ]
    repos = [{"id": "r", "uri": "/r", "autoInitialize": True}]
    root = {"modno": 1, "version": 6, "instance": "i", "repos": repos, "plans": listed}
    now = datetime(2026, 1, 15, 12, tzinfo=UTC)
    return propose(
        Document(json.dumps(root)),
        DesiredState(Inventory(containers), policy, now, history=history),
    )


def outcome(proposal: Proposal) -> tuple[dict[str, str], list[str]]:
    """Whose each written plan is, and the reasons of all problems."""
    owners = proposal.ageing.owners if proposal.ageing else {}
    plans = {plan.id: owners[plan.id].key for plan in proposal.rendered.plans}
    return plans, sorted(problem.reason for problem in proposal.rendered.problems)


def test_owners_are_remembered_from_the_first_pass_on() -> None:
    """Those of new plans too; of plans that are gone nobody is."""
    first = run((container("a"), container("b", id="shop")), PlanHistory(), "shop")
    assert first.ageing is not None
    assert first.ageing.owners == {"p_a": Owner("a"), "p_shop": Owner("b")}
    later = run((), PlanHistory(owners=first.ageing.owners, grace=1e9), "shop")
    assert later.ageing is not None
    assert later.ageing.owners == {"p_shop": Owner("b")}


def test_a_plan_is_handed_over_by_hand() -> None:
    """The thief gets it where the operator says so, and is its owner from then on."""
    owners = {"p_shop": Owner("a")}
    world = (container("a", id="mine"), container("thief", id="shop"))
    refused = run(world, PlanHistory(owners=owners, grace=1e9), "shop")
    assert outcome(refused) == ({"p_mine": "a"}, ["plan.id-taken"])
    assert refused.ageing is not None
    assert refused.ageing.owners["p_shop"] == Owner("a")
    handed = PlanHistory(owners=owners, take_over=frozenset({"p_shop"}), grace=1e9)
    assert outcome(run(world, handed, "shop")) == ({"p_mine": "a", "p_shop": "thief"}, [])


def test_a_rolling_deploy_keeps_its_plan() -> None:
    """Beside the old container, after it, and where nobody saw the two together."""
    old = container("web-1", 1, id="app")
    new = replace(container("web-2", 2, id="app"), mounts=old.mounts)
    history = PlanHistory(owners={"p_app": Owner("web-1")}, grace=1e9)
    both = run((old, new), history, "app")
    assert outcome(both) == ({"p_app": "web-2"}, [])
    assert outcome(run((new,), history, "app")) == ({"p_app": "web-2"}, ["plan.taken-over"])
    assert both.ageing is not None
    after = PlanHistory(owners=both.ageing.owners, grace=1e9)
    assert outcome(run((new,), after, "app")) == ({"p_app": "web-2"}, [])


def test_what_a_backup_has_stopped_still_speaks() -> None:
    """The running successor of a container, stopped by its own hook, is not an old one."""
    old = replace(container("web-1", 1, id="app", schedule="0 1 * * *"), state="exited")
    new = container("web-2", 2, id="app", schedule="0 2 * * *")
    new = replace(new, mounts=old.mounts, state="exited")
    third = container("web-3", 3, id="app", schedule="0 3 * * *")
    third = replace(third, mounts=old.mounts, state="created")
    stopped = PlanHistory(stopped=frozenset({new.id}))
    [plan] = run((old, new, third), stopped, policy=POLICY).rendered.plans
    assert plan.to_json()["schedule"]["cron"] == "0 2 * * *"


def test_of_several_who_could_have_made_it_the_oldest_has_the_plan() -> None:
    """Where the state was lost, and none shares a path with it."""
    world = (container("a", 9, id="shop"), container("b", 3, id="shop"))
    plans, _ = outcome(run(world, PlanHistory(), "shop"))
    assert plans["p_shop"] == "b"
    assert plans.keys() - {"p_shop"} == {suffixed_id("p_shop", "a")}


def test_strangers_keep_the_suffixed_plans_that_they_have() -> None:
    """Only the plan that is another's is refused."""
    held = suffixed_id("p_shop", "thief")
    world = (container("a", id="mine"), container("thief", id="shop"))
    history = PlanHistory(owners={"p_shop": Owner("a")}, grace=1e9)
    proposal = run(world, history, "shop", held.removeprefix("p_"))
    assert outcome(proposal) == ({"p_mine": "a", held: "thief"}, [])


def test_rivals_that_all_have_suffixed_plans_keep_them() -> None:
    """Then nobody has the plain id, and the hint names none who would."""
    held = {suffixed_id("p_shop", name): name for name in ("a", "b")}
    world = (container("a", id="shop"), container("b", id="shop"))
    proposal = run(world, PlanHistory(), *(plan_id.removeprefix("p_") for plan_id in held))
    assert outcome(proposal) == (held, ["plan.id-collision"] * 2)
