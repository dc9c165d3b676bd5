"""What rsync's repositories are on a disk, with the real rsync."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy
from sidecar.engines.base import CommandResult, EngineError, FailureClass, ResultKind
from sidecar.engines.marker import MARKER
from sidecar.engines.options import CommandTimeouts, OnMissing
from sidecar.engines.rsync.commands import Keeping
from sidecar.engines.rsync.storage import LocalStorage
from tests.engines.bench import INSTANCE, RsyncBench, save
from tests.engines.file_systems import mounted

READ_ALL = CheckPolicy(read_data_subset_percent=100)


def snapshot_files(bench: RsyncBench) -> list[str]:
    """List what lies beside and above the snapshots of the plan."""
    folder = bench.store / "web"
    return sorted(str(one.relative_to(folder)) for one in folder.glob("snapshots/*"))


def test_a_snapshot_is_a_folder_and_a_record(rsync: RsyncBench) -> None:
    """The link leads to it relatively, so that the tree can be mounted elsewhere."""
    rsync.write("deep/file", "hello")
    made = rsync.backup().snapshot
    name = made.partition("@")[2]
    record = json.loads((rsync.store / "web" / "snapshots" / f"{name}.json").read_bytes())

    assert [name, f"{name}.json"] == [
        one.removeprefix("snapshots/") for one in snapshot_files(rsync)
    ]
    assert f"snapshots/{name}" == str((rsync.store / "web" / "latest").readlink())
    assert "hello" == (rsync.tree(made) / "deep" / "file").read_text()
    assert ([str(rsync.source)], 1, 5) == (record["paths"], record["files"], record["size"])
    assert datetime.fromisoformat(record["time"]).tzinfo is not None


@pytest.mark.parametrize(
    ("step", "is_there"), [("flush", False), ("rename", False), ("point", True)]
)
def test_what_fails_before_a_snapshot_counts_takes_it_away_and_nothing_later_does(
    rsync: RsyncBench, monkeypatch: pytest.MonkeyPatch, step: str, is_there: bool
) -> None:
    """Its record goes with it: one without the other would be nobody's."""
    rsync.write("file", "x")

    def refuse(*_: object) -> None:
        raise EngineError(FailureClass.DISK_FULL, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, step, refuse)
        done = save(rsync.engine(), rsync.plan())

    assert (ResultKind.FAILED, "no space") == (done.kind, done.reason)
    assert (2 if is_there else 0) == len(snapshot_files(rsync))
    assert is_there == bool(rsync.names(rsync.plan()))


def test_what_has_not_changed_is_linked_and_nothing_else_is(rsync: RsyncBench) -> None:
    """Also not a file whose mode alone has changed: the older snapshot keeps it as it was."""
    for name in ("same", "mode", "text"):
        rsync.write(name, "content")
    first = rsync.tree(rsync.backup().snapshot)
    (rsync.source / "mode").chmod(0o600)
    rsync.write("text", "CONTENT")
    second = rsync.tree(rsync.backup().snapshot)

    assert (first / "same").samefile(second / "same")
    assert (0o644, 0o600) == tuple((one / "mode").stat().st_mode & 0o777 for one in (first, second))
    assert ("content", "CONTENT") == ((first / "text").read_text(), (second / "text").read_text())


def test_a_change_within_the_same_second_is_saved(rsync: RsyncBench) -> None:
    """Of the same size: rsync by itself compares whole seconds."""
    file = rsync.write("file", "one")
    os.utime(file, ns=(0, 1_000_000_000_100_000_000))
    rsync.backup()
    rsync.write("file", "two")
    os.utime(file, ns=(0, 1_000_000_000_900_000_000))

    assert "two" == (rsync.tree(rsync.backup().snapshot) / "file").read_text()


def test_two_backups_in_one_second_are_two_snapshots(rsync: RsyncBench) -> None:
    """The later one is called after the next second, and is still the newest."""
    rsync.now = lambda: 1_796_000_000.25
    names = [rsync.backup().snapshot for _ in range(3)]

    assert names == sorted(set(names)) == rsync.names(rsync.plan())


