"""What every engine has to do, on the real program with real data."""

import os
import shutil
import signal
import stat
import struct
import threading
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy
from sidecar.engines.base import (
    Capabilities,
    EngineError,
    EntryAttributes,
    FailureClass,
    ResultKind,
)
from sidecar.lib.process import Child
from sidecar.runner.journal import Journal, RunOutcome
from sidecar.runner.restore.choose import RestoreError, RestoreRequest
from sidecar.runner.restore.restore import Restorer
from tests.engines.bench import INSTANCE, PASSWORD, Bench, save
from tests.engines.file_systems import mounted

MEGABYTE = 1 << 20


def fill(bench: Bench) -> None:
    """Write data of all sorts into the source."""
    bench.write("big", os.urandom(2 * MEGABYTE))
    bench.write("empty", "")
    bench.write("deep/er/file", "content", 0o640)
    bench.write("deep/it's a [name]* with?\\ signs", "odd")
    bench.write("deep/Umläute ☃", "snow")
    bench.write("set-id", "x", 0o4755)
    (bench.source / "link").symlink_to("deep/er/file")
    os.utime(bench.source / "deep/er/file", (1_000_000_000, 1_000_000_000))


def tree(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return kind and mode, time, and content of all that is in a folder, by relative name."""
    return {
        str(entry.relative_to(folder)): (
            entry.lstat().st_mode,
            entry.lstat().st_mtime_ns,
            _content(entry),
        )
        for entry in sorted(folder.rglob("*"))
    }


def _content(entry: Path) -> bytes:
    if entry.is_symlink():
        return os.fsencode(entry.readlink())
    return entry.read_bytes() if entry.is_file() else b""


def test_a_probe_creates_nothing(empty_bench: Bench) -> None:
    """A repository that is not there is told, and is still not there."""
    with pytest.raises(EngineError) as caught:
        empty_bench.engine().probe()

    assert FailureClass.REPO_NOT_FOUND is caught.value.failure
    assert not (empty_bench.folder / "repo").exists()


def test_initialise_creates_once(empty_bench: Bench) -> None:
    """The id stays, whoever asks for it and however often."""
    guid = empty_bench.engine().initialise()

    assert 64 == len(bytes.fromhex(guid)) * 2
    assert guid == empty_bench.engine().initialise()
    assert guid == empty_bench.engine().probe()


def test_a_snapshot_tells_whether_it_holds_a_file(bench: Bench) -> None:
    """Folders and links are none; of many files the first one is enough."""
    (bench.source / "folder").mkdir()
    (bench.source / "link").symlink_to("folder")
    bench.backup()
    for number in range(2000):
        bench.write(f"folder/{number}", "")
    bench.backup()
    void, full = bench.engine().snapshots(bench.plan(), INSTANCE)

    assert not bench.engine().holds_file(void)
    assert bench.engine().holds_file(full)


def test_a_snapshot_that_is_gone_holds_nothing_known(bench: Bench) -> None:
    """That is no answer, but a failure."""
    bench.write("file", "")
    bench.backup()
    [snapshot] = bench.engine().snapshots(bench.plan(), INSTANCE)

    with pytest.raises(EngineError):
        bench.engine().holds_file(replace(snapshot, id="0" * 64))


def test_what_is_backed_up_is_listed_and_comes_back(bench: Bench) -> None:
    """Contents, modes, times and links; sizes in the listing are those of the files."""
    fill(bench)
    done = bench.backup()
    [snapshot] = bench.engine().snapshots(bench.plan(), INSTANCE)
    entries = {entry.path: entry for entry in bench.engine().entries(snapshot, str(bench.source))}
    target = bench.folder / "target"
    restored = bench.engine().restore(snapshot, [str(bench.source)], target, bench.reported.append)

    assert snapshot.is_called(done.snapshot)
    assert (str(bench.source),) == snapshot.paths
    assert done.stats is not None
    assert (6, 6) == (done.stats.files_new, done.stats.files_processed)
    assert done.stats.bytes_added > 2 * MEGABYTE
    assert ResultKind.SUCCESS is restored.kind
    assert tree(bench.source) == tree(target / str(bench.source).lstrip("/"))
    for name, (mode, mtime, content) in tree(bench.source).items():
        entry = entries[f"{bench.source}/{name}"]
        assert stat.S_IMODE(mode) == entry.mode
        assert mtime / 1e9 == pytest.approx(entry.mtime, abs=1e-3)
        assert entry.kind != "file" or len(content) == entry.size
    assert set(entries) == {str(bench.source), *(f"{bench.source}/{n}" for n in tree(bench.source))}


def fill_with_all_there_is(folder: Path) -> None:
    """Write whatever a file system of Linux can hold, under names that programs stumble over.

    Only root gives files away: without it all are our own.
    """
    owners = (33, 44) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    folder.chmod(0o2751)
    for name in (b"line\nbreak", b"-dash", b"no UTF-8 \xff", b"n" * 255, b"#hash", b"; rm", b" "):
        (folder / os.fsdecode(name)).write_bytes(name)
    (folder / "set-id").write_bytes(b"x")
    os.chown(folder / "set-id", *owners)
    (folder / "set-id").chmod(0o6751)
    (folder / "empty folder").mkdir(0o700)
    (folder / "sticky").mkdir()
    (folder / "sticky").chmod(0o1777)
    (folder / "dangling").symlink_to("nowhere\n")
    os.chown(folder / "dangling", *owners, follow_symlinks=False)
    os.mkfifo(folder / "fifo", 0o640)
    os.link(folder / "-dash", folder / "sticky" / "hard")
    with (folder / "hole").open("wb") as file:
        file.seek(8 * MEGABYTE)
        file.write(b"end")
    os.setxattr(folder / "-dash", "user.colour", b"blue\x00")
    entries = ((1, 6, -1), (2, 4, 33), (4, 4, -1), (16, 4, -1), (32, 0, -1))
    acl = b"\2\0\0\0" + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(folder / "line\nbreak", "system.posix_acl_access", acl)
    moment = 1_000_000_000_123_456_789
    for entry in (*folder.rglob("*"), folder):
        os.utime(entry, ns=(moment, moment), follow_symlinks=False)


def everything_of(folder: Path, can: Capabilities) -> dict[str, tuple[object, ...]]:
    """Return all of what is at and below a folder that an engine can give back."""
    found: dict[str, tuple[object, ...]] = {}
    first_names: dict[int, str] = {}
    for entry in sorted((folder, *folder.rglob("*"))):
        status, name = entry.lstat(), str(entry.relative_to(folder))
        attributes = {
            one: os.getxattr(entry, one, follow_symlinks=False)
            for one in os.listxattr(entry, follow_symlinks=False)
            if (can.acls if one.startswith("system.") else can.xattrs)
        }
        first = first_names.setdefault(status.st_ino, name) if can.hard_links else name
        step = round(can.time_resolution * 1e9)
        is_hollow = can.sparse and status.st_blocks * 512 < status.st_size
        owners = (status.st_uid, status.st_gid)
        times = status.st_mtime_ns // max(1, step)
        found[name] = (status.st_mode, owners, times, attributes, first, is_hollow, _content(entry))
    return found


def test_whatever_a_file_system_holds_comes_back(bench: Bench) -> None:
    """Modes, owners, times, links of both kinds, attributes, lists of access, holes, odd names."""
    fill_with_all_there_is(bench.source)
    bench.backup()
    bench.write("-dash", "changed")
    bench.backup()
    first = bench.engine().snapshots(bench.plan(), INSTANCE)[0]
    (bench.source / "-dash").write_bytes(b"-dash")
    os.utime(bench.source / "-dash", ns=(1_000_000_000_123_456_789,) * 2)
    (bench.source / "-dash").chmod(0o644)
    os.utime(bench.source, ns=(1_000_000_000_123_456_789,) * 2)
    target = bench.folder / "target"
    done = bench.engine().restore(first, [str(bench.source)], target, bench.reported.append)
    can = bench.engine().capabilities()
    again = target / str(bench.source).lstrip("/")

    assert (ResultKind.SUCCESS, "") == (done.kind, done.reason)
    assert everything_of(bench.source, can) == everything_of(again, can)


def test_two_backups_at_once_are_two_snapshots(bench: Bench) -> None:
    """One after the other within a second, in the order in which they were made."""
    bench.write("file", "x")
    made = [bench.backup().snapshot for _ in range(2)]
    listed = bench.engine().snapshots(bench.plan(), INSTANCE)

    assert made[0] != made[1]
    assert [True, True] == [one.is_called(name) for one, name in zip(listed, made, strict=True)]


def test_entries_are_those_at_and_below_a_path(bench: Bench) -> None:
    """A folder, one file, what is not there, and all."""
    fill(bench)
    bench.backup()
    engine = bench.engine()
    [snapshot] = engine.snapshots(None, INSTANCE)

    def paths(path: str) -> set[str]:
        return {entry.path for entry in engine.entries(snapshot, path)}

    deep = f"{bench.source}/deep/er"
    assert {deep, f"{deep}/file"} == paths(deep)
    assert {f"{deep}/file"} == paths(f"{deep}/file")
    assert set() == paths(f"{bench.source}/absent")
    assert paths(str(bench.source)) < paths("/")


def test_the_children_of_a_folder_are_what_lies_directly_in_it(bench: Bench) -> None:
    """The folder first; of a file only itself, of the root what is in it, of nothing nothing."""
    fill(bench)
    bench.backup()
    engine = bench.engine()
    [snapshot] = engine.snapshots(None, INSTANCE)

    def paths(path: str) -> list[str]:
        return [entry.path for entry in engine.children(snapshot, path)]

    deep = f"{bench.source}/deep"
    inside = {f"{deep}/{name}" for name in ("er", "it's a [name]* with?\\ signs", "Umläute ☃")}
    assert deep == paths(deep)[0]
    assert inside == set(paths(deep)[1:])
    assert [f"{bench.source}/big"] == paths(f"{bench.source}/big")
    assert [] == paths(f"{bench.source}/absent")
    assert [f"/{bench.source.parts[1]}"] == paths("/")


def test_what_differs_between_two_snapshots_is_told_with_its_sizes(bench: Bench) -> None:
    """What is new, gone, changed or of another kind; not what has only other permissions."""
    fill(bench)
    bench.write("becomes a folder", "x")
    bench.write(os.fsdecode(b"gone \xff\n"), "gone")
    bench.backup()
    bench.write("deep/er/file", "another content")
    bench.write("deep/new/file", "new")
    (bench.source / "becomes a folder").unlink()
    bench.write("becomes a folder/within", "w")
    (bench.source / os.fsdecode(b"gone \xff\n")).unlink()
    (bench.source / "big").chmod(0o600)
    bench.backup()
    engine = bench.engine()
    older, newer = engine.snapshots(bench.plan(), INSTANCE)
    changes = [
        (
            one.kind.value,
            one.path.removeprefix(f"{bench.source}/"),
            one.before and (one.before.kind, one.before.size),
            one.after and (one.after.kind, one.after.size),
        )
        for one in engine.changes(older, newer)
    ]
    expected = [
        ("changed", "becomes a folder", ("file", 1), ("dir", 0)),
        ("added", "becomes a folder/within", None, ("file", 1)),
        ("changed", "deep/er/file", ("file", 7), ("file", 15)),
        ("added", "deep/new", None, ("dir", 0)),
        ("added", "deep/new/file", None, ("file", 3)),
        ("removed", "gone \ufffd\n", ("file", 4), None),
    ]

    assert expected == changes
    assert [] == list(engine.changes(newer, newer))


def test_a_content_is_read_as_it_is(bench: Bench) -> None:
    """Every byte of it, whatever the name; nothing of what is no file, or not there."""
    content = os.urandom(2 * MEGABYTE) + b"\0\r\n\xff"
    fill(bench)
    bench.write("bytes", content)
    bench.write(os.fsdecode(b"-odd\n\xff *"), "odd")
    bench.backup()
    engine = bench.engine()
    [snapshot] = engine.snapshots(None, INSTANCE)

    def read(name: str) -> bytes:
        pieces: list[bytes] = []
        engine.read_file(snapshot, f"{bench.source}/{name}", pieces.append)
        return b"".join(pieces)

    assert content == read("bytes")
    assert b"odd" == read(os.fsdecode(b"-odd\n\xff *"))
    assert b"" == read("empty")
    for name in ("deep", "link", "absent"):
        pieces: list[bytes] = []
        with pytest.raises(EngineError):
            engine.read_file(snapshot, f"{bench.source}/{name}", pieces.append)
        assert [] == pieces
    with pytest.raises(EngineError):
        engine.read_file(snapshot, "/", pieces.append)


def test_a_repository_tells_what_it_takes(bench: Bench) -> None:
    """All of it, and that of one plan; of a plan without snapshots nothing."""
    bench.write("file", os.urandom(2 * MEGABYTE))
    bench.backup()
    bench.backup(bench.plan("other"))
    engine = bench.engine()
    whole, web, none = (
        engine.stored_bytes(plan, INSTANCE) for plan in (None, bench.plan(), bench.plan("none"))
    )

    assert whole is not None
    assert web is not None
    assert 2 * MEGABYTE <= web <= whole
    assert 0 == none


def test_looking_takes_no_lock_and_changes_nothing(bench: Bench) -> None:
    """Every file of the repository is as it was."""
    fill(bench)
    bench.backup()
    bench.backup()
    repository = bench.folder / "repo"
    before = tree(repository)
    engine = bench.engine()
    older, newer = engine.snapshots(bench.plan(), INSTANCE)
    list(engine.entries(older, "/"))
    list(engine.children(older, str(bench.source)))
    list(engine.changes(older, newer))
    engine.read_file(newer, f"{bench.source}/big", lambda _: None)
    engine.stored_bytes(bench.plan(), INSTANCE)

    assert before == tree(repository)


def test_its_own_program_works_on_the_repository(bench: Bench) -> None:
    """It has the credentials by its environment alone, and no word more than it needs."""
    bench.write("file", "content")
    bench.backup()
    words = {
        "restic": ("snapshots", "--json"),
        "rsync": ("--list-only", "repo:/web/snapshots/"),
    }
    command = bench.engine().render_own(words[_program_of(bench)])
    done = bench.runner.run(command.argv, env=command.env)
    [snapshot] = bench.engine().snapshots(None, INSTANCE)

    assert (0, b"") == (done.status, done.err)
    assert snapshot.short.rpartition("@")[2] in done.out.decode()
    assert PASSWORD not in " ".join(command.argv)


def test_mounting_is_refused_where_it_cannot_be_done(bench: Bench) -> None:
    """Else the command names the folder, and has the credentials in its environment."""
    engine = bench.engine()
    if not engine.capabilities().mount:
        with pytest.raises(EngineError):
            engine.render_mount(None, INSTANCE, "/mnt")
        return
    command = engine.render_mount(bench.plan(), INSTANCE, "/mnt")

    assert "/mnt" == command.argv[-1]
    assert PASSWORD in command.env.values()
    assert PASSWORD not in command.argv


def _program_of(bench: Bench) -> str:
    return type(bench.engine()).__name__.removesuffix("Engine").lower()


def test_owners_and_attributes_are_told(bench: Bench) -> None:
    """Whatever names the entries have."""
    odd = bench.write(os.fsdecode(b"deep/odd\n\xff"), "odd")
    bench.write("plain", "plain")
    os.setxattr(odd, "user.colour", b"blue\x00")
    bench.backup()
    engine = bench.engine()
    [snapshot] = engine.snapshots(None, INSTANCE)
    owners = {(one.user, one.group) for one in engine.entries(snapshot, str(bench.source))}

    def attributes(path: Path) -> list[EntryAttributes]:
        return list(engine.attributes(snapshot, str(path)))

    expected = [EntryAttributes(os.fsencode(odd), {"user.colour": b"blue\x00"})]
    assert {(os.geteuid(), os.getegid())} == owners
    assert expected == attributes(bench.source) == attributes(odd.parent)
    assert [] == attributes(bench.source / "plain") == attributes(bench.source / "absent")


def test_restore_takes_names_as_they_are(bench: Bench) -> None:
    """A name full of signs is no pattern: only that file comes back."""
    fill(bench)
    wanted = bench.write("deep/*", "star")
    bench.backup()
    [snapshot] = bench.engine().snapshots(None, INSTANCE)
    target = bench.folder / "target"
    done = bench.engine().restore(snapshot, [str(wanted)], target, bench.reported.append)

    assert ResultKind.SUCCESS is done.kind
    assert [target / str(wanted)[1:]] == [entry for entry in target.rglob("*") if entry.is_file()]


def test_restore_of_what_is_not_there_fails(bench: Bench) -> None:
    """Restoring nothing is no success; nor is anything written."""
    fill(bench)
    bench.backup()
    [snapshot] = bench.engine().snapshots(None, INSTANCE)
    includes = [f"{bench.source}/big", f"{bench.source}/absent"]
    target = bench.folder / "target"
    done = bench.engine().restore(snapshot, includes, target, bench.reported.append)

    assert (ResultKind.FAILED, FailureClass.SOURCE_MISSING) == (done.kind, done.failure)
    assert f"{bench.source}/absent" in done.reason
    assert not target.exists()


def test_nothing_is_restored_into_the_root(bench: Bench) -> None:
    """Whoever asked for it moves things in, or leaves what is there."""
    bench.write("file", "saved")
    bench.backup()
    file = bench.write("file", "changed")
    [snapshot] = bench.engine().snapshots(bench.plan(), INSTANCE)
    done = bench.engine().restore(snapshot, (), Path("/"), bench.reported.append)

    assert ResultKind.FAILED is done.kind
    assert "into the root" in done.reason
    assert "changed" == file.read_text()


def test_only_what_is_new_is_saved_again(bench: Bench) -> None:
    """The plan's last snapshot is what a backup is compared with."""
    bench.write("big", os.urandom(MEGABYTE))
    bench.backup()
    bench.write("small", "x")
    stats = bench.backup().stats

    assert stats is not None
    assert (1, 1) == (stats.files_new, stats.files_unmodified)
    assert stats.bytes_added < MEGABYTE / 2


def test_excludes_are_left_out(bench: Bench) -> None:
    """Patterns and absolute paths, with attention to case and without."""
    for name in ("keep", "a.tmp", "B.LOG", "cache/x"):
        bench.write(name, name)
    excludes = ("*.tmp", f"{bench.source}/cache")
    bench.backup(bench.plan(excludes=excludes, iexcludes=("*.log",)))
    [snapshot] = bench.engine().snapshots(None, INSTANCE)
    entries = bench.engine().entries(snapshot, str(bench.source))

    assert {str(bench.source), f"{bench.source}/keep"} == {entry.path for entry in entries}


def test_a_missing_path_fails_the_whole_plan(bench: Bench) -> None:
    """An unmounted disk must not look like a good backup."""
    bench.write("file", "x")
    plan = bench.plan("web", bench.source, bench.folder / "absent")
    done = save(bench.engine(), plan, bench.reported.append)

    assert (ResultKind.FAILED, FailureClass.SOURCE_MISSING) == (done.kind, done.failure)
    assert str(bench.folder / "absent") in done.reason
    assert [] == bench.names()


def test_snapshots_are_those_of_the_plan_oldest_first(bench: Bench) -> None:
    """Other plans' and other instances' are not."""
    bench.write("file", "x")
    mine, other = bench.plan("web"), bench.plan("web2")
    for plan in (mine, other, mine):
        bench.backup(plan)
    foreign = save(bench.engine(), mine, bench.reported.append, "elsewhere")
    times = [snapshot.time for snapshot in bench.engine().snapshots(mine, INSTANCE)]

    assert ResultKind.SUCCESS is foreign.kind
    assert (2, 1, 4) == (len(times), len(bench.names(other)), len(bench.names()))
    assert sorted(times) == times
    assert all(time.tzinfo for time in times)


def test_forget_touches_the_plan_only(bench: Bench) -> None:
    """The newest are kept; other plans and other instances lose nothing."""
    bench.write("file", "x")
    mine, other = bench.plan("web"), bench.plan("web2")
    for plan in (mine, other, other, mine):
        bench.backup(plan)
    save(bench.engine(), mine, bench.reported.append, "elsewhere")
    newest = bench.names(mine)[-1]
    done = bench.engine().forget(mine, INSTANCE, Retention(last=1))

    assert (ResultKind.SUCCESS, "") == (done.kind, done.reason)
    assert [newest] == bench.names(mine)
    assert (2, 4) == (len(bench.names(other)), len(bench.names()))


def test_forget_all_treats_each_plan_apart(bench: Bench) -> None:
    """One of each stays, however many the others have."""
    bench.write("file", "x")
    plans = bench.plan("web"), bench.plan("web2")
    for plan in (*plans, plans[1]):
        bench.backup(plan)
    done = bench.engine().forget_all(Retention(last=1))

    assert (ResultKind.SUCCESS, "") == (done.kind, done.reason)
    assert [1, 1] == [len(bench.names(plan)) for plan in plans]


def test_retention_that_keeps_nothing_is_refused(bench: Bench) -> None:
    """A wrong retention deletes data: better none at all."""
    bench.backup()
    refused = [
        bench.engine().forget(bench.plan(), INSTANCE, Retention()),
        bench.engine().forget_all(Retention()),
        bench.engine().forget(bench.plan(), INSTANCE, Retention(daily=-1)),
        bench.engine().forget_all(Retention(daily=-1)),
        bench.engine().forget(bench.plan(), "", Retention(last=1)),
    ]

    assert {ResultKind.FAILED} == {done.kind for done in refused}
    assert all(done.reason for done in refused)
    assert 1 == len(bench.names())


def test_retention_that_keeps_all_deletes_nothing(bench: Bench) -> None:
    """And that is a success."""
    bench.backup()
    bench.backup()
    done = bench.engine().forget(bench.plan(), INSTANCE, Retention(keep_all=True))

    assert ResultKind.SUCCESS is done.kind
    assert 2 == len(bench.names())


def test_prune_frees_what_no_snapshot_uses(bench: Bench) -> None:
    """Not before it where it takes one, and afterwards the rest is sound."""

    def used() -> int:
        return sum(file.stat().st_size for file in (bench.folder / "repo").rglob("*"))

    bench.write("big", os.urandom(4 * MEGABYTE))
    bench.backup()
    bench.write("big", "small now")
    bench.backup()
    before = used()
    bench.engine().forget(bench.plan(), INSTANCE, Retention(last=1))
    forgotten = before - used()
    pruned = bench.engine().prune(PrunePolicy(max_unused_bytes=1000))
    checked = bench.engine().check(CheckPolicy(read_data_subset_percent=100))

    assert (ResultKind.SUCCESS, ResultKind.SUCCESS) == (pruned.kind, checked.kind)
    assert before - used() > 3 * MEGABYTE
    assert (forgotten < MEGABYTE) is bench.engine().capabilities().prune


def test_check_finds_damage(bench: Bench) -> None:
    """Whatever is stored broken: no engine may miss that."""
    bench.write("big", os.urandom(MEGABYTE))
    bench.backup()
    bench.damage()
    done = bench.engine().check(CheckPolicy(read_data_subset_percent=100))

    assert (ResultKind.FAILED, FailureClass.DAMAGED) == (done.kind, done.failure)
    assert done.excerpt


def test_a_lock_that_is_held_is_respected(bench: Bench) -> None:
    """Who holds it is told, and keeps it; once the holder is dead it is in nobody's way."""
    bench.write("file", "x")
    made = [bench.backup().snapshot for _ in range(2)]
    with bench.locked() as pid:
        refused = bench.engine().forget(bench.plan(), INSTANCE, Retention(last=1))
        unlocked = bench.engine().unlock()
        still = bench.engine().forget(bench.plan(), INSTANCE, Retention(last=1))
        left = bench.names(bench.plan())
    done = bench.engine().forget(bench.plan(), INSTANCE, Retention(last=1))

    for one in (refused, still):
        assert (ResultKind.FAILED, FailureClass.LOCKED) == (one.kind, one.failure)
        assert f"PID {pid}" in one.reason
    assert ResultKind.SUCCESS is unlocked.kind
    assert len(made) == len(left)
    assert (ResultKind.SUCCESS, "") == (done.kind, done.reason)
    assert 1 == len(bench.names(bench.plan()))


def test_a_wrong_passphrase_is_told(bench: Bench) -> None:
    """By every engine that encrypts, and nothing is written with it; others ask for none."""
    bench.write("file", "x")
    wrong = bench.engine(password="wrong horse")
    done = save(wrong, bench.plan(), bench.reported.append)

    if bench.engine().capabilities().encryption:
        with pytest.raises(EngineError) as caught:
            wrong.probe()
        assert FailureClass.WRONG_PASSWORD is caught.value.failure is done.failure
        assert "the password is wrong" in done.reason
        assert [] == bench.names()
    else:
        assert ResultKind.SUCCESS is done.kind
    bench.backup()


def test_on_a_full_disk_nothing_counts_that_is_not_whole(empty_bench: Bench) -> None:
    """It is told as such; what was there stays, and once there is room the next one succeeds."""
    bench, store = empty_bench, empty_bench.folder / "repo"
    store.mkdir()
    with mounted(store, "-t", "tmpfs", "-o", "size=8m", "none"):
        bench.engine().initialise()
        bench.write("big", os.urandom(MEGABYTE))
        bench.backup()
        before = bench.names(bench.plan())
        bench.write("big", os.urandom(4 * MEGABYTE))
        filler = store / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(store).free - 2 * MEGABYTE))
        full = save(bench.engine(), bench.plan(), bench.reported.append)
        left = bench.names(bench.plan())
        filler.unlink()
        bench.backup()
        checked = bench.engine().check(CheckPolicy(read_data_subset_percent=100))

        assert (ResultKind.FAILED, FailureClass.DISK_FULL) == (full.kind, full.failure)
        assert full.reason.startswith("there is no space left")
        assert before == left
        assert 2 == len(bench.names(bench.plan()))
        assert (ResultKind.SUCCESS, "") == (checked.kind, checked.reason)


