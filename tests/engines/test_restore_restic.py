"""Restoring with the real restic: real data, to where it lives and elsewhere."""

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.engines.base import CommandResult, FailureClass, ResultKind, Snapshot
from sidecar.lib.errors import UsageError
from sidecar.runner.due import JobKind
from sidecar.runner.journal import Journal, JournalError, RunOutcome
from sidecar.runner.restore.choose import RestoreError, RestoreRequest
from sidecar.runner.restore.places import Effect
from sidecar.runner.restore.restore import Restorer
from sidecar.runner.restore.staging import PREFIX
from tests.engines.bench import INSTANCE, ResticBench


class Restoring:
    """Restores on a bench, as an operator asks for it."""

    def __init__(self, bench: ResticBench, journal: Journal) -> None:
        self.bench = bench
        self.journal = journal
        self.restorer = Restorer(bench.engine(), journal, None, now=lambda: 1000.0)

    def request(self, name: str = "web", **wanted: object) -> RestoreRequest:
        """Wish something of a plan."""
        return RestoreRequest(self.bench.plan(name), INSTANCE, **wanted)  # type: ignore[arg-type]

    def run(self, name: str = "web", **wanted: object) -> None:
        """Restore, which has to succeed."""
        ended = self.restorer.run(self.restorer.prepare(self.request(name, **wanted)))
        assert (RunOutcome.SUCCESS, "") == (ended.outcome, ended.reason)

    def refused(self, **wanted: object) -> RestoreError:
        """Restore, which has to be refused."""
        with pytest.raises(RestoreError) as caught:
            self.run("web", **wanted)
        return caught.value


@pytest.fixture
def restoring(restic: ResticBench, journal: Journal) -> Restoring:
    """Return a bench on which can be restored."""
    return Restoring(restic, journal)


@pytest.fixture
def source(restic: ResticBench) -> Path:
    """Back up data of all sorts; give the folder."""
    restic.write("page", "first", 0o640)
    restic.write("deep/er/file", os.urandom(3_000_000))
    restic.write("deep/gone", "gone", 0o4711)
    folder = restic.source
    os.link(folder / "page", folder / "deep" / "hard")
    (folder / "soft").symlink_to("deep/er")
    (folder / "dangling").symlink_to("/nowhere")
    (folder / "empty").mkdir(mode=0o1777)
    os.setxattr(folder / "page", "user.colour", b"blue")
    os.setxattr(folder, "user.kind", b"data")
    os.utime(folder / "page", ns=(10**18, 10**18 + 123_456_789))
    os.utime(folder / "deep", ns=(10**18, 10**18 + 1))
    if os.geteuid() == 0:
        os.chown(folder / "deep", 4321, 8765)
        os.chown(folder, 1234, 5678)
    folder.chmod(0o2750)
    os.utime(folder, ns=(10**18, 10**18 + 7))
    restic.backup()
    return folder


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return all that can be seen of a folder and of what is in it."""
    entries = [folder, *sorted(folder.rglob("*"))]
    return {str(entry.relative_to(folder)): look(entry) for entry in entries}


def look(entry: Path) -> tuple[object, ...]:
    """Return all that can be seen of one entry."""
    held = entry.lstat()
    content: object = ""
    if entry.is_symlink():
        content = entry.readlink()
    elif entry.is_file():
        content = entry.read_bytes()
    attributes = () if entry.is_symlink() else tuple(os.listxattr(entry))
    links = 0 if entry.is_dir() else held.st_nlink
    return held.st_mode, held.st_uid, held.st_gid, held.st_mtime_ns, links, attributes, content


def test_a_name_that_is_no_utf8_comes_back_with_its_folder(
    restoring: Restoring, restic: ResticBench, tmp_path: Path
) -> None:
    """By itself it is refused, with what to write."""
    odd = os.fsdecode(b"od\xffd")
    restic.write(f"deep/{odd}", "first")
    restic.backup()

    with pytest.raises(UsageError) as caught:
        restoring.run(paths=(f"{restic.source}/deep/{odd}",), target=str(tmp_path / "to"))
    hint = caught.value.hint
    assert f"--path {restic.source}/deep" == hint[hint.index("--path") :]
    restoring.run(paths=(f"{restic.source}/deep",), target=str(tmp_path / "to"))

    assert "first" == (tmp_path / "to" / odd).read_text()


def litter(folder: Path) -> list[Path]:
    """Find what a restore has left of its own."""
    return list(folder.parent.rglob(f"{PREFIX}*"))


def spoil(folder: Path) -> None:
    """Do to a folder whatever people do by mistake."""
    (folder / "page").unlink()
    (folder / "page").write_text("second")
    (folder / "deep" / "gone").unlink()
    (folder / "new").mkdir()
    (folder / "new" / "thing").write_text("new")
    (folder / "empty").rmdir()
    (folder / "empty").write_text("a file now")
    os.removexattr(folder, "user.kind")
    os.setxattr(folder, "user.strange", b"new")
    folder.chmod(0o700)


def test_in_place_everything_is_as_it_was(restoring: Restoring, source: Path) -> None:
    """Content, owner, mode, times, links, attributes; and what came since is gone."""
    before, inode = tree(source), source.stat().st_ino
    spoil(source)

    restoring.run(in_place=True)

    assert before == tree(source)
    assert (source / "page").stat().st_ino == (source / "deep" / "hard").stat().st_ino
    assert (inode, []) == (source.stat().st_ino, litter(source))


def test_what_is_there_is_not_touched_unasked(restoring: Restoring, source: Path) -> None:
    """The refusal names the place and what to write."""
    spoil(source)
    before = tree(source)

    error = restoring.refused()

    assert f"{source} is a folder with contents: nothing was touched" == error.message
    assert "--in-place" in error.hint
    assert (before, []) == (tree(source), litter(source))


def test_what_is_missing_comes_back_unasked(restoring: Restoring, source: Path) -> None:
    """So do the folders on the way to it, with their owners and modes."""
    before, above = tree(source / "deep" / "er"), [look(source), look(source / "deep")]
    source.rename(source.with_name("aside"))

    restoring.run(paths=(f"{source}/deep/er",))

    assert (before, []) == (tree(source / "deep" / "er"), litter(source))
    assert [one[:3] for one in above] == [look(source)[:3], look(source / "deep")[:3]]


def test_an_empty_folder_is_filled_unasked(restoring: Restoring, source: Path) -> None:
    """And gets the owner, the mode and the time that it had."""
    before = tree(source)
    source.rename(source.with_name("aside"))
    source.mkdir()

    restoring.run()

    assert before == tree(source)


def test_a_single_folder_lies_in_the_target_itself(
    restoring: Restoring, source: Path, tmp_path: Path
) -> None:
    """Not below its full path; a target that is new gets the folder's owner and mode."""
    target = tmp_path / "far" / "target"

    restoring.run(target=str(target))

    assert tree(source) == tree(target)
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o755


