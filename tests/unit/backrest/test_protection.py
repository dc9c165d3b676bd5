"""Whether everything is backed up: each thing that may be wrong, and what nobody can know."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.backrest.protection import (
    KnownRuns,
    PlanFacts,
    Protection,
    ProtectionState,
    assess,
    is_late,
    merged_runs,
)
from sidecar.backrest.workloads import MountRecord, ProblemRecord, WorkloadRecord

NOW, HOUR, DAY = 1_800_000_000.0, 3600.0, 86_400.0
SAVED = KnownRuns(last_success=NOW - 3 * HOUR, files=10, size=1000)
GOOD = PlanFacts(plan="p_db", repository="store", document="config.json", period=DAY, runs=SAVED)
DB = WorkloadRecord(
    "media/db", "db", "media", plan="p_db", mounts=(MountRecord("/data", plan="p"),)
)
REDIS = WorkloadRecord("media/redis", "redis", "media", mounts=(MountRecord("/data", why="so"),))


def answer(*workloads: WorkloadRecord, **plans: PlanFacts) -> Protection:
    """The answer about these workloads and plans, with an hour's grace."""
    return assess(workloads, plans, HOUR, NOW)


def state(facts: PlanFacts | None = GOOD, workload: WorkloadRecord = DB) -> ProtectionState:
    """The state of the one workload with this plan."""
    plans = {} if facts is None else {facts.plan: facts}
    (service,) = assess([workload], plans, HOUR, NOW).services
    return service.judged.state


def runs(**changed: Any) -> PlanFacts:
    """A good plan whose runs differ so."""
    return replace(GOOD, runs=replace(SAVED, **changed))


def test_a_service_that_was_saved_in_time_is_protected() -> None:
    """Its success is no older than its own period allows."""
    found = answer(DB, p_db=GOOD)
    assert (1, 1, NOW - 3 * HOUR) == (found.protected, len(found.counted), found.newest)
    assert found.is_everything
    assert found.is_known


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (runs(), ProtectionState.PROTECTED),
        (runs(last_success=NOW - 2 * DAY - HOUR), ProtectionState.PROTECTED),
        (runs(last_success=NOW - 2 * DAY - HOUR - 1), ProtectionState.LATE),
        (runs(last_success=NOW + DAY), ProtectionState.PROTECTED),
        (runs(last_success=NOW + DAY + 1), ProtectionState.UNKNOWN),
        (replace(runs(last_success=NOW - 3 * DAY), period=7 * DAY), ProtectionState.PROTECTED),
        (runs(last_success=None), ProtectionState.NEVER_SAVED),
        (runs(files=0), ProtectionState.EMPTY),
        (runs(files=None), ProtectionState.UNKNOWN),
        (replace(GOOD, runs=None), ProtectionState.UNKNOWN),
        (replace(GOOD, doubt="failed"), ProtectionState.DOUBTFUL),
        (replace(runs(last_success=None), doubt="failed"), ProtectionState.NEVER_SAVED),
        (replace(GOOD, period=None), ProtectionState.NOT_SCHEDULED),
        (replace(GOOD, blocked="its repository is gone"), ProtectionState.BLOCKED),
        (None, ProtectionState.NO_PLAN),
    ],
)
def test_each_thing_that_is_wrong_has_its_word(
    facts: PlanFacts | None, expected: ProtectionState
) -> None:
    """And whatever is not known is not good."""
    assert expected is state(facts)
    assert (expected is ProtectionState.PROTECTED) is answer(
        DB, **({} if facts is None else {"p_db": facts})
    ).is_everything


def test_the_newest_is_none_that_a_wrong_clock_has_noted() -> None:
    """Else it would be the newest for as long as that clock was ahead."""
    other = replace(GOOD, plan="ahead", runs=replace(SAVED, last_success=NOW + 300 * DAY))
    assert NOW - 3 * HOUR == answer(DB, p_db=GOOD, ahead=other).newest


def test_late_is_what_health_calls_late() -> None:
    """Twice the period and the grace are allowed."""
    assert not is_late(NOW - 2 * DAY - HOUR, DAY, HOUR, NOW)
    assert is_late(NOW - 2 * DAY - HOUR - 1, DAY, HOUR, NOW)


