"""Plans over time: orphans, plans switched off, returns, and too many orphans at once."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.backrest.document import Document
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.planner.lifecycle import Ageing, Orphans, PlanHistory
from sidecar.planner.propose import DesiredState, Proposal, propose

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
LONG_AGO = NOW.timestamp() - 8 * 86400
JUST_NOW = NOW.timestamp() - 60
WEEK = 7 * 86400.0
DISABLED = {"disabled": True}
NIGHTLY = {"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"}


def plan_of(name: str, **fields: Any) -> dict[str, Any]:
    """Make a standing plan of ours."""
    plan = {
        "id": f"backrest_sidecar_{name}",
        "repo": "r1",
        "paths": [f"/data/{name}"],
        "schedule": NIGHTLY,
        "retention": {"policyKeepLastN": 3},
        "note": "kept",
    }
    return plan | fields


def document_of(*plans: dict[str, Any]) -> Document:
    """Make a document with one repository and these plans."""
    repo = {"id": "r1", "uri": "/r1", "password": "-", "autoInitialize": True}
    root = {"modno": 1, "version": 6, "instance": "here", "repos": [repo], "plans": list(plans)}
    return Document(json.dumps(root | {"auth": {"disabled": True}}, indent=2))


def container_of(name: str, **labels: str) -> Container:
    """Make a labelled container whose data lie where the plan of that name has them."""
    own = {f"backrest.{key}": value for key, value in ({"enable": "true"} | labels).items()}
    mount = Mount("bind", f"/data/{name}", "/data")
    return Container(f"{name:0>64}", name, labels=own, mounts=(mount,))


def run(
    document: Document, containers: tuple[Container, ...] = (), history: PlanHistory | None = None
) -> Proposal:
    """Make one pass."""
    history = history or PlanHistory(grace=WEEK)
    return propose(document, DesiredState(Inventory(containers), Policy(), NOW, history=history))


def ageing_of(proposal: Proposal) -> Ageing:
    """Return what time did in a pass that follows plans."""
    assert proposal.ageing is not None
    return proposal.ageing


def schedules(proposal: Proposal) -> Mapping[str, Any]:
    """Return the schedules after a pass, by the plan's short name."""
    plans = json.loads(proposal.after.text)["plans"]
    return {plan["id"].removeprefix("backrest_sidecar_"): plan.get("schedule") for plan in plans}


ID = "backrest_sidecar_web"


def test_an_orphan_is_told_at_once_and_left_alone_during_its_grace() -> None:
    """The first pass remembers since when, a later one within the grace changes nothing."""
    document = document_of(plan_of("web"))
    first = run(document)
    later = run(document, history=PlanHistory(orphans={ID: JUST_NOW}, grace=WEEK))

    assert (ID,) == first.changes.orphaned
    assert {ID: NOW.timestamp()} == ageing_of(first).orphans
    assert {ID: JUST_NOW} == ageing_of(later).orphans
    assert document is first.after
    assert document is later.after


def test_after_the_grace_an_orphan_is_disabled_and_keeps_all_else() -> None:
    """Only its schedule changes, and what it was is remembered."""
    proposal = run(
        document_of(plan_of("web")), history=PlanHistory(orphans={ID: LONG_AGO}, grace=WEEK)
    )

    (plan,) = json.loads(proposal.after.text)["plans"]
    assert plan_of("web", schedule=DISABLED) == plan
    assert {ID: NIGHTLY} == ageing_of(proposal).disabled


def test_a_disabled_orphan_is_disabled_once() -> None:
    """Whoever enables it again by hand is not fought."""
    history = PlanHistory(orphans={ID: LONG_AGO}, disabled={ID: NIGHTLY}, grace=WEEK)
    document = document_of(plan_of("web", schedule={"maxFrequencyDays": 2}))

    assert document is run(document, history=history).after


@pytest.mark.parametrize("schedule", [NIGHTLY, {"maxFrequencyDays": 3}, None])
def test_a_returning_workload_gets_its_schedule_back(schedule: Any) -> None:
    """As it was when the plan was disabled, also when there was none."""
    history = PlanHistory(orphans={ID: LONG_AGO}, disabled={ID: schedule}, grace=WEEK)
    document = document_of(plan_of("web", schedule=DISABLED))
    proposal = run(document, (container_of("web"),), history)

    assert {"web": schedule} == schedules(proposal)
    assert ({}, {}) == (ageing_of(proposal).orphans, ageing_of(proposal).disabled)
    assert (ID,) == proposal.changes.updated
    assert () == proposal.changes.unchanged