def test_records_tell_the_order_not_names_or_times_of_folders(rsync: RsyncBench) -> None:
    """In the night on which the clocks are set back a name comes twice."""
    rsync.zone = ZoneInfo("Europe/Berlin")
    before = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    for at in (before, before + 1800, before + 3600, before + 7200):
        rsync.now = lambda at=at: at  # type: ignore[misc]
        rsync.backup()
    for folder in (rsync.store / "web" / "snapshots").iterdir():
        os.utime(folder, (0, 0))
    listed = rsync.engine().snapshots(rsync.plan(), INSTANCE)

    assert [before, before + 1800, before + 3600, before + 7200] == [
        one.time.timestamp() for one in listed
    ]
    assert [one.id for one in listed] != sorted(one.id for one in listed)
    assert {"+02:00", "+01:00"} == {one.time.isoformat()[-6:] for one in listed}


@pytest.mark.parametrize("work", ["backup", "forget"])
def test_killed_at_any_moment_it_leaves_nothing_half(rsync: RsyncBench, work: str) -> None:
    """What counts is whole, and the next run succeeds and leaves no trace of that one."""
    rsync.write("big", os.urandom(100_000))
    rsync.write("small", "small")
    for _ in range(3):
        rsync.backup()
    for number in count(1):
        before = rsync.names(rsync.plan())
        rsync.write("small", f"number {number}")
        words = [sys.executable, "-m", "tests.engines.killed_rsync", str(rsync.folder), work]
        ended = subprocess.run([*words, str(number)], check=False)
        after = rsync.names(rsync.plan())
        for one in after:
            assert 2 == sum(file.is_file() for file in rsync.tree(one).iterdir())
        assert set(after) - set(before) == set(after[len(set(before) & set(after)) :])
        assert ResultKind.SUCCESS is rsync.engine().check(READ_ALL).kind
        made = rsync.backup()
        assert f"number {number}" == (rsync.tree(made.snapshot) / "small").read_text()
        assert all(
            len(one) in {len("snapshots/") + n for n in (19, 24)} for one in snapshot_files(rsync)
        )
        assert () == rsync.engine().locks()
        if ended.returncode == 0:
            break
        while len(rsync.names(rsync.plan())) < 3:
            rsync.backup()

    assert number > 4


def test_what_is_captured_counts_once_it_is_sealed(rsync: RsyncBench) -> None:
    """It is on the disk then; what was never sealed is gone with the next backup."""
    rsync.write("file", "first")
    engine, plan = rsync.engine(), rsync.plan()
    captured = engine.capture(plan, INSTANCE, rsync.reported.append)
    before = rsync.names(plan)
    sealed = engine.seal(plan, captured, rsync.reported.append)
    rsync.engine().capture(plan, INSTANCE, rsync.reported.append)
    made = rsync.backup()

    assert (ResultKind.SUCCESS, "", False) == (
        captured.kind,
        captured.snapshot,
        captured.is_sealed,
    )
    assert [] == before
    assert replace(captured, snapshot=sealed.snapshot, is_sealed=True) == sealed
    assert [sealed.snapshot, made.snapshot] == rsync.names(plan)
    assert sealed == engine.seal(plan, sealed, rsync.reported.append)


def test_what_another_runner_has_removed_meanwhile_is_not_sealed(rsync: RsyncBench) -> None:
    """No lock is held while services start again: that it is gone is told."""
    rsync.write("file", "first")
    engine, plan = rsync.engine(), rsync.plan()
    captured = engine.capture(plan, INSTANCE, rsync.reported.append)
    made = rsync.backup()
    sealed = engine.seal(plan, captured, rsync.reported.append)

    assert ResultKind.FAILED is sealed.kind
    assert "what was copied is gone" in sealed.reason
    assert [made.snapshot] == rsync.names(plan)


def test_one_that_hangs_is_ended_and_leaves_nothing(rsync: RsyncBench) -> None:
    """It is told, and the next run succeeds."""
    program = rsync.folder / "hanging"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    rsync.program, usual = str(program), rsync.program
    rsync.limits = CommandTimeouts(stall=1.0)
    done = save(rsync.engine(), rsync.plan(), rsync.reported.append)
    left = list((rsync.store / "web" / "snapshots").iterdir())
    rsync.program = usual

    assert (ResultKind.FAILED, FailureClass.TIMEOUT) == (done.kind, done.failure)
    assert [] == left
    assert rsync.backup().snapshot


def test_a_source_that_is_missing_leaves_nothing(rsync: RsyncBench) -> None:
    """Or only what is there is saved, with a warning, where that is asked for."""
    rsync.write("file", "x")
    plan = rsync.plan("web", rsync.source, rsync.folder / "absent")
    done = save(rsync.engine(), plan, rsync.reported.append)
    rsync.on_missing = OnMissing.WARN
    warned = save(rsync.engine(), plan, rsync.reported.append)

    assert (ResultKind.FAILED, FailureClass.SOURCE_MISSING) == (done.kind, done.failure)
    assert (ResultKind.WARNING, FailureClass.SOURCE_MISSING) == (warned.kind, warned.failure)
    assert [warned.snapshot] == rsync.names(plan)


