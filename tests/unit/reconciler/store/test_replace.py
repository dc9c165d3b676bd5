"""The document's file: reading, replacing, creating, and what is said when that cannot be done.

Runs as root: full disks, read-only folders and foreign owners are real ones.
"""

import errno
import multiprocessing
import os
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from sidecar.backrest.document import LARGEST
from sidecar.lib import files as atomic
from sidecar.lib.errors import StoreError
from sidecar.reconciler.store.replace import AlreadyThereError, Replacement, Store
from tests.fakes.store_update import update

OLD = b'{"modno": 1}'
NEW = b'{"modno": 2}'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A document in a directory of its own."""
    path = tmp_path / "config" / "config.json"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


@pytest.fixture
def open_config() -> Iterator[Path]:
    """A document in a directory that any user can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "config.json").write_bytes(OLD)
    yield folder / "config.json"
    shutil.rmtree(folder)


@contextmanager
def mounted(target: Path, *arguments: str) -> Iterator[None]:
    """Mount something on `target` for as long as the body runs."""
    subprocess.run(["mount", *arguments, str(target)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(target)], check=True)


def as_user(user: int, action: Callable[[], object]) -> str:
    """Run `action` in a child with another user's rights; return its result in words."""

    def run(answer: Connection) -> None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        try:
            answer.send(repr(action()))
        except StoreError as error:
            answer.send(str(error))

    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=run, args=(sender,))
    child.start()
    sender.close()
    answer = str(receiver.recv())
    child.join()
    return answer


def replaced(path: Path) -> bool:
    """Update the document to NEW."""
    return update(Store(path), lambda _: NEW)


def refusal(path: Path, change: Callable[[bytes], bytes | None] = lambda _: NEW) -> str:
    """Update, and return the error's words; it must have a hint."""
    with pytest.raises(StoreError) as caught:
        update(Store(path), change)
    assert caught.value.hint
    return str(caught.value)


def names(path: Path) -> list[str]:
    """List everything in the document's directory."""
    return sorted(entry.name for entry in path.parent.iterdir())


def test_read_returns_content_and_identity(config: Path) -> None:
    """The identity is that of the file whose bytes are returned, and stays while it does."""
    stored = Store(config).read()
    status = config.stat()
    assert stored.content == OLD
    assert (stored.identity.inode, stored.identity.size) == (status.st_ino, len(OLD))
    assert stored.identity == Store(config).read().identity
    config.write_bytes(OLD[::-1])
    assert stored.identity != Store(config).read().identity


def test_read_needs_no_lock_and_leaves_no_trace(config: Path) -> None:
    """A dry run works while another sidecar writes, and in a folder it cannot write to."""
    before = config.parent.stat().st_mtime_ns
    holder = atomic.open_directory(config.parent)
    assert atomic.try_lock(holder)
    with mounted(config.parent, "--bind", "-o", "ro", str(config.parent)):
        assert Store(config).read().content == OLD
    os.close(holder)
    assert (names(config), config.parent.stat().st_mtime_ns) == (["config.json"], before)


