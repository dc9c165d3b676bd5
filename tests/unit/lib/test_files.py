"""Replacing a file in one step: the primitives, on real files."""

import ctypes
import errno
import os
import platform
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from sidecar.lib import files as atomic


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """Open the test's directory."""
    descriptor = atomic.open_directory(tmp_path)
    yield descriptor
    os.close(descriptor)


def answering(code: int) -> Callable[..., int]:
    """A renameat2 of a system that refuses with the error `code`."""

    def refuse(*_: object) -> int:
        ctypes.set_errno(code)
        return -1

    return refuse


def put_system(monkeypatch: pytest.MonkeyPatch, call: Callable[..., int] | None) -> None:
    """Have the system answer each renameat2 by `call`; None: it has no such call."""
    monkeypatch.setattr(atomic, "_renameat2", lambda: call)


def fill(folder: Path, **contents: str) -> None:
    """Write files by name."""
    for name, content in contents.items():
        (folder / name).write_text(content)


def texts(folder: Path) -> dict[str, str]:
    """Read all files by name."""
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_exchange_swaps_two_files(tmp_path: Path, directory: int) -> None:
    """Both names stay there, each with the content of the other."""
    fill(tmp_path, a="one", b="two")
    assert atomic.exchange(directory, "a", "b")
    assert texts(tmp_path) == {"a": "two", "b": "one"}


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM])
def test_exchange_says_where_it_is_not_offered(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A kernel or file system without it is an answer, not an error."""
    fill(tmp_path, a="one", b="two")
    put_system(monkeypatch, answering(code))
    assert not atomic.exchange(directory, "a", "b")
    assert texts(tmp_path) == {"a": "one", "b": "two"}


def test_exchange_says_where_the_system_call_is_unknown(
    directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine whose call number is not known has no exchange."""
    put_system(monkeypatch, None)
    assert not atomic.exchange(directory, "a", "b")


def test_exchange_raises_what_really_went_wrong(tmp_path: Path, directory: int) -> None:
    """A name that is not there is an error with its number and both names."""
    fill(tmp_path, a="one")
    with pytest.raises(FileNotFoundError) as caught:
        atomic.exchange(directory, "a", "missing")
    assert (caught.value.filename, caught.value.filename2) == ("a", "missing")


def test_exchange_works_through_the_bare_system_call(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A C library without renameat2 is no hindrance."""
    fill(tmp_path, a="one", b="two")
    real = ctypes.CDLL(None, use_errno=True)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(syscall=real.syscall))
    put_system(monkeypatch, atomic._renameat2.__wrapped__())
    assert atomic.exchange(directory, "a", "b")
    assert texts(tmp_path) == {"a": "two", "b": "one"}


def test_no_call_number_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown machine gets no system call rather than a wrong one."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace())
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    assert atomic._renameat2.__wrapped__() is None


@pytest.mark.parametrize("offered", [True, False])
def test_rename_new_never_overwrites(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch, *, offered: bool
) -> None:
    """What is there stays, with the flag of the kernel and without it."""
    if not offered:
        put_system(monkeypatch, None)
    fill(tmp_path, a="one", b="two")
    with pytest.raises(FileExistsError):
        atomic.rename_new(directory, "a", "b")
    atomic.rename_new(directory, "a", "c")
    assert texts(tmp_path) == {"b": "two", "c": "one"}


def test_a_new_file_is_for_its_owner_only(tmp_path: Path, directory: int) -> None:
    """Even with an open umask nobody else can read it, at no moment."""
    before = os.umask(0)
    try:
        os.close(atomic.create_new(directory, "new"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_new_file_takes_no_name_that_is_in_use(tmp_path: Path, directory: int, kind: str) -> None:
    """A link laid out for us is not followed either."""
    fill(tmp_path, other="kept")
    if kind == "file":
        fill(tmp_path, new="kept")
    else:
        (tmp_path / "new").symlink_to("other" if kind == "link" else "nowhere")
    with pytest.raises(FileExistsError):
        atomic.create_new(directory, "new")
    assert (tmp_path / "other").read_text() == "kept"
    assert not (tmp_path / "nowhere").exists()


def test_write_all_writes_on_after_short_writes(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that takes three bytes at a time gets them all."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    descriptor = atomic.create_new(directory, "new")
    atomic.write_all(descriptor, b"0123456789")
    os.close(descriptor)
    assert (tmp_path / "new").read_bytes() == b"0123456789"


def test_write_all_gives_up_on_a_file_that_takes_nothing(
    directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No progress is an error, not an endless loop."""
    monkeypatch.setattr(os, "write", lambda *_: 0)
    descriptor = atomic.create_new(directory, "new")
    with pytest.raises(OSError, match="Input/output"):
        atomic.write_all(descriptor, b"x")
    os.close(descriptor)


@pytest.mark.parametrize(("limit", "expected"), [(100, b"0123456789"), (4, b"01234")])
def test_read_all_is_bounded(tmp_path: Path, directory: int, limit: int, expected: bytes) -> None:
    """One byte above the limit tells the caller that there is more."""
    fill(tmp_path, a="0123456789")
    descriptor = atomic.open_present(directory, "a")
    assert atomic.read_all(descriptor, limit) == expected
    os.close(descriptor)


def test_open_present_does_not_wait_on_a_fifo(tmp_path: Path, directory: int) -> None:
    """A FIFO without a writer opens at once."""
    os.mkfifo(tmp_path / "fifo")
    descriptor = atomic.open_present(directory, "fifo")
    assert stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    os.close(descriptor)


def test_open_present_follows_no_link(tmp_path: Path, directory: int) -> None:
    """A link put there at the last moment leads nowhere."""
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic links"):
        atomic.open_present(directory, "link")


def test_the_lock_is_held_by_one_descriptor_at_a_time(tmp_path: Path, directory: int) -> None:
    """A second opening of the same directory waits until the first gives it back."""
    other = atomic.open_directory(tmp_path)
    assert atomic.try_lock(directory)
    assert not atomic.try_lock(other)
    atomic.unlock(directory)
    assert atomic.try_lock(other)
    os.close(other)
    assert list(tmp_path.iterdir()) == []


def test_owner_and_mode_are_given(tmp_path: Path, directory: int) -> None:
    """What was asked for is what the file has afterwards."""
    descriptor = atomic.create_new(directory, "new")
    assert atomic.give_owner(descriptor, 1234, 5678)
    assert atomic.give_mode(descriptor, 0o640)
    os.close(descriptor)
    status = (tmp_path / "new").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 5678, 0o640)


def test_an_owner_that_is_refused_is_an_answer(
    directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a refusal is one: any other error is raised."""
    descriptor = atomic.create_new(directory, "new")

    def refuse(code: int) -> Callable[..., None]:
        def fchown(*_: object) -> None:
            raise OSError(code, os.strerror(code))

        return fchown

    monkeypatch.setattr(os, "fchown", refuse(errno.EPERM))
    assert not atomic.give_owner(descriptor, 1234, 5678)
    assert atomic.give_owner(descriptor, os.getuid(), os.getgid())
    monkeypatch.setattr(os, "fchown", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        atomic.give_owner(descriptor, 1234, 5678)
    os.close(descriptor)


def test_attributes_become_those_of_the_source(tmp_path: Path, directory: int) -> None:
    """Those of the source are copied, others of the target go."""
    fill(tmp_path, source="", target="")
    os.setxattr(tmp_path / "source", "user.kept", b"1")
    os.setxattr(tmp_path / "target", "user.stray", b"2")
    descriptors = [atomic.open_present(directory, name) for name in ("source", "target")]
    atomic.copy_attributes(*descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    assert os.listxattr(tmp_path / "target") == ["user.kept"]
    assert os.getxattr(tmp_path / "target", "user.kept") == b"1"


def test_attributes_are_no_matter_where_there_are_none(
    directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system without extended attributes has nothing to copy."""

    def refuse(_: int) -> list[str]:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "listxattr", refuse)
    descriptor = atomic.create_new(directory, "new")
    atomic.copy_attributes(descriptor, descriptor)
    assert atomic._attributes(descriptor) == {}
    os.close(descriptor)


def test_removing_what_is_gone_is_fine(tmp_path: Path, directory: int) -> None:
    """Twice removed is removed."""
    fill(tmp_path, a="one")
    atomic.remove(directory, "a")
    atomic.remove(directory, "a")
    assert texts(tmp_path) == {}


def test_a_directory_that_cannot_be_synced_is_fine(directory: int) -> None:
    """A descriptor that knows no fsync, as some network directories, is let be."""
    reading, writing = os.pipe()
    atomic.sync_directory(directory)
    atomic.sync_directory(writing)
    os.close(reading)
    os.close(writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        atomic.sync_directory(writing)


def test_names_are_listed_in_order(tmp_path: Path, directory: int) -> None:
    """Hidden ones too, sorted."""
    fill(tmp_path, b="", a="")
    (tmp_path / ".c").touch()
    assert atomic.list_names(directory) == [".c", "a", "b"]


def test_one_file_system_is_forced_to_disk(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may be slow, or hang: nobody waits for them."""
    monkeypatch.setattr(os, "sync", lambda: pytest.fail("all file systems were waited for"))
    atomic.sync_file_system(directory)

    with pytest.raises(OSError, match="Bad file descriptor"):
        atomic.sync_file_system(-1)


@pytest.mark.parametrize("call", [None, answering(errno.ENOSYS)])
def test_without_such_a_call_all_of_them_are(
    directory: int, monkeypatch: pytest.MonkeyPatch, call: Callable[..., int] | None
) -> None:
    """An old C library, or a filter of system calls."""
    waited: list[bool] = []
    monkeypatch.setattr(atomic, "_syncfs", lambda: call)
    monkeypatch.setattr(os, "sync", lambda: waited.append(True))
    atomic.sync_file_system(directory)

    assert [True] == waited


def test_a_disk_that_fails_is_told(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is about to be deleted may be the only whole copy."""
    monkeypatch.setattr(atomic, "_syncfs", lambda: answering(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        atomic.sync_file_system(directory)


def test_an_old_library_has_no_such_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked up once."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace())
    assert atomic._syncfs.__wrapped__() is None