def test_a_part_of_a_plan_can_be_restored(
    restoring: Restoring, source: Path, tmp_path: Path
) -> None:
    """A folder's contents lie in the target, a file below it by its name."""
    restoring.run(paths=(f"{source}/deep",), target=str(tmp_path / "one"))
    restoring.run(paths=(f"{source}/deep/gone",), target=str(tmp_path / "two"))

    assert ["er", "gone", "hard"] == sorted(os.listdir(tmp_path / "one"))
    assert ["gone"] == os.listdir(tmp_path / "two")
    assert look(source / "deep" / "gone") == look(tmp_path / "two" / "gone")


def test_several_paths_lie_below_the_target_by_their_full_paths(
    restoring: Restoring, source: Path, tmp_path: Path
) -> None:
    """So that they cannot get into each other's way; one inside another counts once."""
    wanted = (f"{source}/page", f"{source}/deep", f"{source}/deep/er")
    target = tmp_path / "target"

    restoring.run(paths=wanted, target=str(target))

    below = target / str(source).lstrip("/")
    assert ["deep", "page"] == sorted(os.listdir(below))
    assert tree(source / "deep" / "er") == tree(below / "deep" / "er")


def test_a_target_with_contents_is_left_alone(
    restoring: Restoring, source: Path, tmp_path: Path
) -> None:
    """Without --force nothing comes near it."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").write_text("mine")

    error = restoring.refused(target=str(target))

    assert "--force" in error.hint
    assert ["mine"] == os.listdir(target)
    assert source.exists()


def test_force_overwrites_only_what_has_the_same_name(
    restoring: Restoring, source: Path, tmp_path: Path
) -> None:
    """Whatever else the target holds stays, at every depth; its own mode does too."""
    target = tmp_path / "target"
    (target / "deep" / "er").mkdir(parents=True)
    (target / "deep" / "er" / "mine").write_text("mine")
    (target / "deep" / "gone").symlink_to("/etc/passwd")
    (target / "page").write_text("old")
    target.chmod(0o700)

    restoring.run(target=str(target), force=True)

    assert "mine" == (target / "deep" / "er" / "mine").read_text()
    assert look(source / "deep" / "gone") == look(target / "deep" / "gone")
    assert "first" == (target / "page").read_text()
    assert 0o700 == stat.S_IMODE(target.stat().st_mode)
    assert look(source / "deep")[:4] == look(target / "deep")[:4]


def test_force_does_not_put_a_file_in_place_of_a_folder(
    restoring: Restoring, source: Path, tmp_path: Path
) -> None:
    """What cannot be merged is refused before anything is."""
    target = tmp_path / "target"
    (target / "page").mkdir(parents=True)

    error = restoring.refused(target=str(target), force=True)

    assert f"{target}/page is a folder here" in error.message
    assert (["page"], True) == (os.listdir(target), source.exists())


def test_a_file_goes_back_to_its_place(restoring: Restoring, source: Path) -> None:
    """What lies beside it stays as it is; a link that has its name is replaced."""
    before = look(source / "page")
    (source / "page").unlink()
    (source / "page").symlink_to("new")
    (source / "new").write_text("new")

    error = restoring.refused(paths=(f"{source}/page",))
    restoring.run(paths=(f"{source}/page",), in_place=True)

    assert f"{source}/page is a symbolic link: nothing was touched" == error.message
    assert before[:4] == look(source / "page")[:4]
    assert "new" == (source / "new").read_text()


def test_a_symlink_comes_back_as_one(restoring: Restoring, source: Path) -> None:
    """Where it leads to does not matter."""
    (source / "dangling").unlink()

    restoring.run(paths=(f"{source}/dangling",))

    assert Path("/nowhere") == (source / "dangling").readlink()


def test_a_folder_is_not_restored_through_a_link(restoring: Restoring, source: Path) -> None:
    """Where it leads to may be anything by now; the path map says it openly."""
    source.rename(source.with_name("elsewhere"))
    source.symlink_to("elsewhere")

    error = restoring.refused(in_place=True)

    assert "is a symbolic link now" in error.message
    assert "--path-map" in error.hint


@pytest.mark.parametrize("name", ["deep/er", "deep/er/file"])
@pytest.mark.parametrize("linked", ["deep", ""])
def test_a_part_is_not_restored_through_a_link_that_came_since(
    restoring: Restoring, source: Path, tmp_path: Path, linked: str, name: str
) -> None:
    """It may lead to another's data; what lies there stays as it is."""
    theirs = tmp_path / "theirs"
    (source / linked).rename(theirs)
    before = tree(theirs)
    (source / linked).symlink_to(theirs)

    error = restoring.refused(in_place=True, paths=(f"{source}/{name}",))

    assert f"{source / linked} is a symbolic link now, and a folder in the snapshot" in (
        error.message
    )
    assert (before, []) == (tree(theirs), litter(theirs))


