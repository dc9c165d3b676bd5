"""Which snapshot of a plan is its latest."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engines.base import Engine, EngineError, FailureClass, Snapshot
from sidecar.runner.due import Job, JobKind
from sidecar.runner.journal import JournalError
from sidecar.runner.latest import BELIEVED_AHEAD, FileLook, Latest, find_latest, is_ahead

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NOW = NOON.timestamp()
WEB = Job(JobKind.BACKUP, "web", "store")


def snapshot(name: str, hours: float = 0, files: int | None = None) -> Snapshot:
    """Make a snapshot so many hours after noon, which is now."""
    return Snapshot(name * 8, NOON + timedelta(hours=hours), ("/data",), files_processed=files)


def find(*snapshots: Snapshot) -> Latest:
    """Find the latest of snapshots that say how many files they hold."""
    look: Any = SimpleNamespace(holds_file=lambda one: bool(one.files_processed))
    return find_latest(snapshots, look, NOW)


def test_the_newest_that_holds_a_file_is_the_latest() -> None:
    """Whatever the order; what is newer and holds none is named, newest first."""
    old, full = snapshot("a", -9, 5), snapshot("b", -8, 1)
    void, last = snapshot("c", -7, 0), snapshot("d", -6, 0)

    found = find(last, old, void, full)

    assert Latest(full, (last, void)) == found
    assert "2 newer snapshots hold no file (dddddddd, cccccccc)" == found.passed_over
    assert "" == find(old, full).passed_over


def test_a_snapshot_of_the_future_is_not_the_latest() -> None:
    """A clock was ahead when it was made; by less than a day it is believed."""
    now, near, far = snapshot("a", 0, 1), snapshot("b", 23, 1), snapshot("c", 25, 1)

    assert Latest(near, (), (far,)) == find(now, near, far)
    assert "1 snapshot is ahead of the clock (cccccccc)" == find(now, far).passed_over


def test_where_none_holds_a_file_there_is_no_latest() -> None:
    """All are named, of many the first three."""
    void = [snapshot(name, -9, 0) for name in "abcde"]

    found = find(*void, snapshot("f", 999, 7))

    assert found.snapshot is None
    assert (
        "5 snapshots hold no file (aaaaaaaa, bbbbbbbb, cccccccc and 2 more); "
        "1 snapshot is ahead of the clock (ffffffff)"
    ) == found.passed_over
    assert Latest(None) == find()


def test_a_clock_without_a_year_believes_every_snapshot() -> None:
    """A machine without a battery starts in 1970 until it is told the time."""
    assert is_ahead(NOW, NOW - BELIEVED_AHEAD - 1)
    assert not is_ahead(NOW, NOW - BELIEVED_AHEAD)
    assert not is_ahead(NOW, 0.0)


SNAPSHOTS = st.lists(
    st.builds(snapshot, st.sampled_from("abcdef"), st.integers(-50, 50), st.sampled_from([0, 1, 7]))
)


@given(SNAPSHOTS)
def test_each_snapshot_is_older_or_told(snapshots: list[Snapshot]) -> None:
    """The latest holds a file, is not ahead, and nothing newer is passed over in silence."""
    found = find(*snapshots)

    told = {*found.empty, *found.ahead}
    for one in snapshots:
        assert one in told or (found.snapshot is not None and one.time <= found.snapshot.time)
    assert found.snapshot is None or found.snapshot.files_processed
    assert found.snapshot not in told


class Repository:
    """An engine that tells of each snapshot whether it holds a file, and counts the questions."""

    def __init__(self, holding: Iterable[Snapshot] = ()) -> None:
        self.holding = tuple(holding)
        self.asked: list[str] = []

    def holds_file(self, one: Snapshot) -> bool:
        """Tell."""
        self.asked.append(one.id)
        return one in self.holding

    def look(self, counts: "Counts") -> FileLook:
        """Look into it."""
        engine: Engine = self  # type: ignore[assignment]
        return FileLook(engine, counts, WEB)


class Counts:
    """A journal that knows some snapshots; None: it is out of reach."""

    def __init__(self, known: dict[str, int] | None) -> None:
        self.known = known

    def files_in(self, job: Job, name: str) -> int | None:
        """Tell."""
        assert WEB == job
        if self.known is None:
            raise JournalError("out of reach", "", FailureClass.UNKNOWN)
        return self.known.get(name)


@pytest.mark.parametrize(
    ("one", "known", "expected", "asked"),
    [
        (snapshot("a", files=0), {"a" * 8: 3}, True, 0),
        (snapshot("a", files=3), {"a" * 8: 0}, False, 0),
        (snapshot("a", files=3), {}, True, 0),
        (snapshot("a", files=0), None, False, 0),
        (snapshot("a"), {}, False, 1),
        (snapshot("a"), None, False, 1),
        (snapshot("b"), {}, True, 1),
    ],
)
def test_the_journal_tells_then_the_record_then_the_snapshot_itself(
    one: Snapshot, known: dict[str, int] | None, expected: bool, asked: int
) -> None:
    """What was counted need not be looked into."""
    repository = Repository([snapshot("b")])

    assert expected is repository.look(Counts(known)).holds_file(one)
    assert asked == len(repository.asked)


def test_after_a_hundred_looks_nobody_says_that_nothing_is_held() -> None:
    """Unknown is not empty."""
    repository = Repository()
    look = repository.look(Counts({}))
    void = [Snapshot(f"{number:08}", NOON, ()) for number in range(101)]

    with pytest.raises(EngineError, match="of 100 snapshots none holds a file"):
        find_latest(void, look, NOW)

    assert 100 == len(repository.asked)
