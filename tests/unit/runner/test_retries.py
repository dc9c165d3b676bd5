"""What is tried again, how often and when. All moments are seconds after a fire."""

from dataclasses import replace
from datetime import UTC

import pytest

from sidecar.backrest.plan import OnError
from sidecar.backrest.reading import Config, Repo, RunPlan, Timing
from sidecar.engines.base import FailureClass
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Job, JobKind, Retry, Scheduler
from sidecar.runner.journal import RunOutcome
from sidecar.runner.retries import RetryRules, TryEnd
from sidecar.runner.union import only_config

WEB = Job(JobKind.BACKUP, "web", "nas")
AWAY = TryEnd(RunOutcome.FAILED, FailureClass.NETWORK)
MINUTE = 60.0


def rules(every: int = 0) -> RetryRules:
    """Rules of a job that fires so many seconds from now; 0: never."""
    plan = RunPlan("web", "nas", ("/data",), timing=Timing(every_seconds=every))
    config = Config("here", (Repo("nas", "/nas"),), (plan,))
    return RetryRules(Scheduler(UTC), ExecutedDocument(only_config(config)))


def test_a_repository_out_of_reach_is_tried_three_times() -> None:
    """After a quarter of an hour, half an hour, an hour."""
    found: list[Retry] = []
    answers: Retry | None = Retry(0.0)
    while answers is not None:
        answers = rules().plan(WEB, answers, AWAY, 0.0)
        found += [answers] if answers else []
    expected = [15 * MINUTE, 30 * MINUTE, 60 * MINUTE]
    assert [Retry(0.0, at, number) for number, at in enumerate(expected, 1)] == found


@pytest.mark.parametrize(
    ("end", "is_tried"),
    [
        *[
            (TryEnd(RunOutcome.FAILED, failure), True)
            for failure in (
                FailureClass.LOCKED,
                FailureClass.NETWORK,
                FailureClass.RATE_LIMIT,
                FailureClass.TIMEOUT,
            )
        ],
        (TryEnd(RunOutcome.CANCELLED, FailureClass.INTERRUPTED), True),
        (TryEnd(RunOutcome.INTERRUPTED, FailureClass.INTERRUPTED), True),
        (TryEnd(RunOutcome.CANCELLED, FailureClass.HOOK), False),
        (TryEnd(RunOutcome.FAILED, FailureClass.WRONG_PASSWORD), False),
        (TryEnd(RunOutcome.FAILED, FailureClass.INTERRUPTED), False),
        (TryEnd(RunOutcome.FAILED, None), False),
        (TryEnd(RunOutcome.WARNING, FailureClass.NETWORK), False),
        (TryEnd(RunOutcome.SUCCESS, None), False),
    ],
)
def test_what_goes_by_is_tried_again(end: TryEnd, *, is_tried: bool) -> None:
    """A hook's wish, a wrong password, and what has saved something are final."""
    assert is_tried == (rules().plan(WEB, Retry(0.0), end, 0.0) is not None)


def test_the_next_fire_is_the_next_try_where_it_comes_first() -> None:
    """Then this was the last one of this fire, and its end is told."""
    assert rules(900).plan(WEB, Retry(0.0), AWAY, 0.0) is None
    assert rules(901).plan(WEB, Retry(0.0), AWAY, 0.0) == Retry(0.0, 900.0, 1)


def test_what_a_person_asked_for_is_tried_again_only_for_its_hooks() -> None:
    """Neither is it then for another reason; nor is anything where nobody is there later."""
    asked = TryEnd(RunOutcome.FAILED, FailureClass.HOOK, OnError.RETRY_1_MINUTE)
    assert rules().plan(WEB, None, AWAY, 0.0) is None
    again = rules().plan(WEB, None, asked, 5.0)
    assert again is not None
    assert (5.0, 65.0, 1) == (again.fire, again.at, again.hook_tries)
    assert rules().plan(WEB, again, AWAY, 65.0) is None
    assert RetryRules(is_possible=False).plan(WEB, Retry(0.0), AWAY, 0.0) is None
    assert RetryRules().plan(WEB, Retry(0.0), AWAY, 0.0) is not None


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        (OnError.RETRY_1_MINUTE, [60.0] * 9),
        (OnError.RETRY_10_MINUTES, [600.0] * 9),
        (OnError.RETRY_BACKOFF, [10, 20, 40, 80, 160, 320, 640, 1280, 2560]),
        (OnError.FATAL, []),
        (OnError.CANCEL, []),
    ],
)
def test_start_hooks_are_not_run_for_ever(asked: OnError, waits: list[float]) -> None:
    """Ten times; tries for the repository's sake are counted apart."""
    end = TryEnd(RunOutcome.FAILED, FailureClass.HOOK, asked)
    found = []
    answers = rules().plan(WEB, Retry(0.0, tries=2), end, 0.0)
    while answers is not None:
        found.append(answers.at)
        answers = rules().plan(WEB, replace(answers, at=None), end, 0.0)
    assert waits == found