def test_a_link_in_a_target_is_not_followed(
    restoring: Restoring, source: Path, tmp_path: Path
) -> None:
    """Not even by force; the target itself may be one, for whoever restores has named it."""
    theirs, real = tmp_path / "theirs", tmp_path / "real"
    paths = (f"{source}/deep", f"{source}/page")
    (real / str(source.parent).lstrip("/")).mkdir(parents=True)
    theirs.mkdir()
    (tmp_path / "target").symlink_to(real)
    planted = tmp_path / "target" / str(source).lstrip("/")
    planted.symlink_to(theirs)

    error = restoring.refused(paths=paths, target=str(tmp_path / "target"), force=True)
    planted.unlink()
    restoring.run(paths=paths, target=str(tmp_path / "target"), force=True)

    assert f"{planted} is a symbolic link now" in error.message
    assert [] == list(theirs.iterdir())
    assert "first" == (planted / "page").read_text()


def test_a_link_above_what_was_saved_is_the_operators_own(
    restoring: Restoring, source: Path
) -> None:
    """Disks are moved, and a link put in their place."""
    (source / "page").write_text("second")
    bench = source.parent
    bench.rename(bench.with_name("moved"))
    bench.symlink_to("moved")

    restoring.run(in_place=True)

    assert "first" == (source / "page").read_text()


def test_the_path_map_leads_to_where_the_data_lives_now(
    restoring: Restoring, source: Path, tmp_path: Path
) -> None:
    """The longest prefix wins."""
    there = tmp_path / "there"
    path_map = ((str(source.parent), "/wrong"), (str(source), str(there)))

    restoring.run(path_map=path_map)

    assert tree(source) == tree(there)