def test_a_file_that_cannot_be_read_is_named_and_the_rest_saved(rsync: RsyncBench) -> None:
    """The snapshot counts."""
    program = rsync.folder / "weak"
    drop = "-dac_override,-dac_read_search"
    program.write_text(
        f'#!/bin/sh\nexec setpriv --bounding-set {drop} --inh-caps {drop} rsync "$@"\n'
    )
    program.chmod(0o755)
    rsync.program = str(program)
    rsync.write("open", "x")
    rsync.write("closed", "x", 0)
    done = save(rsync.engine(), rsync.plan(), rsync.reported.append)

    assert (ResultKind.WARNING, FailureClass.PERMISSION) == (done.kind, done.failure)
    assert f"1 file or folder could not be read: {rsync.source}/closed" in done.reason
    assert ["open"] == [one.name for one in rsync.tree(done.snapshot).iterdir()]


def test_on_a_full_disk_snapshots_can_be_deleted(tmp_path: Path) -> None:
    """Not a byte is needed for that."""
    bench = RsyncBench.at(tmp_path / "bench")
    bench.store.mkdir()
    with mounted(bench.store, "-t", "tmpfs", "-o", "size=3m", "none"):
        bench.engine().initialise()
        bench.write("file", "x")
        kept = [bench.backup().snapshot for _ in range(2)][1:]
        (bench.store / "rest").write_bytes(bytes(shutil.disk_usage(bench.store).free))
        forgotten = bench.engine().forget(bench.plan(), INSTANCE, Retention(last=1))

        assert (ResultKind.SUCCESS, "") == (forgotten.kind, forgotten.reason)
        assert kept == bench.names(bench.plan())


def test_what_a_killed_run_left_makes_room_for_the_next(tmp_path: Path) -> None:
    """Also where it has filled the disk, so that there is no room even for a lock."""
    bench = RsyncBench.at(tmp_path / "bench")
    bench.store.mkdir()
    with mounted(bench.store, "-t", "tmpfs", "-o", "size=3m", "none"):
        bench.engine().initialise()
        bench.write("file", "x")
        bench.backup()
        left = bench.store / "web" / "snapshots" / "2026-11-29_03-10-00.partial"
        left.mkdir()
        with bench.locked():
            (left / "big").write_bytes(bytes(shutil.disk_usage(bench.store).free))
            refused = backup_of(bench, "web")
            is_there = left.exists()
        bench.backup()

        assert (FailureClass.LOCKED, True) == (refused.failure, is_there)
        assert not left.exists()