def test_read_repeats_what_was_written_meanwhile(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that writes in place while we read gives its whole content, not half."""
    reads: list[bytes] = []
    read_all = atomic.read_all

    def read_while_written(descriptor: int, limit: int) -> bytes:
        content = read_all(descriptor, limit)
        if not reads:
            config.write_bytes(OLD + b"  ")
        reads.append(content)
        return content

    monkeypatch.setattr(atomic, "read_all", read_while_written)
    assert Store(config).read().content == OLD + b"  "
    assert reads == [OLD, OLD + b"  "]


def test_read_gives_up_on_a_file_that_never_rests(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of attempts is bounded."""
    read_all = atomic.read_all

    def read_while_written(descriptor: int, limit: int) -> bytes:
        content = read_all(descriptor, limit)
        config.write_bytes(content + b" ")
        return content

    monkeypatch.setattr(atomic, "read_all", read_while_written)
    with pytest.raises(StoreError, match="keeps changing"):
        Store(config).read()


def test_update_replaces_the_content(config: Path) -> None:
    """The new bytes are there and nothing else."""
    assert update(Store(config), lambda content: content + b"\n")
    assert (config.read_bytes(), names(config)) == (OLD + b"\n", ["config.json"])


@pytest.mark.parametrize("answer", [None, OLD])
def test_update_without_a_difference_writes_nothing(config: Path, answer: bytes | None) -> None:
    """Bytes, inode and time of the file stay, and the directory is not touched."""
    before = config.stat(), config.parent.stat().st_mtime_ns
    assert not update(Store(config), lambda _: answer)
    after = config.stat(), config.parent.stat().st_mtime_ns
    assert (after[0].st_ino, after[0].st_mtime_ns, after[1]) == (
        before[0].st_ino,
        before[0].st_mtime_ns,
        before[1],
    )


def test_update_works_where_the_file_system_has_no_exchange(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain rename does it then."""
    monkeypatch.setattr(atomic, "_renameat2", lambda: None)
    assert replaced(config)
    assert (config.read_bytes(), names(config)) == (NEW, ["config.json"])


def test_update_keeps_owner_mode_and_attributes(config: Path) -> None:
    """Backrest can read afterwards what it could read before."""
    os.chown(config, 1234, 5678)
    config.chmod(0o640)
    os.setxattr(config, "user.note", b"kept")
    assert replaced(config)
    status = config.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 5678, 0o640)
    assert os.getxattr(config, "user.note") == b"kept"


def access_list(user: int) -> bytes:
    """An ACL as the kernel takes it: owner rw, `user` r, group and others nothing."""
    anyone = 0xFFFFFFFF
    entries = [(1, 6, anyone), (2, 4, user), (4, 0, anyone), (16, 4, anyone), (32, 0, anyone)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_update_keeps_the_access_list(config: Path) -> None:
    """The ACL of the file survives, not the one that the directory gives to new files."""
    os.setxattr(config, "system.posix_acl_access", access_list(1234))
    os.setxattr(config.parent, "system.posix_acl_default", access_list(4321))
    mode = config.stat().st_mode
    assert replaced(config)
    assert os.getxattr(config, "system.posix_acl_access") == access_list(1234)
    assert config.stat().st_mode == mode


def test_update_gives_nobody_the_access_that_the_directory_hands_down(config: Path) -> None:
    """A file without an ACL has none afterwards."""
    os.setxattr(config.parent, "system.posix_acl_default", access_list(4321))
    assert replaced(config)
    assert os.listxattr(config) == []


def test_update_sets_the_mode_that_was_asked_for(config: Path) -> None:
    """A mode of the operator's wins over the file's own."""
    config.chmod(0o644)
    assert update(Store(config, mode=0o660), lambda _: NEW)
    assert config.stat().st_mode & 0o7777 == 0o660


def test_update_refuses_a_file_system_that_will_not_have_the_mode(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written with wider rights than asked for."""
    monkeypatch.setattr(os, "fchmod", lambda *_: None)
    with pytest.raises(StoreError, match="does not let"):
        update(Store(config, mode=0o640), lambda _: NEW)
    assert (config.read_bytes(), names(config)) == (OLD, ["config.json"])


def test_a_failing_change_is_raised_as_it_is(config: Path) -> None:
    """An error of the caller's own is not taken for one of the file, and frees the lock."""

    def fail(_: bytes) -> bytes:
        raise PermissionError(errno.EACCES, "the caller's own")

    with pytest.raises(PermissionError, match="the caller's own"):
        update(Store(config), fail)
    assert replaced(config)


@pytest.mark.parametrize("exchange", [True, False])
def test_update_sees_a_save_made_during_the_change(
    config: Path, monkeypatch: pytest.MonkeyPatch, *, exchange: bool
) -> None:
    """The change is made again on what another program saved meanwhile.

    Without an exchange, too: there the look beforehand is all there is.
    """
    if not exchange:
        monkeypatch.setattr(atomic, "_renameat2", lambda: None)
    seen: list[bytes] = []

    def change(content: bytes) -> bytes:
        if not seen:
            (config.parent / "foreign").write_bytes(b"foreign")
            (config.parent / "foreign").replace(config)
        seen.append(content)
        return content + b"+ours"

    assert update(Store(config), change)
    assert seen == [OLD, b"foreign"]
    assert (config.read_bytes(), names(config)) == (b"foreign+ours", ["config.json"])


@pytest.mark.parametrize("content", [b"foreign", OLD])
def test_a_state_that_was_saved_over_is_not_replaced(config: Path, content: bytes) -> None:
    """Whoever read it is told, also where the same bytes were saved; the save stands."""
    store = Store(config)
    stored = store.read()
    (config.parent / "foreign").write_bytes(content)
    (config.parent / "foreign").replace(config)
    assert store.replace(stored, NEW) is Replacement.CHANGED
    assert (config.read_bytes(), names(config)) == (content, ["config.json"])
    assert store.replace(store.read(), NEW) is Replacement.WRITTEN
    assert (config.read_bytes(), names(config)) == (NEW, ["config.json"])


def test_only_a_replacement_locks(config: Path) -> None:
    """Nobody waits for another sidecar that reads, thinks, and finds nothing left behind."""
    holder = atomic.open_directory(config.parent)
    assert atomic.try_lock(holder)
    waits: list[float] = []
    store = Store(config, lock_wait=0.1, pause=waits.append)
    assert store.recover() == []
    stored = store.read()
    assert waits == []
    with pytest.raises(StoreError, match="locked"):
        store.replace(stored, NEW)
    assert waits != []
    os.close(holder)


def test_update_waits_for_the_lock(config: Path) -> None:
    """Another holder is waited for, and nothing is created to do so."""
    holder = atomic.open_directory(config.parent)
    assert atomic.try_lock(holder)
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        assert names(config) == ["config.json"]
        if len(waits) == 3:
            atomic.unlock(holder)

    assert update(Store(config, pause=pause), lambda _: NEW)
    assert len(waits) == 3
    os.close(holder)


def test_update_gives_up_waiting(config: Path) -> None:
    """A lock that is not given back within the wait is an error, and nothing is written."""
    holder = atomic.open_directory(config.parent)
    assert atomic.try_lock(holder)
    waits: list[float] = []
    with pytest.raises(StoreError, match=r"locked .* for 300 seconds"):
        update(Store(config, pause=waits.append), lambda _: NEW)
    assert sum(waits) == pytest.approx(300)
    assert config.read_bytes() == OLD
    os.close(holder)


def test_a_turn_keeps_other_sidecars_out(config: Path) -> None:
    """Whoever has it reads and replaces as always; others wait until it is over."""
    store, other = Store(config), Store(config, lock_wait=0.1, pause=lambda _: None)
    with store.turn():
        stored = store.read()
        with pytest.raises(StoreError, match="locked"):
            other.replace(stored, b"theirs")
        assert store.replace(stored, NEW) is Replacement.WRITTEN
    assert other.replace(other.read(), b"theirs") is Replacement.WRITTEN


@pytest.mark.parametrize("target", ["real.json", "./real.json", "../config/real.json", "ABSOLUTE"])
def test_a_link_within_the_directory_is_followed(config: Path, target: str) -> None:
    """The file it leads to is replaced, and the link stays."""
    real = config.rename(config.parent / "real.json")
    config.symlink_to(str(real) if target == "ABSOLUTE" else target)
    assert Store(config).read().content == OLD
    assert replaced(config)
    assert config.is_symlink()
    assert (real.read_bytes(), names(config)) == (NEW, ["config.json", "real.json"])


@pytest.mark.parametrize(
    "target", ["../real.json", "sub/real.json", "/etc/hostname", "..", "gone/x"]
)
def test_a_link_that_leaves_the_directory_is_refused(config: Path, target: str) -> None:
    """Neither the link nor what it leads to is touched."""
    (config.parent / "sub").mkdir()
    for folder in (config.parent / "sub", config.parent.parent):
        (folder / "real.json").write_bytes(OLD)
    config.unlink()
    config.symlink_to(target)
    assert "leaves its directory" in refusal(config)
    assert str(config.readlink()) == target
    assert (config.parent / "sub" / "real.json").read_bytes() == OLD


def test_links_in_a_circle_are_refused(config: Path) -> None:
    """They end after a bounded number of steps."""
    config.unlink()
    config.symlink_to("other.json")
    (config.parent / "other.json").symlink_to("config.json")
    assert "in a circle" in refusal(config)


def test_a_linked_directory_is_as_good_as_another(config: Path, tmp_path: Path) -> None:
    """Only links at the file's own name matter."""
    (tmp_path / "link").symlink_to("config")
    assert replaced(tmp_path / "link" / "config.json")
    assert config.read_bytes() == NEW


def test_a_missing_file_names_both_ways_to_get_one(config: Path) -> None:
    """It is not created on the quiet."""
    config.unlink()
    assert refusal(config) == (
        f"{config} does not exist (start Backrest once or run `backrest-sidecar init`)"
    )
    with pytest.raises(StoreError, match="does not exist"):
        Store(config).read()
    assert names(config) == []


@pytest.mark.parametrize("folder", ["missing", "config/config.json"])
def test_a_missing_directory_is_named(config: Path, folder: str) -> None:
    """Also where a file stands in its place."""
    path = config.parent.parent / folder / "config.json"
    assert f"there is no directory {path.parent}" in refusal(path)


def put_fifo(path: Path) -> None:
    """Make a FIFO."""
    os.mkfifo(path)


def put_directory(path: Path) -> None:
    """Make a directory."""
    path.mkdir()


def put_device(path: Path) -> None:
    """Make a device, the one that swallows everything."""
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))


