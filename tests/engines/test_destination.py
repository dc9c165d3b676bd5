"""What real file systems keep: mounted for these tests, which need root for it."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.backrest.engine_name import EngineName
from sidecar.engines.base import EngineError, FailureClass
from sidecar.engines.destination import FOLDER, Destination, probe_destination
from sidecar.engines.marker import MARKER, create_marker, read_marker
from sidecar.lib import files
from tests.engines.file_systems import (
    fuse_fat,
    knows_fat,
    make_fat,
    mounted,
    mounted_exfat,
    mounted_fat,
)

ROOT = Path(__file__).parents[2]
RSYNC = EngineName.RSYNC
ALL = Destination(
    renames=True,
    hard_links=True,
    symlinks=True,
    special_files=True,
    modes=True,
    owners=True,
    xattrs=True,
    acls=True,
    case=True,
    sparse=True,
    time_resolution=1e-9,
)
NOTHING = Destination(
    renames=True,
    hard_links=False,
    symlinks=False,
    special_files=False,
    modes=False,
    owners=False,
    xattrs=False,
    acls=False,
    case=False,
    sparse=False,
    time_resolution=2.0,
)
_CHANGES = "openat,mkdirat,mkdir,linkat,symlinkat,mknodat,mknod,unlinkat,rmdir,fchmod,fchown,ftruncate,pwrite64,"
_CHANGES += "fsetxattr,utimensat,write,fsync,renameat2,renameat"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make an empty folder."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(one.name for one in folder.iterdir())


def refused(folder: Path) -> EngineError:
    """Return why a folder cannot be probed."""
    with pytest.raises(EngineError) as caught:
        probe_destination(folder)
    return caught.value


def test_the_machine_itself(folder: Path) -> None:
    """The file system of the tests keeps everything, and nothing is left behind."""
    (folder / "daily").mkdir()
    found = probe_destination(folder)

    assert ALL == found
    assert ["daily"] == names(folder)


def test_memory(folder: Path) -> None:
    """One that keeps all that its kernel lets it: those before 6.6 keep no attributes of users."""
    with mounted(folder, "-t", "tmpfs", "none"):
        found = probe_destination(folder)

    assert ALL == replace(found, xattrs=True)


def test_overlay(folder: Path, tmp_path: Path) -> None:
    """What containers write to without a volume."""
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    with mounted(folder, "-t", "overlay", "-o", layers, "none"):
        assert ALL == probe_destination(folder)


def test_without_attributes(folder: Path) -> None:
    """Links and owners, but neither attributes nor access control lists."""
    with mounted(folder, "-t", "ramfs", "none"):
        found = probe_destination(folder)

    assert replace(ALL, xattrs=False, acls=False) == found


def test_fat(folder: Path, tmp_path: Path) -> None:
    """Next to nothing; by FUSE it even loses what is in a folder that is renamed."""
    with mounted_fat(folder, tmp_path / "image"):
        found = probe_destination(folder)
        guid = create_marker(folder, RSYNC)
        again = create_marker(folder, RSYNC)
        left = names(folder)

    assert replace(NOTHING, renames=knows_fat()) == found
    assert (guid, [MARKER]) == (again, left)


def test_exfat(folder: Path, tmp_path: Path) -> None:
    """No more than FAT."""
    with mounted_exfat(folder, tmp_path / "image"):
        found = probe_destination(folder)
        guid = create_marker(folder, RSYNC)
        again = create_marker(folder, RSYNC)
        left = names(folder)

    assert replace(NOTHING, time_resolution=found.time_resolution) == found
    assert found.time_resolution >= 0.01
    assert (guid, [MARKER]) == (again, left)


def test_full(folder: Path) -> None:
    """It is told as full, not as one that cannot keep things; nothing is left behind."""
    with mounted(folder, "-t", "tmpfs", "-o", "size=64k", "none"):
        (folder / "filler").write_bytes(bytes(64 << 10))
        caught = refused(folder)
        with pytest.raises(EngineError) as unmade:
            create_marker(folder, RSYNC)
        left = names(folder)
        (folder / "filler").unlink()
        found = probe_destination(folder)
        guid = create_marker(folder, RSYNC)

    assert {FailureClass.DISK_FULL} == {caught.failure, unmade.value.failure}
    assert ["filler"] == left
    assert found.hard_links
    assert guid


def test_one_that_is_not_mounted(folder: Path) -> None:
    """The empty folder below is no repository, and is not made one by looking."""
    with mounted(folder, "-t", "tmpfs", "none"):
        create_marker(folder, RSYNC)
    with pytest.raises(EngineError) as caught:
        read_marker(folder, RSYNC)

    assert FailureClass.REPO_NOT_FOUND is caught.value.failure
    assert "is the disk mounted?" in str(caught.value)
    assert [] == names(folder)


def test_one_that_vanishes(folder: Path, tmp_path: Path) -> None:
    """A file system whose program has died answers nothing any more."""
    make_fat(tmp_path / "image")
    with fuse_fat(folder, tmp_path / "image") as program:
        create_marker(folder, RSYNC)
        program.kill()
        program.wait()
        caught = refused(folder)
        with pytest.raises(EngineError) as unread:
            read_marker(folder, RSYNC)

    assert {FailureClass.NETWORK} == {caught.failure, unread.value.failure}
    assert "does not answer any more" in str(caught)


def test_read_only(folder: Path) -> None:
    """Told as such."""
    with mounted(folder, "-t", "tmpfs", "-o", "ro", "none"):
        caught = refused(folder)

    assert FailureClass.PERMISSION is caught.failure
    assert "read-only" in str(caught)


def test_a_missing_folder_is_not_made(folder: Path) -> None:
    """A destination that is not there is nothing to try things in."""
    assert FailureClass.REPO_NOT_FOUND is refused(folder / "missing").failure
    assert [] == names(folder)


def test_what_could_not_be_tried_is_told(folder: Path) -> None:
    """Not everybody can give files away: the destination may keep their owners all the same."""
    told = _child(folder, "setpriv", "--bounding-set=-chown", "--inh-caps=-all")

    assert f"{replace(ALL, owners=None)}\n" == told


def test_another_user_finds_the_same() -> None:
    """Privileges are needed for nothing else."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(1, fork, initializer=_become_nobody) as pool:
            found = pool.submit(probe_destination, Path(name)).result()
        left = names(Path(name))

    assert (replace(ALL, owners=None), []) == (found, left)