def test_a_problem_that_blocks_is_worse_than_a_good_run() -> None:
    """What the labels ask for is not what is saved."""
    problem = ProblemRecord("schedule.invalid", "error", "no schedule", "write daily")
    found = answer(replace(DB, problems=(problem,)), p_db=GOOD)
    judged = found.services[0].judged
    assert (ProtectionState.BLOCKED, "schedule.invalid: no schedule", "write daily") == (
        judged.state,
        judged.why,
        judged.hint,
    )
    warned = replace(problem, severity="degraded")
    assert ProtectionState.PROTECTED is state(workload=replace(DB, problems=(warned,)))


def test_a_blocked_workload_without_data_is_a_service_all_the_same() -> None:
    """Somebody has asked for it to be saved."""
    problem = ProblemRecord("paths.empty", "error", "nothing is left")
    assert ProtectionState.BLOCKED is state(None, WorkloadRecord("web", "web", problems=(problem,)))


def test_a_failure_after_a_success_is_told_and_is_not_all_well() -> None:
    """It is protected still."""
    found = answer(DB, p_db=runs(failure="failed (network)"))
    assert ProtectionState.PROTECTED is found.services[0].judged.state
    assert "failed (network)" == found.services[0].failure
    assert not found.is_everything
    late = answer(DB, p_db=runs(failure="failed", last_success=None))
    assert "no run has saved it yet, and its last run failed" == late.services[0].judged.why


def test_data_mounts_in_no_plan_are_named() -> None:
    """Their service counts as one that should be protected; what labels leave out does not."""
    chosen = MountRecord("/cache", is_chosen=True)
    left_out = WorkloadRecord("media/app", "app", "media", mounts=(chosen,))
    partly = replace(DB, mounts=(*DB.mounts, MountRecord("/more"), chosen))
    found = answer(REDIS, left_out, partly, p_db=GOOD)
    assert found.unsaved is not None
    assert [("media/db", "/more", ""), ("media/redis", "/data", "so")] == [
        (one.service, one.path, one.why) for one in found.unsaved
    ]
    assert ["media/db", "media/redis"] == [one.name for one in found.services]
    assert (1, 2) == (found.protected, len(found.counted))
    assert not found.is_everything


def test_a_plan_that_is_not_written_yet_protects_nothing() -> None:
    """Nor does its name."""
    found = answer(DB)
    assert "its plan is not written yet" == found.services[0].judged.why
    assert (None, "") == (found.services[0].last_success, found.services[0].failure)


def test_plans_without_a_workload_come_last_under_their_ids() -> None:
    """Those of people by hand; one that never runs, as of a workload that is gone, is idle."""
    gone = WorkloadRecord("media/old", "old", "media", plan="p_old", is_gone=True)
    idle = replace(GOOD, plan="p_old", period=None, blocked="anything")
    found = answer(DB, gone, a_hand=replace(GOOD, plan="a_hand"), p_db=GOOD, p_old=idle)
    assert [("media/db", False), ("a_hand", True), ("p_old", True)] == [
        (one.name, one.is_plan) for one in found.services
    ]
    assert ProtectionState.IDLE is found.services[2].judged.state
    assert (2, 2) == (found.protected, len(found.counted))
    assert found.is_everything


def test_without_a_list_of_workloads_not_everything_is_known() -> None:
    """Plans are shown, and nobody can tell what is in none."""
    found = assess(None, {"p_db": GOOD}, HOUR, NOW, "no sidecar")
    assert ["p_db"] == [one.name for one in found.services]
    assert (None, "no sidecar", 1) == (found.unsaved, found.unlisted, found.protected)
    assert not found.is_known
    assert not found.is_everything


def test_nothing_at_all_is_not_everything() -> None:
    """Somebody who asks has something to lose."""
    found = answer()
    assert (None, 0) == (found.newest, found.protected)
    assert not found.is_everything


def test_of_two_programs_the_later_success_counts() -> None:
    """As where somebody has gone from Backrest to the runner."""
    old = KnownRuns(last_success=NOW - DAY, failure="failed", files=1, is_running=True)
    assert replace(SAVED, is_running=True) == merged_runs(old, SAVED)
    assert SAVED == merged_runs(None, SAVED) == merged_runs(SAVED, None)
    assert SAVED == merged_runs(KnownRuns(), SAVED)
    assert merged_runs(None, None) is None
