"""Restored data in its staging folder, and how it takes the place of what was there."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.runner.restore.choose import RestoreError
from sidecar.runner.restore.staging import PREFIX, Staging, open_staging, settle
from sidecar.service.signals import interruptible


def fill(receiver: Path, *names: str, content: str = "") -> None:
    """Put files and, with a slash at the end, folders into a folder."""
    for name in names:
        path = receiver / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_text(content or name)


def held(receiver: Path) -> dict[str, str]:
    """Return what is in a folder: names and contents."""
    entries = sorted(receiver.rglob("*"))
    return {
        str(entry.relative_to(receiver)): entry.read_text() if entry.is_file() else "/"
        for entry in entries
    }


@dataclass
class Receiver:
    """A folder with old contents, and new ones that are to come."""

    path: Path
    old: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path) -> "Receiver":
        """Make one."""
        fill(path, "both", "only-old", "deep/old", content="old")
        fill(path, "lost+found/")
        fill(path.with_suffix(".new"), "both", "only-new", "deep/new", content="new")
        path.with_suffix(".new").chmod(0o750)
        os.utime(path.with_suffix(".new"), ns=(10**18, 10**18))
        kept = {"lost+found": "/"}
        return cls(path, held(path), held(path.with_suffix(".new")) | kept)

    def swap(self, kill_at: int) -> int:
        """Swap in a process of its own, which is killed at a renaming; give how it ended."""
        script = Path(__file__).parents[3] / "fakes" / "one_swap.py"
        environ = {**os.environ, "PYTHONPATH": str(script.parents[2])}
        command = [sys.executable, str(script), str(self.path), str(kill_at)]
        return subprocess.run(command, env=environ, check=False).returncode


def test_a_swap_that_is_killed_is_undone_or_brought_to_its_end(tmp_path: Path) -> None:
    """At whichever renaming: all is old, or all is new, and nothing else is left."""
    ends = []
    for kill_at in range(20):
        receiver = Receiver.at(tmp_path / f"receiver-{kill_at}")
        status = receiver.swap(kill_at)
        done = settle(receiver.path)
        found = held(receiver.path)
        assert found in (receiver.old, receiver.new)
        assert bool(done) == (status != 0)
        ends.append("new" if found == receiver.new else "old")
        if status == 0:
            break
        assert -9 == status
        if found == receiver.new:
            assert 0o750 == receiver.path.stat().st_mode & 0o7777
            assert 10**18 == receiver.path.stat().st_mtime_ns
    # Taken, three out, made ready, three in, the old made trash.
    assert ["old"] * 5 + ["new"] * 5 == ends


def test_a_file_that_is_in_its_place_needs_no_more(tmp_path: Path) -> None:
    """Though the process died right after it was put there."""
    fill(tmp_path, "receiver/page", content="new")
    fill(tmp_path, f"receiver/{PREFIX}killed/new/", f"receiver/{PREFIX}killed/tree/")

    (done,) = settle(tmp_path / "receiver")

    assert done.endswith("an interrupted restore was brought to its end")
    assert ["page"] == os.listdir(tmp_path / "receiver")


def test_a_swap_that_fails_is_undone(tmp_path: Path) -> None:
    """What was moved aside comes back, and the receiver is as if nothing had happened."""
    receiver = Receiver.at(tmp_path / "receiver")
    before = receiver.path.stat().st_mtime_ns

    with open_staging(receiver.path) as staging:
        fill(staging.tree, "data/new")
        staging.take_folder("/data")
        with pytest.raises(FileNotFoundError):
            staging.swap(["both", "deep", "nothing of that name"])

    assert receiver.old == held(receiver.path)
    assert before <= receiver.path.stat().st_mtime_ns


def test_an_unused_staging_leaves_no_trace(tmp_path: Path) -> None:
    """Not even in the time of the folder."""
    os.utime(tmp_path, ns=(10**18, 10**18))

    with open_staging(tmp_path) as staging:
        fill(staging.tree, "data/new")

    assert ([], 10**18) == (os.listdir(tmp_path), tmp_path.stat().st_mtime_ns)


def test_a_swap_that_is_interrupted_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever change: all that is new comes, and all that was there before goes."""
    for moment in range(100):
        receiver = Receiver.at(tmp_path / f"receiver-{moment}")
        changes: list[str] = []
        asked = contextlib.suppress(KeyboardInterrupt)
        with monkeypatch.context() as patched, asked, interruptible():
            swap_interrupted(receiver, patched, changes, moment)
        assert receiver.new == held(receiver.path)
        assert 10**18 == receiver.path.stat().st_mtime_ns
        if len(changes) <= moment:
            break
    assert {"rename", "unlink", "rmdir", "utime"} == set(changes)


