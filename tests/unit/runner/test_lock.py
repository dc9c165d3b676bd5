"""One scheduler only: told by our lock, by Backrest's, and by its container."""

import errno
import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.lib.errors import SidecarError, UsageError
from sidecar.runner.lock import (
    FILE,
    OPLOG_LOCK,
    Locked,
    SchedulerLock,
    is_executed,
    is_held,
    refuse_beside_backrest,
    refuse_beside_container,
)

NO_LIST = Path("/nowhere/locks")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The document, in a directory of its own."""
    (tmp_path / "config").mkdir()
    return tmp_path / "config" / "config.json"


@contextmanager
def held(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold a lock as Backrest does."""
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, how)
    try:
        yield
    finally:
        os.close(descriptor)


def test_a_second_runner_is_refused_and_told_who_the_first_is(config: Path) -> None:
    """And what to do instead."""
    with SchedulerLock([config.parent], "daemon"), pytest.raises(Locked) as refused:
        SchedulerLock([config.parent], "run")
    assert f"`backrest-runner daemon` (process {os.getpid()})" in refused.value.message
    assert "backrest-runner backup PLAN" in refused.value.hint


def test_a_run_without_a_daemon_is_waited_for(config: Path) -> None:
    """It ends by itself."""
    with SchedulerLock([config.parent], "run"), pytest.raises(Locked) as refused:
        SchedulerLock([config.parent], "daemon")
    assert "wait" in refused.value.hint


def test_runners_that_share_one_of_their_documents_do_not_both_run(tmp_path: Path) -> None:
    """Each folder has a lock of its own; a runner that is refused holds none of them."""
    folders = [tmp_path / name for name in ("backrest", "ours", "theirs")]
    for folder in folders:
        folder.mkdir()
    backrest, ours, theirs = folders
    with SchedulerLock([ours], "daemon"):
        with pytest.raises(Locked):
            SchedulerLock([backrest, ours], "daemon")
        with SchedulerLock([backrest, theirs], "daemon"), pytest.raises(Locked):
            SchedulerLock([backrest], "run")
    with SchedulerLock([backrest, ours], "daemon") as both:
        both.close()


def test_one_folder_under_two_names_is_locked_once(config: Path) -> None:
    """A runner does not take its own lock for that of another."""
    other = config.parent.with_name("other")
    other.symlink_to(config.parent)
    with SchedulerLock([config.parent, config.parent, other], "daemon"), pytest.raises(Locked):
        SchedulerLock([other], "run")


def test_the_lock_is_given_back(config: Path) -> None:
    """The file stays, empty and for its owner only: another may wait for this very one."""
    SchedulerLock([config.parent], "daemon").close()
    with SchedulerLock([config.parent], "daemon") as again:
        again.close()
    file = config.parent / FILE
    assert (0, 0o600) == (file.stat().st_size, file.stat().st_mode & 0o777)