def test_without_hard_links_only_full_copies_are_made(
    rsync: RsyncBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only if that is asked for."""
    monkeypatch.setattr(LocalStorage, "keeps", lambda *_: Keeping(hard_links=False))
    rsync.write("file", "x")
    refused = save(rsync.engine(), rsync.plan(), rsync.reported.append)
    rsync.flags = ("--full-copies",)
    first, second = (rsync.tree(rsync.backup().snapshot) for _ in range(2))

    assert ResultKind.FAILED is refused.kind
    assert "--full-copies" in refused.reason
    assert not (first / "file").samefile(second / "file")


def test_the_disk_that_is_not_mounted_is_not_written_to(rsync: RsyncBench) -> None:
    """Nor is another one in its place."""
    guid = rsync.engine().probe()
    other = save(rsync.engine(guid="0" * 64), rsync.plan(), rsync.reported.append)
    same = save(rsync.engine(guid=guid), rsync.plan(), rsync.reported.append)
    shutil.rmtree(rsync.store)
    rsync.store.mkdir()
    gone = save(rsync.engine(), rsync.plan(), rsync.reported.append)
    for plan in (rsync.plan(), None):
        with pytest.raises(EngineError, match="is the disk mounted"):
            rsync.engine().snapshots(plan, INSTANCE)

    assert FailureClass.REPO_NOT_FOUND is other.failure is gone.failure
    assert guid[:8] in other.reason
    assert ResultKind.SUCCESS is same.kind
    assert [] == list(rsync.store.iterdir())


def test_a_marker_that_cannot_be_read_is_no_new_repository(rsync: RsyncBench) -> None:
    """Initialising would give it another id."""
    (rsync.store / MARKER).write_text("{}")

    with pytest.raises(EngineError) as caught:
        rsync.engine().initialise()

    assert FailureClass.DAMAGED is caught.value.failure


def test_only_snapshots_of_ours_are_deleted(rsync: RsyncBench) -> None:
    """Never what people have put beside them, never what `latest` leads to."""
    names = [rsync.backup().snapshot.partition("@")[2] for _ in range(4)]
    folder = rsync.store / "web" / "snapshots"
    for name in ("before the move", "2026-11-29", f"{names[0]}.bak"):
        (folder / name).mkdir()
    (rsync.store / "web" / "latest").unlink()
    (rsync.store / "web" / "latest").symlink_to(f"snapshots/{names[1]}")
    done = rsync.engine().forget(rsync.plan(), INSTANCE, Retention(last=1))

    assert ResultKind.SUCCESS is done.kind
    assert {names[1], names[3], "before the move", "2026-11-29", f"{names[0]}.bak"} == {
        one.name for one in folder.iterdir() if not one.name.endswith(".json")
    }


def test_a_snapshot_without_its_record_is_told_by_its_name(rsync: RsyncBench) -> None:
    """It is still listed, as somebody may need it, and never deleted."""
    made = rsync.backup().snapshot
    for record in (rsync.store / "web" / "snapshots").glob("*.json"):
        record.unlink()
    more = [rsync.backup().snapshot for _ in range(2)]
    done = rsync.engine().forget_all(Retention(last=1))

    assert ResultKind.SUCCESS is done.kind
    assert [made, more[-1]] == rsync.names()
    assert [more[-1]] == rsync.names(rsync.plan())


def test_check_finds_what_is_missing_and_what_is_added(rsync: RsyncBench) -> None:
    """Also in snapshots whose files are all gone from the source."""
    rsync.write("a", "a")
    rsync.write("b", "b")
    first, second = (rsync.tree(rsync.backup().snapshot) for _ in range(2))
    (first / "a").unlink()
    missing = rsync.engine().check(CheckPolicy(structure_only=True))
    (first / "a").write_text("longer")
    longer = rsync.engine().check(CheckPolicy(structure_only=True))

    for done in (missing, longer):
        assert (ResultKind.FAILED, FailureClass.DAMAGED) == (done.kind, done.failure)
    assert "1 file instead of 2" in missing.reason
    assert second.exists()


def test_check_knows_a_file_that_was_saved_otherwise(rsync: RsyncBench) -> None:
    """One that has changed since is no damage."""
    rsync.write("live", "one")
    rsync.write("still", "one")
    made = rsync.tree(rsync.backup().snapshot)
    rsync.write("live", "two")
    good = rsync.engine().check(READ_ALL)
    (made / "still").write_text("bad")
    bad = rsync.engine().check(READ_ALL)
    unread = rsync.engine().check(CheckPolicy())

    assert ResultKind.SUCCESS is good.kind is unread.kind
    assert FailureClass.DAMAGED is bad.failure
    assert f"{rsync.source}/still is not as it was saved" in bad.reason


def backup_of(bench: RsyncBench, plan: str) -> CommandResult:
    """Back up a plan, which may fail."""
    return save(bench.engine(), bench.plan(plan), bench.reported.append)


def test_who_works_on_a_plan_works_alone(rsync: RsyncBench) -> None:
    """Also a backup waits; other plans go on."""
    with rsync.locked() as pid:
        locked, other = backup_of(rsync, "web"), backup_of(rsync, "shop")
        [lock] = rsync.engine().locks()

    assert (ResultKind.FAILED, FailureClass.LOCKED) == (locked.kind, locked.failure)
    assert ResultKind.SUCCESS is other.kind
    assert (pid, "web", False) == (lock.pid, lock.plan, lock.is_exclusive)


def test_a_lock_of_elsewhere_holds_as_long_as_it_is_renewed(rsync: RsyncBench) -> None:
    """Nobody sees from here whether that process lives."""
    rsync.hold(1, "web", hostname="elsewhere")
    locked = backup_of(rsync, "web")
    rsync.hold(1, "web", hostname="elsewhere", age=31 * 60)

    assert FailureClass.LOCKED is locked.failure
    assert ResultKind.SUCCESS is backup_of(rsync, "web").kind


def test_prune_removes_what_was_left(rsync: RsyncBench) -> None:
    """And nothing else."""
    made = rsync.backup().snapshot
    folder = rsync.store / "web" / "snapshots"
    for name in ("2026-11-29_03-10-00.partial", "2026-11-29_03-10-01.removed"):
        (folder / name / "deep").mkdir(parents=True)
    (folder / "2026-11-29_03-10-02.json").write_text("{}")
    done = rsync.engine().prune(PrunePolicy())

    assert (ResultKind.SUCCESS, [made]) == (done.kind, rsync.names())
    assert 2 == len(snapshot_files(rsync))


def test_a_preview_counts_and_changes_nothing(rsync: RsyncBench) -> None:
    """First without any snapshot, then with one."""
    rsync.write("file", "x")
    before = sorted(rsync.store.rglob("*"))
    first = rsync.engine().preview(rsync.plan(), INSTANCE, rsync.reported.append)
    unchanged = sorted(rsync.store.rglob("*"))
    rsync.backup()
    rsync.write("new", "x")
    second = rsync.engine().preview(rsync.plan(), INSTANCE, rsync.reported.append)

    assert before == unchanged
    assert [(ResultKind.SUCCESS, "", 1), (ResultKind.SUCCESS, "", 1)] == [
        (one.kind, one.reason, one.stats.files_new if one.stats else None)
        for one in (first, second)
    ]


def test_a_repository_is_not_copied_into_itself(rsync: RsyncBench) -> None:
    """Where it lies in what is saved."""
    rsync.write("file", "x")
    plan = rsync.plan("web", rsync.folder)
    made = [rsync.backup(plan).snapshot for _ in range(2)][-1].partition("@")[2]
    tree = rsync.store / "web" / "snapshots" / made / str(rsync.folder)[1:]

    assert (tree / "source" / "file").exists()
    assert not (tree / "repo").exists()


@pytest.mark.parametrize("flags", [(), ("--flat",)])
def test_odd_names_are_left_out_and_their_neighbours_are_not(
    rsync: RsyncBench, flags: tuple[str, ...]
) -> None:
    """Each is meant by itself, whatever it would mean as a pattern of rsync's."""
    rsync.flags = flags
    left_out = [b"a*", b"b?", b"c[d]", b"e\\f", b"g\nh", b"-i", b"#j", b"k\xff", b"l\\*", b"**"]
    neighbours = [b"ab", b"bb", b"cd", b"ef", b"gh", b"i", b"j", b"k", b"l\\x", b"m"]
    for name in (*left_out, *neighbours):
        rsync.write(f"skip/{os.fsdecode(name)}", "x")
        rsync.write(os.fsdecode(name), "x")
    rsync.write("larger", "x" * 2000)
    rsync.write("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55")
    rsync.write("cache/x", "x")
    for name in left_out:
        rsync.write(os.fsdecode(b"sub/" + name), "x")
        rsync.write(os.fsdecode(b"sub/more/" + name), "x")
    escaped = [
        os.fsdecode(
            b"".join(b"\\" + bytes([sign]) if sign in b"*?[\\" else bytes([sign]) for sign in one)
        )
        for one in left_out
    ]
    plan = rsync.plan(
        excludes=(f"{rsync.source}/skip", *(f"{rsync.source}/sub/{one}" for one in escaped)),
        backup_flags=("--exclude-larger-than 1k",),
    )
    done = save(rsync.engine(), plan, rsync.reported.append)
    [snapshot] = rsync.engine().snapshots(plan, INSTANCE)
    found = {one.path for one in rsync.engine().entries(snapshot, str(rsync.source))}
    names = {os.fsencode(one) for one in os.listdir(rsync.source)}

    assert (ResultKind.SUCCESS, "", "") == (done.kind, done.reason, done.note)
    kept = names - {b"skip", b"larger"}
    expected = {f"{rsync.source}/{name.decode(errors='replace')}" for name in kept}
    expected |= {f"{rsync.source}/sub/more/{name.decode(errors='replace')}" for name in left_out}
    expected |= {
        str(rsync.source),
        f"{rsync.source}/sub/more",
        f"{rsync.source}/cache/CACHEDIR.TAG",
    }
    assert expected == found


def test_flags_that_are_restics_alone_are_told(rsync: RsyncBench) -> None:
    """The backup is made without them."""
    plan = rsync.plan(backup_flags=("--exclude-caches --read-concurrency 4",))
    done = save(rsync.engine(), plan, rsync.reported.append)

    assert ResultKind.SUCCESS is done.kind
    assert "--read-concurrency" in done.note
