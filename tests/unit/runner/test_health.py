"""Whether all is well: every reason why not, in words."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import FailureClass
from sidecar.runner.due import Job, JobKind
from sidecar.runner.health import judge
from sidecar.runner.job.upkeep import Probed
from sidecar.runner.journal import Past, RunOutcome
from sidecar.runner.loader import DocumentTrouble, Loaded
from sidecar.runner.status import PlanState, RunnerStatus, UpkeepState
from sidecar.runner.union import DocumentName, DocumentNotice, Documents, NoticeReason
from sidecar.service.health import Health, HealthAspect

NOW, DAY, HOUR = 1_780_000_000.0, 86_400.0, 3_600.0
GOOD, BROKEN = Documents(), DocumentTrouble(DocumentName.RUNNER, "it is broken")


def plan(
    *,
    first_seen: float | None = NOW - 90 * DAY,
    last_success: float | None = NOW - DAY,
    last_outcome: RunOutcome | None = RunOutcome.SUCCESS,
    **known: Any,
) -> PlanState:
    """Return a daily plan that is well, but for what is said."""
    past = None
    if first_seen is not None:
        past = Past(first_seen, last_success=last_success, last_outcome=last_outcome)
    return PlanState(plan=RunPlan("web", "store"), past=past, **{"period": DAY, **known})


def health(*plans: PlanState, **known: Any) -> Health:
    """Return what is wrong with these plans, or besides them."""
    usual = {"now": NOW, "grace": HOUR, "loaded": Loaded(GOOD)}
    return judge(RunnerStatus(plans=plans, **{**usual, **known}))


def reasons(*plans: PlanState, **known: Any) -> tuple[str, ...]:
    """Return the same in words."""
    return health(*plans, **known).sentences


def test_nothing_wrong_is_healthy() -> None:
    """Also with no plan at all."""
    assert () == reasons(plan())
    assert Health() == health()
    assert Health().is_healthy


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"is_stopping": True}, "it is stopping"),
        ({"beat_age": 400.0}, "the main loop has not moved for 6 min"),
        ({"loaded": Loaded(None, (BROKEN,))}, "there is no document that could be executed"),
        (
            {"loaded": Loaded(GOOD, (replace(BROKEN, has_good=True),))},
            "the document runner.json is broken: the last good one is executed",
        ),
        (
            {"loaded": Loaded(GOOD, (BROKEN,))},
            "the document runner.json is broken: nothing of it is executed",
        ),
    ],
)
def test_what_is_wrong_with_the_process_keeps_it_from_being_ready(
    known: dict[str, Any], words: str
) -> None:
    """The backups are another matter."""
    found = health(**known)
    assert (words,) == found.sentences == found.against(HealthAspect.READY)
    assert not found.is_healthy


def test_a_repository_that_is_refused_is_told_and_a_plan_that_moves_is_not() -> None:
    """The one stays so until somebody does something, the other passes."""
    refused = DocumentNotice(NoticeReason.TWICE, "nas", "the repository nas stands in both", "x")
    moving = DocumentNotice(NoticeReason.MOVING, "web", "the plan web stands in both")
    found = health(loaded=Loaded(Documents(notices=(refused, moving))))
    assert (refused.message,) == found.sentences
    assert (False, True) == (found.is_healthy, found.is_ready)


def test_a_plan_that_was_saved_elsewhere_for_a_while_is_not_late_when_it_is_back() -> None:
    """Its own last success is old; it counts from when it was taken over."""
    known: dict[str, Any] = {"last_success": NOW - 9 * DAY}
    assert () == reasons(plan(first_seen=NOW - DAY, **known))
    assert 1 == len(reasons(plan(first_seen=NOW - 10 * DAY, **known)))


def test_a_backup_that_the_end_of_the_runner_cut_off_is_none() -> None:
    """A machine that updates itself each night at two would never be saved, and look well."""
    known: dict[str, Any] = {"last_outcome": RunOutcome.CANCELLED}
    assert () == reasons(plan(**known))
    words = "the last run of the plan web was cut off by the end of the runner"
    assert (words,) == reasons(plan(was_cut_off=True, **known))


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"disks": {"/backups": 0.951}}, "the disk of /backups is 95% full"),
        (
            {"probes": {"store": Probed(NOW, failure=FailureClass.NETWORK)}},
            "the repository store cannot be reached (network)",
        ),
        (
            {"stopped": ("db is stopped and could not be started",)},
            "the container db is stopped and could not be started",
        ),
        (
            {"unusable": ("--notify-url 1 (ntfy) cannot be used: x",)},
            "--notify-url 1 (ntfy) cannot be used: x",
        ),
    ],
)
def test_what_is_wrong_around_the_backups_is_told(known: dict[str, Any], words: str) -> None:
    """Although every plan is well."""
    assert (words,) == reasons(plan(), **known)
    assert health(**known).is_ready


def test_a_snapshot_ahead_of_the_clock_is_told_until_it_is_gone() -> None:
    """With its id and what to do: nothing is forgotten as long as it is there."""
    words = "the plan web has 1 snapshot ahead of the clock: nothing is forgotten until"
    dates = ("2026-11-29_03-10-00", "2026-11-30_03-10-00")
    several = words.replace("1 snapshot ", "2 snapshots ")
    assert (f"{words} `restic forget 5f3a9c01`",) == reasons(plan(ahead=("5f3a9c01",)))
    assert (f"{several} `delete {' '.join(dates)} in the repository`",) == reasons(
        plan(ahead=dates)
    )


def test_a_disk_may_be_95_percent_full() -> None:
    """Beyond that there is no telling how long it lasts."""
    assert () == reasons(disks={"/backups": 0.95})


@pytest.mark.parametrize(
    ("outcome", "failure", "words"),
    [
        (RunOutcome.FAILED, "damaged", "the last check of the repository store failed (damaged)"),
        (RunOutcome.INTERRUPTED, "", "the last check of the repository store was interrupted"),
        (RunOutcome.CANCELLED, "", "the last check of the repository store was cancelled"),
    ],
)
def test_a_check_that_failed_or_was_cut_off_is_told_until_one_succeeds(
    outcome: RunOutcome, failure: str, words: str
) -> None:
    """However good the backups are."""
    check = Job(JobKind.CHECK, "store", "store")
    one = UpkeepState(Past(NOW, last_outcome=outcome), failure)
    assert (words,) == reasons(plan(), upkeep={check: one})
    for good in (RunOutcome.SUCCESS, RunOutcome.WARNING, None):
        assert () == reasons(plan(), upkeep={check: UpkeepState(Past(NOW, last_outcome=good))})


def test_a_failure_stays_until_a_success() -> None:
    """With its class, where there is one."""
    assert ("the last run of the plan web failed (wrong-password)",) == reasons(
        plan(last_outcome=RunOutcome.FAILED, failure="wrong-password")
    )
    assert ("the last run of the plan web was interrupted",) == reasons(
        plan(last_outcome=RunOutcome.INTERRUPTED)
    )
    for outcome in (
        RunOutcome.SUCCESS,
        RunOutcome.WARNING,
        RunOutcome.SKIPPED,
        RunOutcome.CANCELLED,
        None,
    ):
        assert () == reasons(plan(last_outcome=outcome))


@pytest.mark.parametrize("period", [HOUR, DAY, 7 * DAY, 31 * DAY])
def test_a_success_may_be_twice_the_period_old_and_a_little_more(period: float) -> None:
    """The period is that of the plan's own schedule."""
    late = 2 * period + HOUR
    assert () == reasons(plan(period=period, last_success=NOW - late))
    (words,) = reasons(plan(period=period, last_success=NOW - late - 1))
    assert words.startswith("the plan web was saved ")
    assert "more than twice its period" in words


def test_a_plan_without_a_success_counts_from_when_it_was_first_seen() -> None:
    """A new one is well until then."""
    assert () == reasons(plan(last_success=None, first_seen=NOW - 2 * DAY))
    (words,) = reasons(plan(last_success=None, first_seen=NOW - 3 * DAY))
    assert words == "the plan web was never saved in 3 d, more than twice its period of 1 d"


def test_a_plan_without_a_schedule_is_never_late() -> None:
    """Nor is one that nobody has seen yet; a failure of theirs counts."""
    assert () == reasons(plan(period=None, last_success=None))
    assert () == reasons(plan(first_seen=None, last_success=None))
    assert 1 == len(reasons(plan(period=None, last_outcome=RunOutcome.FAILED)))


def test_a_plan_that_cannot_be_run_is_told() -> None:
    """Long before it is late."""
    assert ("the plan web is not run: a hook cannot be used",) == reasons(
        plan(blocked="a hook cannot be used")
    )