def test_a_time_chooses_the_newest_snapshot_not_after_it(bench: Bench, journal: Journal) -> None:
    """Before the first there is none, and it is told when that was."""
    for text in ("first", "second"):
        bench.write("page", text)
        bench.backup()
    first, second = bench.engine().snapshots(bench.plan(), INSTANCE)
    between = first.time + (second.time - first.time) / 2
    restorer = Restorer(bench.engine(), journal, None, now=lambda: 1000.0)
    wish = RestoreRequest(bench.plan(), INSTANCE, target=str(bench.folder / "then"), at=between)
    ended = restorer.run(restorer.prepare(wish))
    with pytest.raises(RestoreError) as caught:
        restorer.prepare(replace(wish, at=first.time - timedelta(seconds=1)))

    assert (RunOutcome.SUCCESS, "") == (ended.outcome, ended.reason)
    assert "first" == (bench.folder / "then" / "page").read_text()
    assert "the oldest snapshot of web is of" in caught.value.message
    assert "name that time or a later one" == caught.value.hint


def test_unlock_of_what_nobody_holds_succeeds(bench: Bench) -> None:
    """It is done before every backup."""
    assert ResultKind.SUCCESS is bench.engine().unlock().kind


def test_what_a_retention_keeps_otherwise_is_told(bench: Bench) -> None:
    """That is the oldest snapshot, while a rule of time is not full; before anything is forgotten."""
    keeps = Retention(daily=7)
    told = [bench.engine().remark([one]) for one in (Retention(last=2), keeps)]
    for _ in range(3):
        bench.backup()
    bench.engine().forget(bench.plan(), INSTANCE, keeps)
    is_oldest_kept = 2 == len(bench.names(bench.plan()))

    assert [False, not is_oldest_kept] == ["oldest" in one for one in told]