def _become_nobody() -> None:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def _child(folder: Path, *before: str) -> str:
    """Probe a folder in a program that is started by another one; return what it says."""
    code = (
        "import sys; from pathlib import Path\n"
        "from sidecar.engines.destination import probe_destination\n"
        "print(probe_destination(Path(sys.argv[1])))"
    )
    command = [*before, sys.executable, "-c", code, str(folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_two_at_once(folder: Path) -> None:
    """The second one tells it, and leaves what the first one has made."""
    (folder / FOLDER).mkdir()
    held = files.open_directory(folder / FOLDER)
    assert files.try_lock(held)
    (folder / FOLDER / "probe-file").touch()
    caught = refused(folder)
    left = names(folder / FOLDER)
    os.close(held)

    assert (FailureClass.LOCKED, ["probe-file"]) == (caught.failure, left)
    assert ALL == probe_destination(folder)
    assert [] == names(folder)


@pytest.mark.parametrize(
    "what", ["a file", "a link", "a folder within", "a file within", "a file deeper within"]
)
def test_what_is_not_ours_is_not_touched(folder: Path, tmp_path: Path, what: str) -> None:
    """Whoever calls something of his own so keeps it, with all that lies in it."""
    mine = folder / FOLDER
    if what == "a file":
        mine.write_text("mine")
    elif what == "a link":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "probe-file").touch()
        mine.symlink_to(tmp_path / "elsewhere")
    else:
        mine.mkdir()
        (mine / "probe-file").touch()
        if what == "a folder within":
            (mine / "probe-link").mkdir()
        elif what == "a file deeper within":
            (mine / "probe-old").mkdir()
            (mine / "probe-old" / "letter.txt").write_text("mine")
        else:
            (mine / "letter.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    caught = refused(folder)

    assert "give it another name" in str(caught)
    assert before == sorted(tmp_path.rglob("*"))


@pytest.mark.timeout(300)
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Whatever is left is recognised by the next one, which leaves nothing."""
    calls = _traced(tmp_path / "listed")[1]
    for number, (name, count) in enumerate(calls):
        folder = tmp_path / str(number)
        status, _ = _traced(folder, "-e", f"inject={name}:signal=SIGKILL:when={count}")
        assert status in (-signal.SIGKILL, 128 + signal.SIGKILL), (name, count)
        assert set(names(folder)) <= {FOLDER}
        assert ALL == probe_destination(folder)
        assert [] == names(folder)
    assert {"renameat", "linkat", "symlinkat", "fsetxattr", "unlinkat"} <= {
        name for name, _ in calls
    }


def _traced(folder: Path, *inject: str) -> tuple[int, list[tuple[str, int]]]:
    """Probe a new folder under strace; return the status and the calls that change it."""
    folder.mkdir()
    log = folder.with_suffix(".log")
    traced = ",".join(f"?{name}" for name in _CHANGES.split(","))
    before = ("strace", "-y", "-o", str(log), "-e", f"trace={traced}", *inject)
    status = 0
    try:
        _child(folder, *before)
    except subprocess.CalledProcessError as error:
        status = error.returncode
    seen = Counter[str]()
    calls = []
    for name, rest in re.findall(r"^(\w+)\((.*)", log.read_text(), re.MULTILINE):
        seen[name] += 1
        if str(folder) in rest and (name != "openat" or "O_CREAT" in rest):
            calls.append((name, seen[name]))
    return status, calls