def test_where_nothing_can_be_written_the_lock_is_made_in_the_state_folder(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is there is taken all the same: another runner may be able to write."""
    real, state = os.open, tmp_path / "state"
    state.mkdir()

    def read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if Path(path).parent == config.parent and flags & os.O_RDWR:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        with pytest.raises(UsageError, match="Read-only file system"):
            SchedulerLock([config.parent], "run")
        with SchedulerLock([config.parent], "run", state), pytest.raises(Locked):
            SchedulerLock([config.parent], "daemon", state)
        (config.parent / FILE).touch()
        found = SchedulerLock([config.parent], "run", state)
    with found, pytest.raises(Locked):
        SchedulerLock([config.parent], "daemon")


def test_whether_a_document_is_executed_is_told_by_either_lock(
    config: Path, tmp_path: Path
) -> None:
    """The file beside the document, or that in the state folder; a file alone says nothing."""
    state = tmp_path / "state"
    found = [is_executed([config.parent], state)]
    for folder in (config.parent, state):
        with held(folder / FILE):
            found.append(is_executed([config.parent], state))
        found.append(is_executed([config.parent], state))

    assert [False, True, False, True, False] == found


def test_a_runner_that_was_killed_holds_no_lock(config: Path) -> None:
    """The system gives it back, whatever the file still says."""
    script = (
        "import os, sys; from pathlib import Path; from sidecar.runner.lock import SchedulerLock;"
        f"SchedulerLock([Path({str(config.parent)!r})], 'daemon'); print('held', flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, timeout=60
    )
    assert (b"held\n", -9) == (killed.stdout, killed.returncode)
    assert (config.parent / FILE).read_text().startswith("daemon ")
    SchedulerLock([config.parent], "daemon").close()


def test_what_is_no_file_is_no_lock(config: Path) -> None:
    """A FIFO can be opened and locked, but says nothing."""
    os.mkfifo(config.parent / FILE)
    with pytest.raises(UsageError, match="it is a FIFO, not a file"):
        SchedulerLock([config.parent], "daemon")


def test_a_lock_that_cannot_be_made_is_told(config: Path) -> None:
    """A link might lead anywhere, and is not followed."""
    (config.parent / FILE).symlink_to("elsewhere")
    with pytest.raises(UsageError, match=r"the lock .* cannot be made"):
        SchedulerLock([config.parent], "daemon")
    assert not (config.parent / "elsewhere").exists()


@pytest.mark.parametrize("locks", [Path("/proc/locks"), NO_LIST])
def test_a_held_lock_is_seen(tmp_path: Path, locks: Path) -> None:
    """In the kernel's list, and without it, as for a process in another container."""
    file = tmp_path / OPLOG_LOCK
    assert not is_held(file, locks)
    with held(file):
        assert is_held(file, locks)
    assert not is_held(file, locks)


def test_looking_leaves_no_lock_behind(tmp_path: Path) -> None:
    """Backrest can take it at once."""
    file = tmp_path / OPLOG_LOCK
    file.touch()
    assert not is_held(file, NO_LIST)
    with held(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
        pass


def test_others_who_look_are_no_holders(tmp_path: Path) -> None:
    """Two runners that start at once must not take each other for Backrest."""
    file = tmp_path / OPLOG_LOCK
    with held(file, fcntl.LOCK_SH):
        assert not is_held(file)


def test_a_lock_that_cannot_be_looked_at_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And is no reason not to begin."""
    (tmp_path / OPLOG_LOCK).symlink_to("elsewhere")
    assert not is_held(tmp_path / OPLOG_LOCK)
    assert ["backrest.unknown"] == [record.message for record in caplog.records]


def test_a_running_backrest_refuses_us(config: Path, tmp_path: Path) -> None:
    """Its data directory is named, in the environment, or beside that of the document."""
    for data, environ in (
        (tmp_path / "named", {}),
        (None, {"BACKREST_DATA": str(tmp_path / "said")}),
        (None, {}),
    ):
        where = data or Path(environ.get("BACKREST_DATA", tmp_path / "data"))
        with held(where / OPLOG_LOCK), pytest.raises(Locked, match="Backrest runs") as refused:
            refuse_beside_backrest(config, data, environ)
        assert "--documents runner" in refused.value.hint
        refuse_beside_backrest(config, data, environ)


def test_without_a_backrest_there_is_nothing_to_refuse(config: Path, tmp_path: Path) -> None:
    """But a directory that is named has to be there."""
    refuse_beside_backrest(config, None, {})
    with pytest.raises(UsageError, match="--backrest-data"):
        refuse_beside_backrest(config, tmp_path / "none", {})


def test_a_running_container_refuses_us() -> None:
    """The one that is named, else the usual one."""
    for name, running in (("", "backrest"), ("mine", "mine")):
        with pytest.raises(Locked, match=f"its container {running} does"):
            refuse_beside_container(name, lambda asked, running=running: asked == running)  # type: ignore[misc]
    refuse_beside_container("mine", lambda asked: asked == "backrest")


def test_an_engine_that_cannot_be_asked_is_told_where_it_was_meant(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not where nobody named a container; refused is it neither."""
    caplog.set_level(logging.WARNING)

    def unknown(_: str) -> bool:
        raise SidecarError("there is no engine")

    refuse_beside_container("", unknown)
    assert [] == caplog.records
    refuse_beside_container("mine", unknown)
    assert ["backrest.unknown"] == [record.message for record in caplog.records]
