"""What is judged of a backup beside the plan's other snapshots."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import (
    CommandResult,
    Engine,
    EngineError,
    FailureClass,
    ResultKind,
    Snapshot,
    Stats,
)
from sidecar.runner.job.retention_guard import BackupVerdict, RetentionGuard
from sidecar.runner.journal import Journal

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
PLAN = RunPlan("web", "store", ("/data",))


def snapshot(name: str, hours: float) -> Snapshot:
    """Make a snapshot so many hours after noon, which is now."""
    return Snapshot(name * 16, NOON + timedelta(hours=hours), ("/data",))


@dataclass
class Scene:
    """A guard, and a repository that may be asked for its snapshots."""

    journal: Journal
    held: tuple[Snapshot, ...] = ()
    error: EngineError | None = None
    asked: list[RunPlan | None] = field(default_factory=list)

    def snapshots(self, plan: RunPlan | None, _instance: str) -> tuple[Snapshot, ...]:
        """List them."""
        self.asked.append(plan)
        if self.error is not None:
            raise self.error
        return self.held

    @property
    def engine(self) -> Engine:
        """Return the repository; of it no more is used."""
        return self  # type: ignore[return-value]

    @property
    def guard(self) -> RetentionGuard:
        """Return the guard."""
        return RetentionGuard(self.journal, NOON.timestamp)

    def judge(self, *listed: Snapshot, is_listed: bool = True) -> BackupVerdict:
        """Judge a backup that has seen these others, or has not looked."""
        seen = listed if is_listed else None
        result = CommandResult(ResultKind.SUCCESS, snapshot="5f3a", listed=seen)
        return self.guard.judge(PLAN, "here", self.engine, result, NOON.timestamp())

    def judge_nothing(self) -> BackupVerdict:
        """Judge a backup that has saved no file; its list is from before."""
        result = CommandResult(
            ResultKind.SUCCESS, snapshot="5f3a9c01" * 8, stats=Stats(), listed=()
        )
        return self.guard.judge(PLAN, "here", self.engine, result, NOON.timestamp())

    def holds_file(self, _one: Snapshot) -> bool:
        """Look into one: that fails."""
        raise EngineError(FailureClass.DAMAGED, "a pack is gone")

    @property
    def ahead(self) -> list[str]:
        """Return the ids that are recorded as ahead of the clock."""
        return [one.snapshot for one in self.journal.findings.ahead().get("web", ())]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Give an empty repository and an empty journal."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield Scene(journal)


def test_a_backup_among_older_ones_is_good(scene: Scene) -> None:
    """Nothing is asked for that."""
    assert BackupVerdict() == scene.judge(snapshot("a", -1), snapshot("b", 0))
    assert BackupVerdict() == scene.judge(is_listed=False)
    assert ([], []) == (scene.asked, scene.ahead)


def test_one_from_the_future_is_told_and_recorded(scene: Scene) -> None:
    """With what to do; the nearest first, of many three."""
    scene.held = tuple(snapshot(name, 1000 * number) for number, name in enumerate("abcde"))
    found = scene.judge(*scene.held)

    assert (True, FailureClass.CLOCK, "") == (found.keeps_all, found.failure, found.remark)
    assert (
        "snapshot.ahead: bbbbbbbb is dated 2026-06-12 04:00 UTC, "
        "cccccccc is dated 2026-07-23 20:00 UTC, dddddddd is dated 2026-09-03 12:00 UTC "
        "and 1 more, ahead of the clock: nothing is forgotten until they are gone "
        "→ restic forget bbbbbbbb cccccccc dddddddd"
    ) == found.warning
    assert [name * 16 for name in "bcde"] == scene.ahead


def test_nothing_is_forgotten_beside_one_that_is_dated_after_this_run(scene: Scene) -> None:
    """Of an hour by another clock: it would count as newer than what was saved just now."""
    scene.held = (snapshot("a", 1),)
    found = scene.judge(*scene.held)

    assert (True, "", None) == (found.keeps_all, found.warning, found.failure)
    assert "a snapshot is dated later than that of this run" in found.remark
    assert [] == scene.ahead


def test_a_list_from_before_is_not_believed_in_this(scene: Scene) -> None:
    """What was removed since keeps nothing from being forgotten; unless nobody can be asked."""
    assert BackupVerdict() == scene.judge(snapshot("a", 99))
    scene.error = EngineError(FailureClass.NETWORK, "no route")
    assert scene.judge(snapshot("a", 99)).keeps_all


def test_it_is_asked_again_only_where_one_was_ahead(scene: Scene) -> None:
    """Until it is seen to be gone; a repository that cannot be asked still has it."""
    scene.held = (snapshot("a", 99),)
    scene.judge(snapshot("a", 99))
    scene.error = EngineError(FailureClass.NETWORK, "no route")
    unknown = scene.judge(is_listed=False)
    scene.error, scene.held = None, (snapshot("a", 99),)
    there = scene.judge(is_listed=False)
    scene.held = ()
    gone = scene.judge(is_listed=False)

    assert unknown.warning == there.warning
    assert "aaaaaaaa is dated" in there.warning
    assert BackupVerdict() == gone
    assert ([PLAN] * 4, []) == (scene.asked, scene.ahead)
    assert BackupVerdict() == scene.judge(is_listed=False)


def test_a_journal_out_of_reach_keeps_no_backup_from_being_judged(scene: Scene) -> None:
    """What was listed tells enough."""
    scene.journal.close()
    scene.held = (snapshot("a", 99),)

    assert BackupVerdict() == scene.judge(is_listed=False)
    assert scene.judge(*scene.held).keeps_all


def test_a_repository_is_judged_as_a_whole(scene: Scene) -> None:
    """Whoever made it: its retention applies to all."""
    assert BackupVerdict() == scene.guard.judge_repository((), "here", scene.engine)
    scene.held = (snapshot("a", 1), snapshot("b", 99))

    found = scene.guard.judge_repository((), "here", scene.engine)

    assert "bbbbbbbb is dated 2026-05-05 15:00 UTC, ahead of the clock" in found.warning
    assert (True, FailureClass.CLOCK) == (found.keeps_all, found.failure)
    assert [None, None] == scene.asked


def test_a_repository_keeps_what_the_newest_snapshot_of_a_plan_lacks(scene: Scene) -> None:
    """Made while a disk was away; a path that the plan has no more, or never had, is nothing."""
    tags = ("plan:web", "created-by:here")
    whole = Snapshot("a" * 16, NOON, ("/data", "/other"), tags, files_processed=2)
    part = Snapshot("b" * 16, NOON, ("/data",), tags, files_processed=1)
    scene.held = (whole, part)

    def judge(*paths: str) -> BackupVerdict:
        return scene.guard.judge_repository((replace(PLAN, paths=paths),), "here", scene.engine)

    found = judge("/data", "/other/")

    assert (True, FailureClass.SOURCE_MISSING) == (found.keeps_all, found.failure)
    assert "its newest snapshot bbbbbbbb lacks /other, which an earlier one holds" in found.warning
    assert BackupVerdict() == judge("/data")
    assert BackupVerdict() == judge("/data", "/new")
    scene.held = (part, whole)
    assert BackupVerdict() == judge("/data", "/other")
    scene.held = ()
    assert BackupVerdict() == judge("/data", "/other")


def test_a_backup_of_nothing_is_judged_by_what_stands_in_the_repository_now(scene: Scene) -> None:
    """Not by a list of before: the last snapshot that holds the data may be newer than it."""
    full = Snapshot("f" * 16, NOON - timedelta(hours=1), ("/data",), files_processed=5)
    scene.held = (full, Snapshot("5f3a9c01" * 8, NOON, ("/data",), files_processed=0))

    found = scene.judge_nothing()

    assert (True, FailureClass.SOURCE_EMPTY) == (found.keeps_all, found.failure)
    assert "while its snapshot ffffffff of 2026-05-01 11:00 UTC holds some" in found.warning


def test_where_nobody_can_say_what_was_saved_before_nothing_is_forgotten(scene: Scene) -> None:
    """Unknown is not empty: neither the list nor what a snapshot holds."""
    scene.error = EngineError(FailureClass.NETWORK, "no route")
    unlisted = scene.judge_nothing()
    scene.error, scene.held = None, (snapshot("a", -1),)
    unseen = scene.judge_nothing()

    for found, why in ((unlisted, "no route"), (unseen, "a pack is gone")):
        assert (True, FailureClass.SOURCE_EMPTY) == (found.keeps_all, found.failure)
        assert f"what was saved before cannot be seen: {why}" in found.warning


def test_two_reasons_are_told_together(scene: Scene) -> None:
    """One from the future, and none that holds anything but an older one."""
    full = Snapshot("f" * 16, NOON - timedelta(hours=1), ("/data",), files_processed=5)
    scene.held = (full, snapshot("a", 99))

    found = scene.judge_nothing()

    assert FailureClass.CLOCK is found.failure
    assert "aaaaaaaa is dated" in found.warning
    assert "no file was there to save, while its snapshot ffffffff" in found.warning
