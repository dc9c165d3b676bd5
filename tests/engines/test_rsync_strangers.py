"""What lies beside, above and within rsync's repositories and is not theirs, with the real rsync."""

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.engines.base import FailureClass, ResultKind
from tests.engines.bench import INSTANCE, RsyncBench
from tests.engines.file_systems import mounted


def test_folders_of_another_tool_are_not_forgotten(rsync: RsyncBench) -> None:
    """Of one that names its folders as ours are named, and keeps no record beside them."""
    others = rsync.store / "timeshift" / "snapshots"
    for day in range(1, 4):
        (others / f"2026-01-0{day}_10-00-00" / "localhost").mkdir(parents=True)
    for _ in range(2):
        rsync.backup()

    assert ResultKind.SUCCESS is rsync.engine().forget_all(Retention(last=1)).kind
    assert 3 == len(list(others.iterdir()))
    assert 1 == len(rsync.names(rsync.plan()))


def test_what_is_called_latest_and_is_no_link_stays(rsync: RsyncBench) -> None:
    """It is somebody's file or folder: the snapshot is whole without a link to it."""
    (rsync.store / "web").mkdir()
    (rsync.store / "web" / "latest").write_text("mine")
    (rsync.store / "other" / "latest" / "deep").mkdir(parents=True)
    rsync.backup()
    rsync.backup(rsync.plan("other"))

    assert "mine" == (rsync.store / "web" / "latest").read_text()
    assert [rsync.store / "other" / "latest" / "deep"] == list(
        (rsync.store / "other" / "latest").iterdir()
    )


@pytest.mark.parametrize("inner", ["web", "web/deep", "."])
def test_a_source_where_the_plan_keeps_its_snapshots_is_refused(
    rsync: RsyncBench, inner: str
) -> None:
    """Each snapshot would hold all those before it, and nothing is written there."""
    source = rsync.store / inner
    source.mkdir(parents=True, exist_ok=True)
    (source / "mine").write_text("mine")
    before = sorted(source.rglob("*"))
    done = rsync.engine().capture(rsync.plan("web", source), INSTANCE, rsync.reported.append)

    assert (ResultKind.FAILED, FailureClass.UNKNOWN) == (done.kind, done.failure)
    assert f"the path {rsync.store / inner} lies where the snapshots" in done.reason
    assert before == sorted(source.rglob("*"))


@pytest.mark.parametrize("excludes", [(), (".*",)])
@pytest.mark.parametrize("is_mounted", [False, True])
def test_a_repository_in_its_source_is_not_saved_by_another_path(
    rsync: RsyncBench, excludes: tuple[str, ...], is_mounted: bool
) -> None:
    """It is mounted twice, as in a container, or its address leads over a link."""
    inner = rsync.source / "backups"
    rsync.store.rename(inner)
    rsync.write("file", "hello")
    if is_mounted:
        rsync.store.mkdir()
        subprocess.run(["mount", "--bind", inner, rsync.store], check=True)
    else:
        rsync.store.symlink_to(inner)
    try:
        made = [rsync.backup(rsync.plan(excludes=excludes)) for _ in range(2)]
        held = [os.listdir(rsync.tree(one.snapshot)) for one in made]
    finally:
        if is_mounted:
            subprocess.run(["umount", rsync.store], check=True)

    assert [["file"], ["file"]] == held


def test_what_a_saved_link_leads_to_is_not_in_the_snapshot(rsync: RsyncBench) -> None:
    """Else files would come back as if they had been saved, as they are now."""
    (rsync.folder / "live").mkdir()
    (rsync.folder / "live" / "file").write_text("never saved")
    (rsync.source / "link").symlink_to(rsync.folder / "live")
    rsync.backup()
    engine = rsync.engine()
    [snapshot] = engine.snapshots(rsync.plan(), INSTANCE)
    inner, target = str(rsync.source / "link" / "file"), Path(rsync.folder / "target")
    done = engine.restore(snapshot, (inner,), target, rsync.reported.append)

    assert [] == list(engine.entries(snapshot, inner))
    assert [] == list(engine.attributes(snapshot, inner))
    assert ["symlink"] == [one.kind for one in engine.entries(snapshot, str(rsync.source / "link"))]
    assert (ResultKind.FAILED, FailureClass.SOURCE_MISSING) == (done.kind, done.failure)
    assert not target.exists()


def test_a_record_that_is_no_file_is_not_waited_for(rsync: RsyncBench) -> None:
    """Whoever may write to the repository can stop backups, but not for ever and not unseen."""
    rsync.backup()
    os.mkfifo(rsync.store / "web" / "snapshots" / "2026-01-01_00-00-00.json")
    done = rsync.engine().capture(rsync.plan(), INSTANCE, rsync.reported.append)

    assert ResultKind.FAILED is done.kind
    assert done.reason.endswith("2026-01-01_00-00-00.json: it is a FIFO, not a file")


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_a_record_with_an_impossible_time_is_none(rsync: RsyncBench, time: str) -> None:
    """What it belongs to is left as it is."""
    name = rsync.backup().snapshot.partition("@")[2]
    file = rsync.store / "web" / "snapshots" / f"{name}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "time": time}) + "\n")
    made = [rsync.backup().snapshot for _ in range(2)]

    assert made == rsync.names(rsync.plan())
    assert (
        ResultKind.SUCCESS is rsync.engine().forget(rsync.plan(), INSTANCE, Retention(last=1)).kind
    )
    assert made[1:] == rsync.names(rsync.plan())
    assert file.with_suffix("").is_dir()


def test_what_was_copied_goes_if_the_disk_is_full_before_it_is_named(rsync: RsyncBench) -> None:
    """Else nothing would ever free the space again: a backup begins with a lock, too."""
    small = rsync.folder / "small"
    small.mkdir()
    with mounted(small, "-t", "tmpfs", "-o", "size=3m", "none"):
        uri = f"rsync:{small}"
        engine = rsync.engine(uri=uri)
        engine.initialise()
        rsync.write("file", os.urandom(1 << 20))
        captured = engine.capture(rsync.plan(), INSTANCE, rsync.reported.append)
        with suppress(OSError), (small / "other").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        done = engine.seal(rsync.plan(), captured, rsync.reported.append)
        left = os.listdir(small / "web" / "snapshots")

    assert (FailureClass.DISK_FULL, []) == (done.failure, left)


def test_a_snapshot_that_is_a_link_is_not_linked_from_nor_restored(rsync: RsyncBench) -> None:
    """It may lead to the source itself, whose files would then be those of the next snapshot."""
    rsync.write("file", "hello")
    first = rsync.store / "web" / "snapshots" / rsync.backup().snapshot.partition("@")[2]
    first.rename(rsync.folder / "away")
    first.symlink_to("/")
    file = rsync.tree(rsync.backup().snapshot) / "file"
    snapshot = rsync.engine().snapshots(rsync.plan(), INSTANCE)[0]
    target = rsync.folder / "target"
    done = rsync.engine().restore(snapshot, (), target, rsync.reported.append)

    assert "hello" == file.read_text()
    assert not file.samefile(rsync.source / "file")
    assert (ResultKind.FAILED, FailureClass.SOURCE_MISSING) == (done.kind, done.failure)