def test_latest_is_the_plans_own(restoring: Restoring, source: Path, tmp_path: Path) -> None:
    """A newer snapshot of another plan or another instance is only had by its id."""
    bench = restoring.bench
    (source / "page").write_text("of another plan")
    bench.backup(bench.plan("other"))
    other = bench.names(bench.plan("other"))[0]

    restoring.run(paths=(f"{source}/page",), target=str(tmp_path / "own"))
    restoring.run(paths=(f"{source}/page",), target=str(tmp_path / "other"), snapshot=other[:10])

    assert "first" == (tmp_path / "own" / "page").read_text()
    assert "of another plan" == (tmp_path / "other" / "page").read_text()
    error = restoring.refused(snapshot="0123456789", target=str(tmp_path / "none"))
    assert "the repository has no snapshot 0123456789" == error.message


def test_an_empty_newest_snapshot_is_not_restored_over_live_data(
    restoring: Restoring, source: Path
) -> None:
    """The latest holds files; what was emptied comes back, and the plan says which was taken."""
    before = tree(source)
    kept = source.with_name("kept")
    source.rename(kept)
    source.mkdir()
    (source / "link").symlink_to("/nowhere")
    restoring.bench.backup()
    full, void = restoring.bench.names(restoring.bench.plan())

    plan = restoring.restorer.prepare(restoring.request(in_place=True))
    ended = restoring.restorer.run(plan)

    assert (full, f"1 newer snapshot holds no file ({void[:8]})") == (
        plan.snapshot.id,
        plan.passed_over,
    )
    assert before == tree(source)
    assert (full, plan.passed_over) == (ended.snapshot, ended.reason)


def test_an_empty_snapshot_is_restored_by_its_id(restoring: Restoring, source: Path) -> None:
    """Who names it means it."""
    kept = source.with_name("kept")
    source.rename(kept)
    source.mkdir()
    restoring.bench.backup()
    (source / "live").write_text("live")

    restoring.run(in_place=True, snapshot=restoring.bench.names()[-1])

    assert [] == list(source.iterdir())


def test_a_snapshot_of_the_future_is_restored_by_its_id_only(
    restic: ResticBench, journal: Journal
) -> None:
    """It was made while a clock was ahead: what was saved since is newer in truth."""
    file = restic.write("page", "of the wrong clock")
    restic.backup(restic.plan(backup_flags=("--time '2038-01-01 00:00:00'",)))
    file.write_text("saved since")
    restic.backup()
    file.write_text("live")
    now, ahead = restic.names(restic.plan())
    restorer = Restorer(restic.engine(), journal, None)
    request = RestoreRequest(restic.plan(), INSTANCE, in_place=True)

    plan = restorer.prepare(request)
    restorer.run(plan)

    assert (now, f"1 snapshot is ahead of the clock ({ahead[:8]})") == (
        plan.snapshot.id,
        plan.passed_over,
    )
    assert "saved since" == file.read_text()
    restorer.run(restorer.prepare(replace(request, snapshot=ahead)))
    assert "of the wrong clock" == file.read_text()


def test_what_the_snapshot_does_not_hold_is_told(
    restoring: Restoring, source: Path, tmp_path: Path
) -> None:
    """Restic itself succeeds at restoring nothing."""
    error = restoring.refused(paths=(f"{source}/nothing",), target=str(tmp_path / "target"))

    assert f"the snapshot does not hold {source}/nothing" == error.message
    assert not (tmp_path / "target").exists()


def test_a_plan_without_snapshots_is_told(restoring: Restoring, source: Path) -> None:
    """It is not confused with one whose snapshots are others'."""
    with pytest.raises(RestoreError, match="there is no snapshot of none"):
        restoring.run("none")
    assert source.exists()


def test_a_repository_that_is_damaged_leaves_what_was_there(
    restoring: Restoring, source: Path
) -> None:
    """The old data is better than half of the new; the run is recorded as failed."""
    packs = [one for one in (restoring.bench.folder / "repo" / "data").rglob("*") if one.is_file()]
    pack = max(packs, key=lambda one: one.stat().st_size)
    pack.chmod(0o600)
    pack.write_bytes(b"\0" * pack.stat().st_size)
    spoil(source)
    before = tree(source)

    error = restoring.refused(in_place=True)

    assert "nothing was touched" in error.message
    assert (before, []) == (tree(source), litter(source))


def test_a_dry_run_changes_nothing(restoring: Restoring, source: Path) -> None:
    """It tells what would be restored where, how much, and what would become of what is there."""
    spoil(source)
    before = tree(source)

    plan = restoring.restorer.survey(restoring.request(in_place=True))

    (step,) = plan.steps
    assert (str(source), str(source)) == (step.item.source, step.item.place)
    assert (Effect.REPLACE, 4) == (step.effect, plan.files)
    assert 3_000_000 < plan.bytes < 3_000_100
    assert before == tree(source)
    assert () == restoring.journal.runs.list()