def put_socket(path: Path) -> None:
    """Make a socket that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (put_fifo, "is a FIFO"),
        (put_directory, "is a directory"),
        (put_device, "is a device"),
        (put_socket, "is a socket"),
    ],
)
def test_something_else_in_its_place_is_refused(
    open_config: Path, put: Callable[[Path], None], words: str
) -> None:
    """It is named, never waited for, and left alone."""
    open_config.unlink()
    put(open_config)
    kind = open_config.stat().st_mode
    assert words in refusal(open_config)
    with pytest.raises(StoreError, match=words):
        Store(open_config).read()
    assert (open_config.stat().st_mode, names(open_config)) == (kind, ["config.json"])


def test_a_file_too_large_for_a_config_is_not_read(config: Path) -> None:
    """Its size alone is enough to refuse it."""
    os.truncate(config, LARGEST + 1)
    assert "larger than 64 MiB" in refusal(config)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """The half-written content is removed, and a smaller one still fits."""
    path = tmp_path / "config.json"
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=16k", "tmpfs"):
        path.write_bytes(b"o" * 6000)
        message = refusal(path, lambda _: b"n" * 12000)
        assert "no space is left" in message
        assert (path.read_bytes(), names(path)) == (b"o" * 6000, ["config.json"])
        assert replaced(path)
        assert (path.read_bytes(), names(path)) == (NEW, ["config.json"])


def test_a_read_only_folder_is_named(config: Path) -> None:
    """It says how to mount it; a pass that has nothing to write does not mind."""
    with mounted(config.parent, "--bind", "-o", "ro", str(config.parent)):
        assert f"{config.parent} is read-only" in refusal(config)
        assert not update(Store(config), lambda _: None)
    assert (config.read_bytes(), names(config)) == (OLD, ["config.json"])


def test_a_file_mounted_alone_is_named(config: Path, tmp_path: Path) -> None:
    """It says to mount the directory, and leaves neither litter nor a changed file."""
    outside = tmp_path / "outside.json"
    outside.write_bytes(OLD)
    with mounted(config, "--bind", str(outside)):
        message = refusal(config)
        assert (outside.read_bytes(), names(config)) == (OLD, ["config.json"])
    assert "mounted as a single file" in message
    assert "mount the directory" in message


def test_a_folder_without_permission_is_named(open_config: Path) -> None:
    """A user who may read but not write gets told so."""
    answer = as_user(1234, lambda: replaced(open_config))
    assert f"no permission to replace {open_config} as user 1234" in answer
    assert (open_config.read_bytes(), names(open_config)) == (OLD, ["config.json"])


def test_a_file_without_permission_is_named(open_config: Path) -> None:
    """So does one who may not even read."""
    open_config.chmod(0o600)
    answer = as_user(1234, lambda: Store(open_config).read())
    assert f"no permission to read {open_config} as user 1234" in answer


@pytest.mark.parametrize(("user", "group"), [(0, 1234), (1234, 0)])
def test_an_owner_that_cannot_be_kept_is_refused(open_config: Path, user: int, group: int) -> None:
    """Another user's or group's file is not quietly made our own."""
    os.chown(open_config, user, group)
    open_config.parent.chmod(0o777)
    answer = as_user(1234, lambda: replaced(open_config))
    assert f"the owner {user}:{group} of {open_config} cannot be kept by user 1234" in answer
    assert (open_config.read_bytes(), names(open_config)) == (OLD, ["config.json"])


def test_an_ordinary_user_replaces_their_own_file(open_config: Path) -> None:
    """Root is not needed where the directory and the file are one's own."""
    os.chown(open_config, 1234, 1234)
    os.chown(open_config.parent, 1234, 1234)
    assert as_user(1234, lambda: replaced(open_config)) == "True"
    assert (open_config.read_bytes(), names(open_config)) == (NEW, ["config.json"])