def swap_interrupted(
    receiver: Receiver, patched: pytest.MonkeyPatch, changes: list[str], moment: int
) -> None:
    """Swap, and be asked to end just before one of the changes that this makes."""

    def asked_to_end(name: str, change: Callable[..., None]) -> Callable[..., None]:
        def make(*paths: object, **flags: object) -> None:
            changes.append(name)
            if len(changes) == moment + 1:
                signal.raise_signal(signal.SIGINT)
            change(*paths, **flags)

        return make

    with open_staging(receiver.path) as staging:
        shutil.copytree(receiver.path.with_suffix(".new"), staging.tree / "new")
        staging.take_folder("/new")
        for name in ("rename", "unlink", "rmdir", "utime"):
            patched.setattr(os, name, asked_to_end(name, getattr(os, name)))
        staging.swap(["both", "only-old", "deep"])


def test_what_cannot_be_ended_is_left_for_people(tmp_path: Path) -> None:
    """Both the old and the new are there, and the error says where; a second try ends it."""
    fill(tmp_path, "old")

    def come_between(staging: Staging) -> None:
        fill(staging.tree, "data/x/", "data/y")
        staging.take_folder("/data")
        # As somebody who writes while everything is moved.
        fill(tmp_path, "x/intruder")
        staging.swap(["old"])

    with (
        pytest.raises(RestoreError, match="stopped halfway") as caught,
        open_staging(tmp_path) as made,
    ):
        come_between(made)
    assert str(made.path) in caught.value.message
    assert {"old", "x"} <= {one.name for one in made.path.rglob("*")}
    (tmp_path / "x" / "intruder").unlink()
    (tmp_path / "x").rmdir()
    settle(tmp_path)
    assert {"x", "y"} == set(os.listdir(tmp_path))


def test_two_restores_do_not_meet(tmp_path: Path) -> None:
    """Who comes second is refused, as long as the first is at work."""
    with open_staging(tmp_path), pytest.raises(RestoreError, match="another restore is at work"):
        settle(tmp_path)
    assert () == settle(tmp_path)


def test_litter_of_others_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link or a file with our kind of name is nothing of ours, nor is another user's folder."""
    fill(tmp_path, "elsewhere/old/treasure", f"receiver/{PREFIX}file")
    receiver = tmp_path / "receiver"
    (receiver / f"{PREFIX}link").symlink_to("../elsewhere")
    (receiver / f"{PREFIX}theirs").mkdir()
    fill(receiver / f"{PREFIX}theirs", "old/x")
    monkeypatch.setattr(os, "geteuid", lambda: 4321)

    assert () == settle(receiver)
    assert (tmp_path / "elsewhere" / "old" / "treasure").exists()
    assert 3 == len(os.listdir(receiver))


def test_a_link_within_litter_is_not_followed(tmp_path: Path) -> None:
    """Else who can write into the folder could have anything moved there."""
    fill(tmp_path, "elsewhere/treasure")
    fill(tmp_path, f"receiver/{PREFIX}0/")
    (tmp_path / "receiver" / f"{PREFIX}0" / "old").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(NotADirectoryError):
        settle(tmp_path / "receiver")

    assert (tmp_path / "elsewhere" / "treasure").exists()


def test_litter_in_a_snapshot_is_not_restored(tmp_path: Path) -> None:
    """It would be taken for that of an interrupted restore."""
    with open_staging(tmp_path) as staging:
        fill(staging.tree, f"data/{PREFIX}0/old/x", "data/y")
        staging.take_folder("/data")
        staging.swap([])

    assert ["y"] == os.listdir(tmp_path)


def test_a_backup_passes_over_a_staging(tmp_path: Path) -> None:
    """It bears the mark that excludes caches."""
    with open_staging(tmp_path) as staging:
        assert (staging.path / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28")
        assert 0o700 == staging.path.stat().st_mode & 0o7777
