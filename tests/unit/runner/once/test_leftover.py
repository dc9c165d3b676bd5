"""What a killed backup has left is ended and started again."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sidecar.lib.errors import StoreError
from sidecar.runner.journal import Journal
from sidecar.runner.once.leftover import (
    FILE,
    BackupRecord,
    read_record,
    recover_leftovers,
    write_record,
)
from tests.fakes.quiesce_docker import QuiesceDocker, held, part_of


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return a journal."""
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def names_left(journal: Journal) -> Sequence[str]:
    """Return what is still to be started."""
    return [one.name for one in journal.still_stopped()]


def test_what_is_left_is_put_right_in_the_order_in_which_it_starts(journal: Journal) -> None:
    """First the container of the image ends; one that is gone has no place in the order."""
    app, db = held("app", part_of("p", "app", "db")), held("db", part_of("p", "db"))
    docker = QuiesceDocker.of(app, db)
    for name in ("app", "db", "gone"):
        journal.stopped(f"id-{name}", name)
    write_record(journal.path.parent, BackupRecord(5.0, "shot"))
    assert () == recover_leftovers(docker, journal)
    assert ["discard shot", "start id-db", "start id-app", "start id-gone"] == docker.calls
    assert [] == names_left(journal)
    assert None is read_record(journal.path.parent)


@pytest.mark.parametrize(
    ("record", "started", "calls"),
    [
        (BackupRecord(5.0, ""), 4.0, ["stop id-a", "start id-a"]),
        (BackupRecord(5.0, ""), 6.0, ["start id-a"]),
        (BackupRecord(5.0, ""), None, ["start id-a"]),
        (None, 6.0, ["stop id-a", "start id-a"]),
    ],
)
def test_one_that_may_be_stopping_right_now_is_settled(
    journal: Journal, record: BackupRecord | None, started: float | None, calls: list[str]
) -> None:
    """It is certain only of one that does not run, or was started since."""
    docker = QuiesceDocker.of(held("a"), started={} if started is None else {"id-a": started})
    journal.stopped("id-a", "a")
    if record is not None:
        write_record(journal.path.parent, record)
    assert () == recover_leftovers(docker, journal)
    assert calls == docker.calls


def test_what_cannot_be_started_is_told_and_stays_to_be_done(journal: Journal) -> None:
    """When the backup began is still needed then."""
    docker = QuiesceDocker.of(held("a"), failures={"start id-a": ["no port"]})
    journal.stopped("id-a", "a")
    write_record(journal.path.parent, BackupRecord(5.0, ""))
    (reason,) = recover_leftovers(docker, journal)
    assert "no port" in reason
    assert (["a"], BackupRecord(5.0, "")) == (names_left(journal), read_record(journal.path.parent))


def test_a_record_that_cannot_be_read_is_none_and_one_that_cannot_be_written_is_told(
    tmp_path: Path,
) -> None:
    """Without a record nothing may be stopped."""
    (tmp_path / FILE).write_text("half of")
    assert None is read_record(tmp_path)
    with pytest.raises(StoreError, match="cannot be written"):
        write_record(tmp_path / "none" / "none", BackupRecord(1.0, ""))