def test_any_other_error_is_told_in_the_systems_words(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The action, the file and the reason, and nothing is left behind."""

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError) as caught:
        replaced(config)
    assert str(caught.value) == f"cannot replace {config}: Input/output error"
    assert (config.read_bytes(), names(config)) == (OLD, ["config.json"])


def test_content_that_reads_back_differently_is_not_put_in_place(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that loses bytes without an error does not get to harm the document."""
    monkeypatch.setattr(atomic, "write_all", lambda *_: None)
    assert "cannot be read back" in refusal(config)
    assert (config.read_bytes(), names(config)) == (OLD, ["config.json"])


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o600), (0o640, 0o640)])
def test_create_makes_the_file(config: Path, mode: int | None, expected: int) -> None:
    """Only the owner can read it unless a mode was asked for, whatever the umask."""
    config.unlink()
    before = os.umask(0)
    try:
        Store(config, mode).create(NEW)
    finally:
        os.umask(before)
    assert (config.read_bytes(), names(config)) == (NEW, ["config.json"])
    assert config.stat().st_mode & 0o7777 == expected


def test_create_never_overwrites(config: Path) -> None:
    """What is there stays, and the error can be told from others."""
    with pytest.raises(AlreadyThereError):
        Store(config).create(NEW)
    assert (config.read_bytes(), names(config)) == (OLD, ["config.json"])