def test_a_returning_workload_whose_label_speaks_has_the_label_s_schedule() -> None:
    """The label beats what is remembered."""
    history = PlanHistory(disabled={ID: NIGHTLY}, grace=WEEK)
    document = document_of(plan_of("web", schedule=DISABLED))
    proposal = run(document, (container_of("web", schedule="@daily"),), history)

    assert {"web": {"cron": "0 0 * * *", "clock": "CLOCK_LOCAL"}} == schedules(proposal)


def test_a_schedule_that_was_set_meanwhile_is_the_user_s() -> None:
    """What is not disabled any more needs no enabling."""
    history = PlanHistory(disabled={ID: NIGHTLY}, grace=WEEK)
    document = document_of(plan_of("web", schedule={"maxFrequencyDays": 2}))
    proposal = run(document, (container_of("web"),), history)

    assert {"web": {"maxFrequencyDays": 2}} == schedules(proposal)
    assert {} == ageing_of(proposal).disabled


def test_a_returning_plan_is_enabled_again_where_an_old_copy_is_saved_over_it() -> None:
    """For a day, because the runner may not have read it yet; then it is the user's."""
    returned = run(
        document_of(plan_of("web", schedule=DISABLED)),
        (container_of("web"),),
        PlanHistory(disabled={ID: NIGHTLY}, grace=WEEK),
    )
    enabling = ageing_of(returned).enabling
    stale = document_of(plan_of("web", schedule=DISABLED))
    again = run(stale, (container_of("web"),), PlanHistory(enabling=enabling, grace=WEEK))
    old = {ID: (NIGHTLY, NOW.timestamp() - 2 * 86_400)}
    later = run(stale, (container_of("web"),), PlanHistory(enabling=old, grace=WEEK))

    assert {ID: (NIGHTLY, NOW.timestamp())} == enabling == ageing_of(again).enabling
    assert {"web": NIGHTLY} == schedules(again)
    assert {"web": DISABLED} == schedules(later)
    assert {} == ageing_of(later).enabling


def test_a_label_that_switches_off_is_not_insisted_against() -> None:
    """`schedule: off` is the label's own word."""
    history = PlanHistory(
        disabled={ID: NIGHTLY}, enabling={ID: (NIGHTLY, NOW.timestamp())}, grace=WEEK
    )
    document = document_of(plan_of("web", schedule=DISABLED))
    proposal = run(document, (container_of("web", schedule="off"),), history)

    assert {"web": DISABLED} == schedules(proposal)
    assert ({}, {}) == (ageing_of(proposal).enabling, ageing_of(proposal).disabled)


def test_enable_false_is_put_back_like_any_label() -> None:
    """Also when an old copy of the plan was saved over it."""
    history = PlanHistory(disabled={ID: NIGHTLY}, grace=WEEK)
    proposal = run(document_of(plan_of("web")), (container_of("web", enable="false"),), history)

    assert {"web": DISABLED} == schedules(proposal)
    assert {ID: NIGHTLY} == ageing_of(proposal).disabled


def test_enable_false_disables_at_once() -> None:
    """The workload is there and its label says so: no grace is needed, and it is no orphan."""
    proposal = run(document_of(plan_of("web")), (container_of("web", enable="false"),))

    assert {"web": DISABLED} == schedules(proposal)
    assert {} == ageing_of(proposal).orphans
    assert {ID: NIGHTLY} == ageing_of(proposal).disabled


def test_enable_false_of_another_leaves_a_plan_that_is_claimed() -> None:
    """A disabled workload takes nothing from an enabled one of the same plan id."""
    document = document_of(plan_of("web"))
    off = container_of("other", enable="false", id="web")
    proposal = run(document, (container_of("web"), off))

    assert {"web": NIGHTLY} == schedules(proposal)


@pytest.mark.parametrize(
    ("action", "left"),
    [(Orphans.KEEP, {"web": NIGHTLY, "db": NIGHTLY}), (Orphans.REMOVE, {"db": NIGHTLY})],
)
def test_orphans_are_kept_or_removed_where_that_is_wanted(
    action: Orphans, left: dict[str, Any]
) -> None:
    """Removing takes the plan out of the document; snapshots are not the document's."""
    history = PlanHistory(orphans={ID: LONG_AGO}, action=action, grace=WEEK)
    proposal = run(document_of(plan_of("web"), plan_of("db")), (container_of("db"),), history)

    assert left == schedules(proposal)
    assert ("web" in left) == (ID in ageing_of(proposal).orphans)


