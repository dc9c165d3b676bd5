"""What a repository was seen to hold: believed for ten minutes, and only of the same one."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sidecar.backrest.reading import Repo
from sidecar.engines.base import EngineError, FailureClass, Snapshot
from sidecar.engines.restic import RecentSnapshots

REPO = Repo("store", "/repo")
HELD = (Snapshot("a" * 64, datetime(2026, 1, 1, tzinfo=UTC), ("/data",)),)


class Clock:
    """Seconds that a test lets pass."""

    now = 5.0

    def __call__(self) -> float:
        """Return them."""
        return self.now


def test_an_answer_is_believed_for_ten_minutes() -> None:
    """Counted from the question: what was made while it was answered may be missing."""
    clock = Clock()
    recent = RecentSnapshots(clock, clock)

    def ask() -> tuple[Snapshot, ...]:
        clock.now += 100.0
        return HELD

    assert recent.last(REPO) is None
    assert HELD == recent.keep(REPO, ask)
    clock.now = 605.0
    assert HELD == recent.last(REPO)
    clock.now = 605.5
    assert recent.last(REPO) is None


def test_another_repository_of_the_same_name_is_asked_itself() -> None:
    """Somebody has changed the document."""
    recent = RecentSnapshots(Clock())
    recent.keep(REPO, lambda: HELD)

    assert recent.last(replace(REPO, uri="/other")) is None
    assert HELD == recent.last(replace(REPO))
    recent.drop(REPO)
    assert recent.last(REPO) is None


def test_a_question_without_an_answer_leaves_what_was_known() -> None:
    """It may still be believed."""
    recent = RecentSnapshots(Clock())
    recent.keep(REPO, lambda: HELD)

    def fail() -> tuple[Snapshot, ...]:
        raise EngineError(FailureClass.NETWORK, "away")

    with pytest.raises(EngineError):
        recent.keep(REPO, fail)
    assert HELD == recent.last(REPO)


def test_a_plan_that_was_saved_since_may_have_a_newer_snapshot() -> None:
    """That of its own run; for all others the answer serves."""
    recent = RecentSnapshots(Clock())
    recent.note_saved(REPO, "web")
    recent.keep(REPO, lambda: HELD)
    recent.note_saved(REPO, "web")

    assert recent.last(REPO, "web") is None
    assert (HELD, HELD) == (recent.last(REPO), recent.last(REPO, "mail"))
    recent.keep(REPO, lambda: HELD)
    assert HELD == recent.last(REPO, "web")


@pytest.mark.parametrize(("seconds", "is_believed"), [(59.0, True), (61.0, False), (-61.0, False)])
def test_a_clock_that_was_set_makes_it_ask_again(seconds: float, is_believed: bool) -> None:
    """What was saved under the wrong time may be from the future now."""
    clock, wall = Clock(), Clock()
    recent = RecentSnapshots(clock, wall)
    recent.keep(REPO, lambda: HELD)
    clock.now += 100.0
    wall.now += 100.0 + seconds

    assert (HELD if is_believed else None) == recent.last(REPO)
