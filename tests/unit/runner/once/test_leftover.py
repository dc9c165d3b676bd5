"""What a killed backup has left is ended and started again."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sidecar.lib.errors import StoreError
from sidecar.runner.journal import Journal, Stopped
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
    return [one.name for one in journal.containers.still_stopped()]


def test_what_is_left_is_put_right_in_the_order_in_which_it_starts(journal: Journal) -> None:
    """First the container of the image ends; one that is gone has no place in the order."""
    app, db = held("app", part_of("p", "app", "db")), held("db", part_of("p", "db"))
    docker = QuiesceDocker.of(app, db)
    for name in ("app", "db", "gone"):
        journal.containers.stopped(Stopped(f"id-{name}", name, 0))
    write_record(journal.path.parent, BackupRecord("shot"))
    assert () == recover_leftovers(docker, journal)
    assert ["discard shot", "start id-db", "start id-app", "start id-gone"] == docker.calls
    assert [] == names_left(journal)
    assert None is read_record(journal.path.parent)


def test_one_that_may_be_stopping_right_now_is_not_stopped_again(journal: Journal) -> None:
    """It is waited for, and started then."""
    docker = QuiesceDocker.of(held("a"), stopping={"id-a": 3})
    journal.containers.stopped(Stopped("id-a", "a", 0, 1000.0, 60))
    write_record(journal.path.parent, BackupRecord(""))
    waits: list[float] = []
    assert () == recover_leftovers(docker, journal, waits.append)
    assert (["start id-a"], [1.0] * 3) == (docker.calls, waits)
    assert None is read_record(journal.path.parent)


def test_without_patience_it_is_left_for_the_next_time(journal: Journal) -> None:
    """The record too."""
    docker = QuiesceDocker.of(held("a"), stopping={"id-a": 3})
    journal.containers.stopped(Stopped("id-a", "a", 0, 1000.0, 60))
    write_record(journal.path.parent, BackupRecord(""))
    assert () == recover_leftovers(docker, journal)
    assert ([], ["a"]) == (docker.calls, names_left(journal))
    assert BackupRecord("") == read_record(journal.path.parent)


def test_a_backup_that_is_still_at_work_is_left_alone(journal: Journal) -> None:
    """As a restore beside it has to; what another has left stopped is started all the same."""
    docker = QuiesceDocker.of(held("a"))
    journal.containers.stopped(Stopped("id-a", "a", 0))
    write_record(journal.path.parent, BackupRecord("shot"))
    assert () == recover_leftovers(docker, journal, is_alone=False)
    assert ["start id-a"] == docker.calls
    assert BackupRecord("shot") == read_record(journal.path.parent)


def test_the_record_of_an_older_version_is_read(tmp_path: Path) -> None:
    """It also said when the backup began."""
    (tmp_path / FILE).write_text('{"at":5.0,"shot":"backup-once-0a1b2c3d4e5f"}')
    assert BackupRecord("backup-once-0a1b2c3d4e5f") == read_record(tmp_path)


def test_what_cannot_be_started_is_told_and_stays_to_be_done(journal: Journal) -> None:
    """When the backup began is still needed then."""
    docker = QuiesceDocker.of(held("a"), failures={"start id-a": ["no port"]})
    journal.containers.stopped(Stopped("id-a", "a", 0))
    write_record(journal.path.parent, BackupRecord(""))
    (reason,) = recover_leftovers(docker, journal)
    assert "no port" in reason
    assert (["a"], BackupRecord("")) == (names_left(journal), read_record(journal.path.parent))


def test_a_record_that_cannot_be_read_is_none_and_one_that_cannot_be_written_is_told(
    tmp_path: Path,
) -> None:
    """Without a record nothing may be stopped."""
    (tmp_path / FILE).write_text("half of")
    assert None is read_record(tmp_path)
    with pytest.raises(StoreError, match="cannot be written"):
        write_record(tmp_path / "none" / "none", BackupRecord(""))