def test_a_restore_is_recorded(restoring: Restoring, source: Path) -> None:
    """With the snapshot, and how much it was."""
    restoring.run(in_place=True)

    assert source.exists()
    (run,) = restoring.journal.runs.list("web")
    assert JobKind.RESTORE is run.job.kind
    assert run.ended is not None
    assert (RunOutcome.SUCCESS, restoring.bench.names()[0]) == (
        run.ended.outcome,
        run.ended.snapshot,
    )
    assert run.ended.stats is not None
    assert 4 == run.ended.stats.files_processed


def test_a_warning_of_one_path_is_told_beside_what_another_has_lost(
    restoring: Restoring, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing that differs explains it."""
    engine = restoring.restorer._engine
    restore = engine.restore

    def complain(snapshot: Snapshot, paths: Sequence[str], *more: Any) -> CommandResult:
        done = restore(snapshot, paths, *more)
        if paths == [f"{source}/page"]:
            next((tmp_path / "t").rglob("page")).chmod(0o600)
            return done
        return replace(done, kind=ResultKind.WARNING, reason="it looks odd")

    monkeypatch.setattr(engine, "restore", complain)
    (tmp_path / "t").mkdir()
    paths = (f"{source}/page", f"{source}/deep")
    request = restoring.request(target=str(tmp_path / "t"), paths=paths)
    ended = restoring.restorer.run(restoring.restorer.prepare(request))

    assert RunOutcome.WARNING is ended.outcome
    assert "permissions of 1 entry" in ended.reason
    assert "properties of 1 entry (it looks odd)" in ended.reason


def test_a_failed_restore_is_recorded(restoring: Restoring, source: Path) -> None:
    """What comes into the way between the look and the move is not overwritten."""
    source.rename(source.with_name("aside"))
    plan = restoring.restorer.prepare(restoring.request())
    source.mkdir()
    (source / "late").write_text("late")

    with pytest.raises(RestoreError, match=r"something has come to .* meanwhile"):
        restoring.restorer.run(plan)

    assert ["late"] == os.listdir(source)
    (run,) = restoring.journal.runs.list("web")
    assert run.ended is not None
    assert (RunOutcome.FAILED, FailureClass.UNKNOWN) == (run.ended.outcome, run.ended.failure)
    assert "meanwhile" in run.ended.reason


def test_signs_of_patterns_in_names_are_only_signs(
    restoring: Restoring, restic: ResticBench, tmp_path: Path
) -> None:
    """A name with stars and brackets is restored, and nothing else that they would match."""
    odd = restic.write("[a]*/x", "odd").parent
    restic.write("a/x", "other")
    restic.backup()

    restoring.run(paths=(str(odd),), target=str(tmp_path / "target"))

    assert "odd" == (tmp_path / "target" / "x").read_text()


def test_contradicting_wishes_are_refused(restoring: Restoring) -> None:
    """Before the repository is asked."""
    with pytest.raises(UsageError, match="--target and --in-place"):
        restoring.run(target="/t", in_place=True)


def test_too_little_space_is_told_before_anything_is_restored(
    restoring: Restoring, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is replaced is there until all is restored; --force tries it all the same."""
    spoil(source)
    monkeypatch.setattr("sidecar.runner.restore.restore.free_at", lambda _: (1, 1000))

    error = restoring.refused(in_place=True)
    restoring.run(in_place=True, force=True)

    assert FailureClass.DISK_FULL is error.failure
    assert f"3.0 MB more would be needed on the disk of {source}: nothing was touched" == (
        error.message
    )
    assert "first" == (source / "page").read_text()


def test_a_place_that_is_only_readable_is_told(
    restoring: Restoring, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is where the runner only backs up."""
    make = Path.mkdir

    def refuse(path: Path, mode: int = 0o777, **more: bool) -> None:
        if path.name.startswith(PREFIX):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        make(path, mode, **more)

    monkeypatch.setattr(Path, "mkdir", refuse)
    error = restoring.refused(in_place=True)

    assert FailureClass.PERMISSION is error.failure
    assert f"{source}/{PREFIX}" in error.message
    assert "mounted writable" in error.hint


def test_without_a_journal_it_is_restored_all_the_same(
    restoring: Restoring, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nothing has to be stopped: who restores has lost enough already."""

    def refuse(*_: object) -> int:
        raise JournalError("the journal cannot be written", "", FailureClass.DISK_FULL)

    spoil(source)
    monkeypatch.setattr(restoring.journal.runs, "begin", refuse)
    restoring.run(in_place=True)

    assert "first" == (source / "page").read_text()
    assert 1 == len(restoring.journal.runs.list("web"))
