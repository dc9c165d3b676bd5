"""Whether a run is due or at work, so that a plan must not be restored now."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.backrest.reading import RunPlan, Timing
from sidecar.docker.markers import DIRECTORY
from sidecar.engines.base import HeldLock, Snapshot
from sidecar.runner.due import Job, JobKind, Retry, Scheduler
from sidecar.runner.journal import Ended, Journal, RunCause, RunOutcome
from sidecar.runner.restore.choose import RestoreError
from sidecar.runner.restore.turn import Turn

PLAN = RunPlan("web", "store", ("/data",), timing=Timing("0 3 * * *"))
JOB = Job(JobKind.BACKUP, "web", "store")
THREE = datetime(2026, 11, 30, 3, tzinfo=UTC).timestamp()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return an empty journal."""
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def turn(journal: Journal, folder: Path, now: float, *, is_executed: bool = True) -> Turn:
    """Return what tells it at some moment."""
    return Turn(journal, Scheduler(UTC), is_executed, folder, lambda: now)


def engine(*snapshots: float, locks: tuple[HeldLock, ...] = ()) -> Any:
    """Return an engine whose repository has snapshots of these moments, and locks."""
    made = tuple(Snapshot("a", datetime.fromtimestamp(at, UTC), ()) for at in snapshots)
    return SimpleNamespace(snapshots=lambda *_: made, locks=lambda: locks)


def test_what_is_due_waits_for_nobody_where_nobody_begins_it(
    journal: Journal, tmp_path: Path
) -> None:
    """As while the runner is stopped for a restore; nor is a plan in the way that never ran."""
    turn(journal, tmp_path, THREE + 5).check(PLAN)
    journal.past.first_seen([JOB], THREE - 100)
    turn(journal, tmp_path, THREE - 5).check(PLAN)
    turn(journal, tmp_path, THREE + 5, is_executed=False).check(PLAN)
    turn(journal, tmp_path, THREE + 5).check(RunPlan("web", "store", ("/data",)))

    with pytest.raises(RestoreError, match="a run of web is due since 03:00"):
        turn(journal, tmp_path, THREE + 5).check(PLAN)


def test_what_is_tried_again_is_due_when_its_time_has_come(
    journal: Journal, tmp_path: Path
) -> None:
    """It saves what is there now."""
    number = journal.runs.begin(JOB, RunCause.SCHEDULE, THREE + 1, "")
    retry = Retry(THREE, THREE + 60, tries=1)
    journal.runs.end(number, Ended(RunOutcome.FAILED, THREE + 2), retry)

    turn(journal, tmp_path, THREE + 30).check(PLAN)
    with pytest.raises(RestoreError, match="due since 03:00"):
        turn(journal, tmp_path, THREE + 70).check(PLAN)


def test_of_backrest_its_last_fire_is_known(journal: Journal, tmp_path: Path) -> None:
    """Until there is a snapshot since, or it has had some minutes to begin."""
    for now, *snapshots in ((THREE - 5,), (THREE + 5, THREE + 2), (THREE + 700,)):
        turn(journal, tmp_path, now).check_backrest(PLAN, engine(*snapshots), "here")
    never = RunPlan("web", "store")
    turn(journal, tmp_path, THREE + 5).check_backrest(never, engine(), "here")

    with pytest.raises(RestoreError, match="due since 03:00"):
        turn(journal, tmp_path, THREE + 5).check_backrest(PLAN, engine(THREE - 9), "here")


def test_of_backrest_locks_and_markers_are_known(journal: Journal, tmp_path: Path) -> None:
    """Also a marker of another plan, which does not count, and one that cannot be read."""
    now, lock = THREE - 5, HeldLock("1", "backrest", 7, 0.0)
    with pytest.raises(RestoreError, match=r"store is in use \(PID 7 on backrest\)"):
        turn(journal, tmp_path, now).check_backrest(PLAN, engine(locks=(lock,)), "here")

    (tmp_path / DIRECTORY).mkdir()
    marker = tmp_path / DIRECTORY / "shop-web-1"
    marker.write_text("plan=db\ncontainer=0123456789ab\nstate=running\nverb=stop\n")
    turn(journal, tmp_path, now).check_backrest(PLAN, engine(), "here")
    marker.write_text("plan=web\ncontainer=0123456789ab\nstate=running\nverb=stop\n")
    with pytest.raises(RestoreError, match="Backrest saves web, and has stopped shop-web-1"):
        turn(journal, tmp_path, now).check_backrest(PLAN, engine(), "here")
    marker.unlink()
    (tmp_path / DIRECTORY).rmdir()
    (tmp_path / DIRECTORY).write_text("no directory")
    turn(journal, tmp_path, now).check_backrest(PLAN, engine(), "here")