def test_progress_is_reported(bench: Bench) -> None:
    """Fractions between nothing and all, and all at the end."""
    for number in range(20):
        bench.write(f"{number}", os.urandom(MEGABYTE))
    bench.backup()

    assert (1.0, 20 * MEGABYTE) == (bench.reported[-1].fraction, bench.reported[-1].bytes)
    for progress in bench.reported:
        assert 0.0 <= progress.fraction <= 1.0
        assert 0 <= progress.bytes <= 20 * MEGABYTE


def test_a_backup_that_is_stopped_says_so_and_the_next_succeeds(bench: Bench) -> None:
    """The runner stops while it runs; nothing is left in the way."""
    bench.write("big", os.urandom(8 * MEGABYTE))
    began = threading.Event()
    bench.on_start = lambda _: began.set()
    engine = bench.engine()
    results = []
    thread = threading.Thread(
        target=lambda: results.append(save(engine, bench.plan(), lambda _: None))
    )
    thread.start()
    assert began.wait(30)
    bench.runner.stop_all()
    thread.join()
    refused = save(bench.engine(), bench.plan(), bench.reported.append)
    bench.runner.allow()

    for done in (results[0], refused):
        assert (ResultKind.FAILED, FailureClass.INTERRUPTED) == (done.kind, done.failure)
    assert bench.backup().snapshot
    assert (
        ResultKind.SUCCESS is bench.engine().forget(bench.plan(), INSTANCE, Retention(last=1)).kind
    )


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_program_that_is_killed_leaves_no_half_snapshot(
    bench: Bench, end: signal.Signals
) -> None:
    """Whichever it is that a backup runs; the next one succeeds."""
    bench.write("big", os.urandom(MEGABYTE))
    bench.backup()
    for number in count(1):
        bench.write("file", f"{number}")
        before = bench.names()
        killed = kill_at_start(bench, number, end)
        done = save(bench.engine(), bench.plan(), bench.reported.append)
        bench.on_start = None
        if not killed:
            break
        assert bench.names() == before or done.kind is not ResultKind.FAILED
        assert bench.backup().snapshot
        assert ResultKind.SUCCESS is bench.engine().check(CheckPolicy()).kind

    assert (ResultKind.SUCCESS, "") == (done.kind, done.reason)


def kill_at_start(bench: Bench, number: int, end: signal.Signals) -> list[int]:
    """Kill the program that is started as the n-th from now on; its number will be listed."""
    started: list[int] = []
    killed: list[int] = []

    def begin(child: Child) -> None:
        started.append(child.pid)
        if len(started) == number:
            killed.append(child.pid)
            os.kill(child.pid, end)

    bench.on_start = begin
    return killed


def test_the_children_are_told(bench: Bench) -> None:
    """Somebody can end them if the runner dies."""
    pids = []
    bench.on_start = lambda child: pids.append(child.pid)
    bench.backup()

    assert pids
    assert all(pid > 1 for pid in pids)
