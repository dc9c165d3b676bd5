"""Programs that may hold locks: recorded, and known to have ended once nobody holds the file."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.engines.base import LockHolder
from sidecar.engines.locking import Host
from sidecar.lib.process import Child
from sidecar.runner.journal import Journal
from sidecar.runner.journal.journal import MOST_HOLDERS
from sidecar.runner.lock_records import FILE, JournalLockRecords

FIRST = Host("first", lambda: 100.0, boot="boot", namespace="pid:[1]")
SECOND = Host("second", lambda: 200.0, boot="boot", namespace="pid:[2]")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return an empty journal."""
    with Journal(tmp_path / "state" / "journal.sqlite") as opened:
        yield opened


def test_a_program_counts_as_over_when_its_runner_is_gone(journal: Journal) -> None:
    """Each repository has its own."""
    with JournalLockRecords(journal, FIRST) as records:
        records.note("nas", Child(9, 12345))
        records.note("disk", Child(10, 12346))
        alive = records.holders("nas")
    with JournalLockRecords(journal, SECOND) as records:
        records.note("nas", Child(9, 54321))
        later = records.holders("nas")

    holder = LockHolder("first", 9, "boot", "pid:[1]", 100.0)
    second = LockHolder("second", 9, "boot", "pid:[2]", 200.0)
    assert (holder,) == alive
    assert (LockHolder("first", 9, "boot", "pid:[1]", 100.0, over=200.0), second) == later


def test_nothing_is_over_as_long_as_a_program_lives(journal: Journal) -> None:
    """It holds what it has inherited, although its runner is gone."""
    records = JournalLockRecords(journal, FIRST)
    records.note("nas", Child(9, 12345))
    inherited = os.dup(records.inherited[0])
    records.close()
    with JournalLockRecords(journal, SECOND) as later:
        before = [one.over for one in later.holders("nas")]
    os.close(inherited)
    with JournalLockRecords(journal, SECOND) as later:
        after = [one.over for one in later.holders("nas")]

    assert ([None], [200.0]) == (before, after)


def test_only_the_newest_are_kept(journal: Journal) -> None:
    """Each run adds some, for years."""
    with JournalLockRecords(journal, FIRST) as records:
        for pid in range(1, MOST_HOLDERS + 11):
            records.note("nas", Child(pid, 1))
        records.note("disk", Child(1, 1))

        assert list(range(11, MOST_HOLDERS + 11)) == [one.pid for one in records.holders("nas")]
        assert 1 == len(records.holders("disk"))


def test_nothing_is_recorded_where_the_file_cannot_be_opened(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody could tell by it that a program still lives; what runs goes on."""
    (journal.path.parent / FILE).mkdir()
    with JournalLockRecords(journal, FIRST) as records:
        records.note("nas", Child(9, 12345))

        assert ((), ()) == (records.inherited, records.holders("nas"))
    assert ["journal.not-written"] == [record.message for record in caplog.records]


def test_a_journal_out_of_reach_knows_of_nothing(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """The lock is then left to the rules of the program."""
    with JournalLockRecords(journal, FIRST) as records:
        records.note("nas", Child(9, 12345))
        journal.close()

        assert () == records.holders("nas")
    with JournalLockRecords(journal, SECOND):
        assert ["journal.unreadable"] * 2 == [record.message for record in caplog.records]