@pytest.mark.parametrize("flagged", [True, False])
def test_create_never_overwrites_what_came_in_between(
    config: Path, monkeypatch: pytest.MonkeyPatch, *, flagged: bool
) -> None:
    """Not even what Backrest saved while the new file was being written."""
    config.unlink()
    if not flagged:
        monkeypatch.setattr(atomic, "_renameat2", lambda: None)
    write_all = atomic.write_all

    def write_while_saved(descriptor: int, content: bytes) -> None:
        write_all(descriptor, content)
        config.write_bytes(OLD)

    monkeypatch.setattr(atomic, "write_all", write_while_saved)
    with pytest.raises(AlreadyThereError):
        Store(config).create(NEW)
    assert (config.read_bytes(), names(config)) == (OLD, ["config.json"])


def test_create_makes_what_a_dangling_link_leads_to(config: Path) -> None:
    """A link laid out for the document stays one."""
    config.unlink()
    config.symlink_to("real.json")
    Store(config).create(NEW)
    assert config.is_symlink()
    assert (config.parent / "real.json").read_bytes() == NEW


def test_create_needs_the_directory(tmp_path: Path) -> None:
    """A mistyped path does not become a tree of folders."""
    with pytest.raises(StoreError, match="there is no directory"):
        Store(tmp_path / "missing" / "config.json").create(NEW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_new", [True, False])
def test_a_directory_that_does_not_sync_is_told_as_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    is_new: bool,
) -> None:
    """The new document stands by then: only a loss of power could take it back."""

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(atomic, "sync_directory", fail)
    path = tmp_path / "config.json"
    store = Store(path)
    if is_new:
        store.create(b"new")
    else:
        path.write_bytes(b"old")
        assert update(store, lambda _: b"new")

    assert b"new" == path.read_bytes()
    assert ["config.json"] == [one.name for one in tmp_path.iterdir()]
    [notice] = caplog.messages
    assert "is written" in notice
    assert os.strerror(errno.EIO) in notice


@pytest.mark.parametrize("path", ["/", ".", ".."])
def test_a_directory_is_told_as_one(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also one that has no name of its own, as in `--config /`."""
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    store = Store(Path(path))
    for act in (store.read, lambda: update(store, lambda _: b"x"), lambda: store.create(b"x")):
        with pytest.raises(StoreError, match=r"directory|there already"):
            act()
    with pytest.raises(StoreError, match="is a directory"):
        store.read()
