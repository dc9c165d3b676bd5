"""The thread of the appliers: what it steps, what wakes it, and where results go."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from sidecar.docker.models import Inventory
from sidecar.labels.policy import Policy
from sidecar.planner.propose import DesiredState
from sidecar.reconciler.apply.context import ApplyEvent, GoodPass, GuardEvent, LastPass, StepResult
from sidecar.reconciler.apply.thread import ApplyThread, pass_on
from sidecar.reconciler.report import ReconcilerReport
from sidecar.reconciler.trigger import PassTrigger

GOOD = GoodPass(DesiredState(Inventory(), Policy(), datetime(2026, 1, 15, tzinfo=UTC)), 0.0)


class Sleeper:
    """A stepper that wants to sleep for long after each step."""

    def __init__(self, *events: GuardEvent) -> None:
        self.called = threading.Semaphore(0)
        self._events = events

    def step(self) -> StepResult:
        """Count the call."""
        self.called.release()
        return StepResult(3600.0, self._events)


@pytest.fixture
def trigger() -> Iterator[PassTrigger]:
    """A trigger that has had the pass of its start."""
    with PassTrigger(settle=0.0, cap=0.0) as made:
        assert made.wait() is not None
        yield made


@pytest.fixture
def report() -> ReconcilerReport:
    """A report of nothing yet."""
    return ReconcilerReport(lambda: 0.0, lambda: 0.0)


def test_the_thread_steps_is_woken_and_stops(
    report: ReconcilerReport, trigger: PassTrigger
) -> None:
    """A step that wants to sleep for long is called at once when there is a new pass."""
    last_pass, sleepers = LastPass(), [Sleeper(), Sleeper(GuardEvent("resumed"))]
    thread = ApplyThread(sleepers, last_pass, report, trigger)
    before = thread.is_alive
    thread.start()
    assert (False, True) == (before, thread.is_alive)
    assert all(sleeper.called.acquire(timeout=5) for sleeper in sleepers)
    last_pass.set(GOOD)
    assert all(sleeper.called.acquire(timeout=5) for sleeper in sleepers)
    assert thread.stop()
    assert not sleepers[0].called.acquire(blocking=False)
    assert 2 == report.snapshot().guarded


def test_a_new_pass_wakes_once() -> None:
    """It is kept for whoever waits later, and a wait without one ends all the same."""
    last_pass = LastPass()
    assert last_pass.good is None
    last_pass.set(GOOD)
    assert (True, False) == (last_pass.wait(60.0), last_pass.wait(0.0))
    assert last_pass.good is GOOD


@pytest.mark.parametrize(
    ("event", "reasons"),
    [
        (ApplyEvent("foreign-edit"), {"foreign edit"}),
        (ApplyEvent("restarted"), {"restarted"}),
        (ApplyEvent("applied"), None),
        (GuardEvent("failed"), None),
    ],
)
def test_a_pass_looks_again_where_the_document_may_have_changed(
    report: ReconcilerReport,
    trigger: PassTrigger,
    event: ApplyEvent | GuardEvent,
    reasons: set[str] | None,
) -> None:
    """After an edit by hand, and when Backrest was restarted."""
    pass_on(event, report, trigger)
    if reasons is None:
        trigger.stop()
    due = trigger.wait()
    assert reasons == (None if due is None else due.reasons)


def test_what_came_of_steps_is_reported(report: ReconcilerReport, trigger: PassTrigger) -> None:
    """Results of the applier are counted; what the guard could not do is not one of them."""
    events: list[ApplyEvent | GuardEvent] = [
        ApplyEvent("applied"),
        ApplyEvent("failed"),
        GuardEvent("failed"),
        GuardEvent("resumed"),
        ApplyEvent("refused-login"),
        ApplyEvent("drift", {"plan": "p", "key": "paths"}),
    ]
    for event in events:
        pass_on(event, report, trigger)
    found = report.snapshot()
    assert (1, 1) == (found.applies["applied"], found.applies["failed"])
    assert (1, True, 1) == (found.guarded, found.is_login_refused, found.drifts)
    pass_on(ApplyEvent("accepted-login"), report, trigger)
    assert not report.snapshot().is_login_refused
