"""Laws of the core: order is nothing, a second pass changes nothing, nothing escapes."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.backrest.document import Document
from sidecar.docker.models import Container, Inventory, Mount, Volume
from sidecar.labels.policy import Policy
from sidecar.labels.problem import SEVERITIES
from sidecar.labels.registry import LABELS
from sidecar.labels.spec import parse_labels
from sidecar.planner.lifecycle import PlanHistory
from sidecar.planner.propose import DesiredState, Proposal, propose
from tests.property.strategies import (
    container_paths,
    documents,
    inventories,
    policies,
    runner_views,
)

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)

# Of nothing that was there before. And no orphan is ever disabled.
UNKNOWN = PlanHistory(grace=math.inf)

law = settings(max_examples=100, deadline=None)


@st.composite
def worlds(draw: st.DrawFn) -> "World":
    """Everything that a pass depends on."""
    document = Document(json.dumps(draw(documents()), indent=draw(st.sampled_from((None, 2)))))
    return World(document, draw(inventories()), draw(policies()), draw(runner_views()))


@dataclass(frozen=True)
class World:
    """One world; `run` makes a pass over it."""

    document: Document
    inventory: Inventory
    policy: Policy
    runner_mounts: tuple[Mount, ...] | None

    def run(
        self,
        document: Document | None = None,
        inventory: Inventory | None = None,
        history: PlanHistory = UNKNOWN,
    ) -> Proposal:
        """Make one pass, over this document and inventory or over others."""
        found, mounts = inventory or self.inventory, self.runner_mounts
        desired = DesiredState(found, self.policy, NOW, mounts, history=history)
        return propose(document or self.document, desired)

    def follow(
        self,
        last: Proposal,
        document: Document | None = None,
        inventory: Inventory | None = None,
    ) -> Proposal:
        """Make the pass after another: it remembers whose the plans are."""
        assert last.ageing is not None
        history = replace(UNKNOWN, owners=last.ageing.owners)
        return self.run(document or last.after, inventory, history)


@law
@given(worlds(), st.randoms(use_true_random=False))
def test_order_is_nothing(world: World, random: Any) -> None:
    """The order in which Docker lists containers and mounts changes no byte and no problem."""
    containers = [
        replace(item, mounts=tuple(random.sample(item.mounts, len(item.mounts))))
        for item in world.inventory.containers
    ]
    random.shuffle(containers)
    expected = world.run()
    turned = world.run(inventory=replace(world.inventory, containers=tuple(containers)))
    assert turned.after.text == expected.after.text
    assert Counter(turned.rendered.problems) == Counter(expected.rendered.problems)


@law
@given(worlds())
def test_second_pass_changes_nothing(world: World) -> None:
    """What a pass wrote, the next one finds as it should be."""
    last = world.run()
    again = world.follow(last)
    assert again.changes.is_empty
    assert again.after.text == last.after.text


@law
@given(worlds())
def test_stopping_containers_changes_nothing(world: World) -> None:
    """Neither states nor container ids are in a plan: our own stop and start give no diff."""
    last = world.run()
    stopped = tuple(
        replace(item, state="exited", id=f"f{item.id[1:]}") for item in world.inventory.containers
    )
    inventory = replace(world.inventory, containers=stopped)
    assert world.follow(last, inventory=inventory).changes.is_empty


@law
@given(worlds())
def test_no_problem_takes_an_owned_path_away(world: World) -> None:
    """A workload with a problem about its paths leaves its standing plan all of its paths."""
    before, proposal = world.document.view.plan_by_id, world.run()
    after = proposal.after.view.plan_by_id
    for item in proposal.rendered.workloads:
        missed = [
            p
            for p in item.problems
            if p.reason in ("path.unmapped", "path.escape", "path.invisible")
        ]
        if item.plan_id in before and missed:
            kept = after[item.plan_id].paths
            assert [path for path in before[item.plan_id].paths if not lies_below(path, kept)] == []


def lies_below(path: str, roots: Iterable[str]) -> bool:
    """Return whether a path is one of `roots` or lies below one."""
    return any(path == root or path.startswith(f"{root.rstrip('/')}/") for root in roots)


def without(plan: Mapping[str, Any] | None, keys: AbstractSet[str]) -> dict[str, Any]:
    """A plan without some keys; no plan is empty."""
    return {key: value for key, value in (plan or {}).items() if key not in keys}


@law
@given(worlds())
def test_workloads_with_errors_write_nothing(world: World) -> None:
    """An error gives no new plan and leaves the standing one, but for what policy forbids."""
    proposal = world.run()
    for item in proposal.rendered.workloads:
        if any(problem.severity == "error" for problem in item.problems):
            old, new = (
                world.document.plans.get(item.plan_id),
                proposal.after.plans.get(item.plan_id),
            )
            owners = [other.plan_id for other in proposal.rendered.workloads if other.plan]
            forbidden = any(problem.reason == "hook.forbidden" for problem in item.problems)
            may_change = {"hooks", "backup_flags"} if forbidden else set()
            assert item.plan is None
            assert item.plan_id in owners or without(old, may_change) == without(new, may_change)


@law
@given(worlds())
def test_backrest_s_rewrite_is_no_difference(world: World) -> None:
    """After Backrest has loaded and saved what we wrote, the next pass writes nothing."""
    last = world.run()
    rewritten = Document(json.dumps(as_backrest_saves(json.loads(last.after.text)), indent="\t"))
    assert world.follow(last, rewritten).changes.is_empty


def as_backrest_saves(document: dict[str, Any]) -> dict[str, Any]:
    """What Backrest makes of a document: zero values gone, repos, plans and paths sorted."""
    saved = without_zeros(
        {key: value for key, value in document.items() if not key.startswith("x-")}
    )
    for plan in saved.get("plans", []):
        plan.pop("x-unknown", None)
        plan["paths"].sort()
    for name in ("repos", "plans"):
        if name in saved:
            saved[name].sort(key=lambda item: item["id"])
    return dict(reversed(saved.items()))


def without_zeros(value: Any) -> Any:
    """Leave out what protobuf does not write; members of a choice stay, zero or not."""
    if isinstance(value, list):
        return [without_zeros(item) for item in value]
    if not isinstance(value, dict):
        return value
    zeros: tuple[Any, ...] = ("", 0, False, None, [], "ON_ERROR_IGNORE", "CLOCK_DEFAULT")
    return {
        key: without_zeros(item)
        for key, item in value.items()
        if key == "policyKeepLastN" or item not in zeros
    }


odd_text = st.text(st.characters(exclude_categories=()), max_size=40)
syntax = st.text(st.sampled_from("'\"[],=\\ \t\n/.*!${}:@0179abcTx-"), max_size=40)
label_names = st.one_of(
    odd_text,
    st.sampled_from([label.name for label in LABELS]),
    st.builds(
        "{}.{}".format, st.sampled_from([label.name for label in LABELS]), st.integers(-1, 99)
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(label_names, st.one_of(odd_text, syntax), max_size=6))
def test_any_labels_are_parsed(labels: dict[str, str]) -> None:
    """Whatever the labels are, parsing them gives a spec and problems of known reasons."""
    _, problems = parse_labels(labels, "backrest.")
    assert {problem.reason for problem in problems} <= SEVERITIES.keys()


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(label_names, st.one_of(odd_text, syntax), max_size=4), policies())
@example({"snapshot-end": "half a \ud800 pair"}, Policy())
@example({"paths.include": "/data/\udfff", "paths.exclude.0": "\udfff"}, Policy())
@example({"half a \ud800 name": ""}, Policy())
def test_any_labels_give_a_document_that_backrest_accepts(
    labels: dict[str, str], policy: Policy
) -> None:
    """No label, however odd, voids the pass: propose checks what it renders and never refuses it."""
    named = {f"backrest.{name}": value for name, value in labels.items()} | {"backrest.enable": "1"}
    mount = Mount("volume", "/v/data", "/data", "data", "local")
    others = Container("2" * 64, "other", "", {"backrest.enable": "1"}, (mount,))
    inventory = Inventory((Container("1" * 64, "web", "", named, (mount,)), others))
    repo = {"id": "r1", "uri": "/r1", "autoInitialize": True}
    document = Document(json.dumps({"version": 6, "instance": "here", "repos": [repo]}))
    proposal = propose(document, DesiredState(inventory, policy, NOW))
    assert proposal.after.text.encode()
    for problem in proposal.rendered.problems:
        f"{problem.label}{problem.message}{problem.hint}".encode()
    assert "backrest_sidecar_other" in proposal.after.plans


MOUNTS = (
    Mount("volume", "/v/data", "/data", "data", "local"),
    Mount("volume", "/v/media", "/data/media", "media", "local"),
    Mount("volume", "/v/disk", "/media", "disk", "local"),
    Mount("bind", "/srv/app", "/srv", "", ""),
    Mount("tmpfs", "", "/data/cache", "", ""),
)
DIRECTORIES = ("/v/data", "/v/media", "/mnt/disk", "/srv/app")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(container_paths(), max_size=4),
    st.lists(container_paths(), max_size=4),
    st.sampled_from(("", "!")),
    st.sampled_from(("", "/*.tmp", "/**/x")),
)
def test_no_path_escapes_its_mount(
    includes: list[str], excludes: list[str], negation: str, wildcard: str
) -> None:
    """Every path from a container path lies in the host directory of one of its mounts."""
    labels = {f"backrest.paths.include.{at}": path for at, path in enumerate(includes)}
    labels |= {
        f"backrest.paths.exclude.{at}": f"{negation}{path}{wildcard}"
        for at, path in enumerate(excludes)
    }
    container = Container("1" * 64, "web", "", {"backrest.enable": "1", **labels}, MOUNTS)
    volumes = {"disk": Volume("disk", options={"o": "bind", "device": "/mnt/disk"})}
    document = Document(
        '{"version": 6, "instance": "here", "repos": [{"id": "r", "uri": "r", "autoInitialize": true}]}'
    )
    proposal = propose(document, DesiredState(Inventory((container,), volumes), Policy(), NOW))
    for plan in proposal.rendered.plans:
        shown = [*plan.paths, *(pattern.removeprefix("!") for pattern in plan.excludes)]
        assert [path for path in shown if not lies_in_a_mount(path)] == []


def lies_in_a_mount(path: str) -> bool:
    """Return whether a path, walked step by step, stays in the directory of one of the mounts."""
    root = next((root for root in DIRECTORIES if path == root or path.startswith(f"{root}/")), None)
    depth = 0
    for segment in path.removeprefix(root or "").split("/"):
        # Two stars may stand for no directory at all.
        depth += {"": 0, ".": 0, "**": 0, "..": -1}.get(segment, 1)
        if depth < 0:
            return False
    return root is not None
