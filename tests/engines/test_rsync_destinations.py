"""Destinations of rsync's that do not keep all that files have: what is missing is told."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.backrest.plan import Retention
from sidecar.engines.base import CommandResult, ResultKind
from tests.engines.bench import INSTANCE, RsyncBench
from tests.engines.bench import save as save_with
from tests.engines.file_systems import fuse_fat, make_fat, mounted, mounted_exfat


@pytest.fixture
def bench(tmp_path: Path) -> RsyncBench:
    """Return a bench whose repository is an empty folder yet."""
    made = RsyncBench.at(tmp_path / "bench")
    made.store.mkdir()
    return made


@pytest.fixture
def on_exfat(bench: RsyncBench, tmp_path: Path) -> Iterator[RsyncBench]:
    """Have a repository on exFAT."""
    with mounted_exfat(bench.store, tmp_path / "image"):
        bench.engine().initialise()
        yield bench


@pytest.fixture
def without_attributes(bench: RsyncBench) -> Iterator[RsyncBench]:
    """Have a repository on a file system without extended attributes."""
    with mounted(bench.store, "-t", "ramfs", "none"):
        bench.engine().initialise()
        yield bench


def save(bench: RsyncBench) -> CommandResult:
    """Back up."""
    return save_with(bench.engine(), bench.plan(), bench.reported.append)


def test_exfat_keeps_contents_if_that_is_enough(on_exfat: RsyncBench, tmp_path: Path) -> None:
    """Only with --full-copies; each run says what is not kept, and a restore gives the contents."""
    on_exfat.write("deep/er/file", "content", 0o640)
    on_exfat.write("other", "first")
    refused = save(on_exfat)
    on_exfat.flags = ("--full-copies",)
    done = [save(on_exfat)]
    on_exfat.write("other", "second")
    done.append(save(on_exfat))
    engine = on_exfat.engine()
    snapshots = engine.snapshots(on_exfat.plan(), INSTANCE)
    restored = [
        engine.restore(one, (str(on_exfat.source),), tmp_path / one.id, on_exfat.reported.append)
        for one in snapshots
    ]
    forgotten = engine.forget(on_exfat.plan(), INSTANCE, Retention(last=1))

    assert (ResultKind.FAILED, True) == (refused.kind, "--full-copies" in refused.reason)
    assert [(ResultKind.SUCCESS, "")] * 2 == [(one.kind, one.reason) for one in done]
    for word in ("hard links", "permissions", "owners", "upper and lower case"):
        assert word in done[1].note
    assert [ResultKind.SUCCESS] * 3 == [one.kind for one in (*restored, forgotten)]
    contents = [
        (tmp_path / one.id / str(on_exfat.source)[1:] / "other").read_text() for one in snapshots
    ]
    assert ["first", "second"] == contents
    deep = tmp_path / snapshots[0].id / str(on_exfat.source)[1:] / "deep/er/file"
    assert "content" == deep.read_text()
    assert [snapshots[1].id] == on_exfat.names(on_exfat.plan())
    assert not engine.capabilities().hard_links


def test_without_attributes_the_rest_is_kept(without_attributes: RsyncBench) -> None:
    """Unchanged files are linked, and the note names the attributes."""
    bench = without_attributes
    os.setxattr(bench.write("file", "x"), "user.colour", b"blue")
    first, second = save(bench), save(bench)
    trees = [bench.tree(one.snapshot) for one in (first, second)]

    assert [(ResultKind.SUCCESS, "")] * 2 == [(one.kind, one.reason) for one in (first, second)]
    assert "the repository keeps no extended attributes, access control lists" == second.note
    assert second.note == bench.engine().remark(())
    assert (trees[0] / "file").samefile(trees[1] / "file")
    assert not bench.engine().capabilities().xattrs


def test_a_file_system_that_loses_renamed_folders_is_refused(
    bench: RsyncBench, tmp_path: Path
) -> None:
    """A snapshot counts from when its folder is renamed: it would be empty, with success."""
    bench.write("file", "x")
    make_fat(tmp_path / "image")
    with fuse_fat(bench.store, tmp_path / "image"):
        bench.engine().initialise()
        done = save(bench)
        left = bench.names(bench.plan())

    assert ResultKind.FAILED is done.kind
    assert "loses what is in a folder that is renamed" in done.reason
    assert [] == left
