"""The small file that makes a folder a repository."""

import errno
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sidecar.backrest.engine_name import EngineName
from sidecar.engines.base import EngineError, FailureClass
from sidecar.engines.marker import MARKER, create_marker, parse_marker, read_marker, render_marker
from sidecar.lib import files

RSYNC = EngineName.RSYNC
GUID = "0123456789abcdef" * 4


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(one.name for one in folder.iterdir())


def refused(action: Callable[[], object]) -> tuple[FailureClass, str]:
    """Return why an action fails: the class, and the sentence."""
    with pytest.raises(EngineError) as caught:
        action()
    return caught.value.failure, str(caught.value)


def changed(**values: object) -> bytes:
    """Return a marker of which some values are others."""
    return json.dumps({**json.loads(render_marker(RSYNC, GUID)), **values}).encode()


def test_a_folder_becomes_a_repository_once(tmp_path: Path) -> None:
    """Its id stays, whoever asks for it; the folder is made with those above it."""
    folder = tmp_path / "disk" / "backup"
    guid = create_marker(folder, RSYNC)

    assert 32 == len(bytes.fromhex(guid))
    assert [guid, guid] == [create_marker(folder, RSYNC), read_marker(folder, RSYNC)]
    assert [MARKER] == names(folder)
    assert guid != create_marker(tmp_path / "other", RSYNC)


def test_what_lies_in_the_folder_stays(tmp_path: Path) -> None:
    """A tree of another tool can be taken over."""
    (tmp_path / "daily").mkdir()
    create_marker(tmp_path, RSYNC)

    assert [MARKER, "daily"] == names(tmp_path)


def test_to_look_creates_nothing(tmp_path: Path) -> None:
    """An empty folder is what is there while a disk is not mounted."""
    empty = refused(lambda: read_marker(tmp_path, RSYNC))
    missing = refused(lambda: read_marker(tmp_path / "missing", RSYNC))
    (tmp_path / "file").touch()
    file = refused(lambda: read_marker(tmp_path / "file", RSYNC))

    assert {FailureClass.REPO_NOT_FOUND} == {empty[0], missing[0], file[0]}
    assert "is the disk mounted?" in empty[1]
    assert "is the disk mounted?" in missing[1]
    assert ["file"] == names(tmp_path)


@pytest.mark.parametrize(
    ("content", "failure", "words"),
    [
        (b"", FailureClass.DAMAGED, "damaged"),
        (b"\0" * 9000, FailureClass.DAMAGED, "damaged"),
        (b"[" * 4000, FailureClass.DAMAGED, "damaged"),
        (b"[]", FailureClass.DAMAGED, "damaged"),
        (b"{}", FailureClass.DAMAGED, "damaged"),
        (changed(version=True), FailureClass.DAMAGED, "damaged"),
        (changed(version=0), FailureClass.DAMAGED, "damaged"),
        (changed(id=GUID.upper()), FailureClass.DAMAGED, "damaged"),
        (changed(id=f"{GUID}\n"), FailureClass.DAMAGED, "damaged"),
        (changed(id=7), FailureClass.DAMAGED, "damaged"),
        (changed(version=2), FailureClass.UNKNOWN, "later version"),
        (changed(engine="dar"), FailureClass.REPO_NOT_FOUND, "a repository of dar"),
        (changed(engine="\x1b[1m"), FailureClass.REPO_NOT_FOUND, "of another engine"),
        (changed(engine=["rsync"]), FailureClass.REPO_NOT_FOUND, "of another engine"),
    ],
)
def test_a_marker_that_is_none_of_ours_is_refused_and_stays(
    tmp_path: Path, content: bytes, failure: FailureClass, words: str
) -> None:
    """What lies in such a folder is not known: nothing is written into it."""
    (tmp_path / MARKER).write_bytes(content)
    told = [
        refused(lambda: read_marker(tmp_path, RSYNC)),
        refused(lambda: create_marker(tmp_path, RSYNC)),
    ]

    assert {failure} == {one for one, _ in told}
    assert all(words in sentence for _, sentence in told)
    assert content == (tmp_path / MARKER).read_bytes()
    assert [MARKER] == names(tmp_path)


def test_a_marker_is_read_as_it_is_written() -> None:
    """Other keys of a marker are passed over: a later version may add some."""
    assert GUID == parse_marker(render_marker(RSYNC, GUID), RSYNC)
    assert GUID == parse_marker(changed(more=1), RSYNC)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("elsewhere")])
def test_a_marker_that_is_no_file_is_refused(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    """Nothing is waited for, no link is followed."""
    make(tmp_path / MARKER)

    assert FailureClass.DAMAGED is refused(lambda: read_marker(tmp_path, RSYNC))[0]
    assert FailureClass.DAMAGED is refused(lambda: create_marker(tmp_path, RSYNC))[0]


def test_what_a_killed_one_left_is_removed(tmp_path: Path) -> None:
    """Only its own names."""
    for name in (f"{MARKER}.0123abcd.part", f"{MARKER}.mine.part", f"{MARKER}.0123abcd.part.txt"):
        (tmp_path / name).touch()
    create_marker(tmp_path, RSYNC)

    assert [MARKER, f"{MARKER}.0123abcd.part.txt", f"{MARKER}.mine.part"] == names(tmp_path)


def test_many_at_once_get_the_same_id(tmp_path: Path) -> None:
    """One of them makes the marker, the others find it."""
    with ThreadPoolExecutor(8) as pool:
        guids = set(pool.map(lambda _: create_marker(tmp_path, RSYNC), range(40)))

    assert {read_marker(tmp_path, RSYNC)} == guids
    assert [MARKER] == names(tmp_path)


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the file system neither links nor renames that spare what is there, as FAT by FUSE."""

    def refuse(directory: int, old: str, new: str) -> None:
        del directory, old, new
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(files, "rename_new", refuse)


@pytest.mark.usefixtures("without_links")
def test_a_file_system_without_links(tmp_path: Path) -> None:
    """It works there too, and never over a marker that is there."""
    guid = create_marker(tmp_path, RSYNC)
    assert guid == create_marker(tmp_path, RSYNC)
    assert [MARKER] == names(tmp_path)


@pytest.mark.usefixtures("without_links")
def test_without_links_one_waits_for_the_other(tmp_path: Path) -> None:
    """Who finds another one at work tells it, and has changed nothing."""
    directory = files.open_directory(tmp_path)
    assert files.try_lock(directory)
    told = refused(lambda: create_marker(tmp_path, RSYNC))
    os.close(directory)

    assert FailureClass.LOCKED is told[0]
    assert [] == names(tmp_path)


def test_a_failure_is_told_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its class; one that nobody thought of by the system's words."""

    def told(code: int) -> FailureClass:
        def fail(directory: int) -> list[str]:
            raise OSError(code, os.strerror(code), str(directory))

        monkeypatch.setattr(files, "list_names", fail)
        return refused(lambda: create_marker(tmp_path, RSYNC))[0]

    assert FailureClass.DISK_FULL is told(errno.ENOSPC)
    assert FailureClass.DISK_FULL is told(errno.EDQUOT)
    assert FailureClass.PERMISSION is told(errno.EROFS)
    assert FailureClass.PERMISSION is told(errno.EACCES)
    assert FailureClass.NETWORK is told(errno.ESTALE)
    assert FailureClass.UNKNOWN is told(errno.EIO)
