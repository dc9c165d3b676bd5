"""Files that are none: never waited for, never opened, told by what they are."""

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from sidecar.docker.compose.load import _dotenv
from sidecar.docker.inventory import load_saved
from sidecar.lib.errors import InventoryError, StoreError, UsageError
from sidecar.lib.read_file import NotAFileError, read_file
from sidecar.reconciler.init import read_password as read_repository_password
from sidecar.reconciler.settings import read_password
from sidecar.reconciler.state import Memory, State
from sidecar.reconciler.store.replace import Store
from sidecar.runner.loader import read_bytes
from sidecar.runner.once.env_file import read_env_file
from sidecar.runner.once.leftover import read_record
from sidecar.runner.settings import read_lines
from sidecar.service.healthcheck import check_heartbeat


def make_fifo(path: Path) -> None:
    """Make a FIFO that nobody writes to."""
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    """Make a socket that nobody listens on."""
    with ExitStack() as stack:
        stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))


KINDS: dict[str, Callable[[Path], None]] = {
    "a FIFO": make_fifo,
    "a socket": make_socket,
    "a directory": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    """By what it is; also behind a link."""
    KINDS[kind](tmp_path / "x")
    (tmp_path / "link").symlink_to("x")
    for name in ("x", "link"):
        with pytest.raises(NotAFileError) as caught:
            read_file(tmp_path / name, 9)
        assert f"it is {kind}, not a file" == caught.value.strerror


def test_a_file_is_read_whole_up_to_a_limit(tmp_path: Path) -> None:
    """One byte more tells that it is larger."""
    (tmp_path / "x").write_bytes(b"0123456789")

    assert b"0123456789" == read_file(tmp_path / "x", 10)
    assert b"01234" == read_file(tmp_path / "x", 4)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none", 4)


REFUSED: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "config.json of the sidecar": (lambda path: Store(path).read(), StoreError),
    "config.json of the runner": (read_bytes, StoreError),
    "--inventory": (load_saved, InventoryError),
    "--rcb-env-file": (lambda path: read_env_file(path, {}), UsageError),
    "--backrest-password-file": (read_password, UsageError),
    "init --password-file": (read_repository_password, UsageError),
    "--notify-url-file": (lambda path: read_lines("--notify-url-file", path), UsageError),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_somebody_names_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    """A FIFO would be waited for until its other end comes."""
    read, error = REFUSED[name]
    KINDS[kind](tmp_path / "x")
    with pytest.raises(error) as caught:
        read(tmp_path / "x")
    assert str(tmp_path / "x") in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_we_remember_counts_as_lost(tmp_path: Path, kind: str) -> None:
    """The state, the record of a backup once, the heartbeat, the name of a project."""
    for name in ("state.json", "backup-once.json", "heartbeat.json", ".env"):
        KINDS[kind](tmp_path / name)

    assert State() == Memory(tmp_path).state
    assert read_record(tmp_path) is None
    assert {} == _dotenv(tmp_path, {})
    assert not check_heartbeat(tmp_path, 0.0)[0]


def test_a_state_takes_the_place_of_a_fifo(tmp_path: Path) -> None:
    """It is replaced by its name, so that nobody has to be there to read."""
    make_fifo(tmp_path / "state.json")
    Memory(tmp_path).change(engine_id="x")

    assert "x" == Memory(tmp_path).state.engine_id