def lost(*names: str) -> dict[str, float]:
    """Say that these plans are orphans for long."""
    return {f"backrest_sidecar_{name}": LONG_AGO for name in names}


@pytest.mark.parametrize(
    ("plans", "there", "held"),
    [
        ("a", "", False),
        ("ab", "", True),
        ("ab", "a", False),
        ("abc", "a", False),
        ("abcd", "ab", False),
        ("abcd", "a", True),
    ],
)
def test_suspiciously_many_orphans_are_left_alone(plans: str, there: str, held: bool) -> None:
    """All of at least two, or more than half of at least four."""
    gone = [name for name in plans if name not in there]
    containers = tuple(container_of(name) for name in there)
    history = PlanHistory(orphans=lost(*gone), grace=WEEK)
    proposal = run(document_of(*map(plan_of, plans)), containers, history)

    assert held == bool(ageing_of(proposal).held)
    assert [NIGHTLY if held else DISABLED] * len(gone) == [schedules(proposal)[n] for n in gone]


def test_accepted_orphans_are_acted_upon_also_later() -> None:
    """Who accepts need not do so again when the grace ends."""
    document = document_of(plan_of("a"), plan_of("b"))
    history = PlanHistory(
        orphans=dict.fromkeys(lost("a", "b"), JUST_NOW), grace=WEEK, accepting=True
    )
    first = run(document, history=history)
    accepted = ageing_of(first).accepted
    later = run(
        document, history=PlanHistory(orphans=lost("a", "b"), accepted=accepted, grace=WEEK)
    )

    assert document is first.after
    assert {"a": DISABLED, "b": DISABLED} == schedules(later)


def test_acceptance_ends_when_the_workload_returns() -> None:
    """The next time it is one of many it counts again."""
    history = PlanHistory(accepted=frozenset(lost("a")), grace=WEEK)
    proposal = run(document_of(plan_of("a")), (container_of("a"),), history)

    assert frozenset() == ageing_of(proposal).accepted


def test_orphans_that_pile_up_are_held_until_they_are_accepted() -> None:
    """Also where they went one by one: what was disabled before still counts as lost."""
    disabled = dict.fromkeys(lost("a", "b"), NIGHTLY)
    names = [plan_of(n, schedule=DISABLED) for n in "ab"] + [plan_of("c"), plan_of("d")]
    history = PlanHistory(orphans=lost("a", "b", "c"), disabled=disabled, grace=WEEK)
    held = run(document_of(*names), (container_of("d"),), history)
    accepted = replace(history, accepted=frozenset(lost("a", "b")))
    after = run(document_of(*names), (container_of("d"),), accepted)

    assert NIGHTLY == schedules(held)["c"]
    assert tuple(lost("c")) == ageing_of(held).held
    assert DISABLED == schedules(after)["c"]


def test_a_clock_that_was_wrong_shortens_no_grace() -> None:
    """A time before there was this program, or after now, begins anew."""
    history = PlanHistory(orphans={ID: 12.0}, grace=WEEK)
    ahead = PlanHistory(orphans={ID: NOW.timestamp() + WEEK}, grace=WEEK)
    document = document_of(plan_of("web"))

    assert {ID: NOW.timestamp()} == ageing_of(run(document, history=history)).orphans
    assert {ID: NOW.timestamp()} == ageing_of(run(document, history=ahead)).orphans


def test_plans_of_others_are_nobody_s_orphans() -> None:
    """Only our prefix counts."""
    document = document_of(plan_of("web", id="by-hand"))
    proposal = run(document, history=PlanHistory(grace=0.0))

    assert Ageing() == ageing_of(proposal)


def test_a_returning_workload_may_ask_for_something_else_too() -> None:
    """What its labels say and the schedule that it gets back are one edit of one plan."""
    history = PlanHistory(disabled={ID: NIGHTLY}, grace=WEEK)
    document = document_of(plan_of("web", schedule=DISABLED))
    proposal = run(document, (container_of("web", **{"paths.exclude": "*.log"}),), history)

    assert {"web": NIGHTLY} == schedules(proposal)
    assert ["*.log"] == json.loads(proposal.after.text)["plans"][0]["excludes"]
    assert (ID,) == proposal.changes.updated
