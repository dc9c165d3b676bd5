"""The memory: small, atomic, losable, and shared by processes."""

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest

from sidecar.docker.models import Mount
from sidecar.lib.files import open_directory, try_lock
from sidecar.reconciler import state
from sidecar.reconciler.state import ApplyTrouble, Memory, RunnerSeen, State

FULL = State(
    engine_id="E",
    orphans={"a": 1.5},
    accepted=("a",),
    disabled={"a": {"cron": "0 2 * * *"}, "b": None},
    disabling=("b",),
    enabling={"c": ({"disabled": False}, 5.0)},
    runner=RunnerSeen(
        "backrest", (Mount("bind", "/a", "/b"), Mount("volume", "/v", "/v", subpath="s"))
    ),
    written_at=2.5,
    trouble=ApplyTrouble(2, 9.0, "busy"),
    restarts=(1.0, 2.0),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state directory that does not exist yet."""
    return tmp_path / ".sidecar"


def test_what_is_remembered_is_there_for_the_next_process(folder: Path) -> None:
    """Every field survives, and only the owner may read it."""
    Memory(folder).change(**{one.name: getattr(FULL, one.name) for one in fields(FULL)})

    assert FULL == Memory(folder).state
    assert 0o700 == folder.stat().st_mode & 0o777
    assert [0o600] == [file.stat().st_mode & 0o777 for file in folder.iterdir()]


def test_state_of_the_version_before_still_loads(folder: Path) -> None:
    """Its mounts had no subpath."""
    folder.mkdir()
    old = '{"runner": {"name": "backrest", "mounts": [["volume", "/v", "/b", "v", "local"]]}}'
    (folder / "state.json").write_text(old)

    assert Memory(folder).state.runner == RunnerSeen(
        "backrest", (Mount("volume", "/v", "/b", "v", "local"),)
    )


def test_nothing_is_created_before_there_is_something_to_remember(folder: Path) -> None:
    """Nor by changing nothing, nor by a memory that only reads."""
    Memory(folder).change(orphans={})
    read_only = Memory(folder, read_only=True)
    read_only.change(engine_id="E")

    assert "E" == read_only.state.engine_id
    assert not folder.exists()


def test_the_same_again_writes_nothing(folder: Path) -> None:
    """A quiet house has a quiet disk."""
    memory = Memory(folder)
    memory.change(engine_id="E")
    before = (folder / "state.json").stat().st_ino
    memory.change(engine_id="E")

    assert before == (folder / "state.json").stat().st_ino


def test_processes_see_each_other_s_changes(folder: Path) -> None:
    """A change is made on what is there, not on what was read long ago."""
    one, other = Memory(folder), Memory(folder)
    one.change(engine_id="E")
    other.change(written_at=3.0)

    assert State(engine_id="E", written_at=3.0) == one.refresh() == other.state


def test_nobody_else_changes_anything_during_a_turn(folder: Path) -> None:
    """Whoever has it may, also in a turn within; after it others may again."""
    memory = Memory(folder)
    memory.change(engine_id="E")
    directory = open_directory(folder)
    try:
        with memory.turn() as state:
            assert "E" == state.engine_id
            memory.change(written_at=3.0)
            with memory.turn() as changed:
                assert 3.0 == changed.written_at
            assert not try_lock(directory)
        assert try_lock(directory)
    finally:
        os.close(directory)


def test_the_first_of_two_writers_is_not_overwritten(folder: Path) -> None:
    """Without a directory there is nothing to lock."""
    memory = Memory(folder)
    with memory.turn() as state:
        assert State() == state
        Memory(folder).change(engine_id="E")
        memory.change(written_at=3.0)
    assert State(engine_id="E", written_at=3.0) == memory.state == Memory(folder).state


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"engine_id": 7}', b'{"orphans": {"a": "x"}}', b"\xff"]
)
def test_a_state_that_cannot_be_read_is_lost_and_told(
    folder: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is kept from working by it, and its content is not logged."""
    folder.mkdir()
    (folder / "state.json").write_bytes(content)
    memory = Memory(folder)
    memory.change(engine_id="E")

    assert ["state.lost"] == [record.message for record in caplog.records]
    assert State(engine_id="E") == Memory(folder).state


def test_unknown_fields_of_a_newer_version_are_no_loss(folder: Path) -> None:
    """Going back a version keeps what that version knows."""
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"engine_id": "E", "newer": 1}))

    assert "E" == Memory(folder).state.engine_id


def test_a_directory_that_cannot_be_made_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is to be remembered is kept in mind."""
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "state")
    memory.change(engine_id="E")
    memory.change(written_at=1.0)

    assert ["state.not-saved"] == [record.message for record in caplog.records]
    assert State(engine_id="E", written_at=1.0) == memory.state


def test_a_state_that_cannot_be_replaced_is_removed_and_written_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old one would tell a later process what is wrong; a lost one tells it nothing."""
    memory = Memory(folder)
    memory.change(written_at=1.0)

    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(state, "write_small", no_space)
        memory.change(written_at=2.0)
        assert (False, State()) == (memory.is_saved, Memory(folder).state)
    memory.change(written_at=2.0)

    assert (True, 2.0) == (memory.is_saved, Memory(folder).state.written_at)


def test_no_directory_means_no_memory_on_disk() -> None:
    """It lasts as long as the process."""
    assert "E" == Memory(None).change(engine_id="E").engine_id


def test_a_writer_that_was_killed_leaves_only_litter(folder: Path) -> None:
    """A part that was never renamed is not the state."""
    Memory(folder).change(engine_id="E")
    (folder / ".state.json.deadbeef.part").write_text("{")

    assert "E" == Memory(folder).state.engine_id
    assert os.listdir(folder)


def test_what_a_killed_process_left_is_removed_by_the_next_write(folder: Path) -> None:
    """Of no other file: others are written without a turn."""
    folder.mkdir()
    for name in (".state.json.0123abcd.part", ".heartbeat.json.0123abcd.part"):
        (folder / name).write_bytes(b"{")
    Memory(folder).change(engine_id="E")

    left = {path.name for path in folder.iterdir()}
    assert {"state.json", ".heartbeat.json.0123abcd.part"} == left
