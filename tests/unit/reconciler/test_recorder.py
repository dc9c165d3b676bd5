"""What passes leave behind: what a write remembers before, after, and when it fails."""

from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.docker.models import Inventory
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import InventoryError, StoreError
from sidecar.planner.ids import Owner
from sidecar.planner.propose import Planner
from sidecar.reconciler.recorder import (
    PassRecorder,
    confirm_docker,
    history_of,
    with_last_known_images,
)
from sidecar.reconciler.settings import Lifetime
from sidecar.reconciler.state import Memory, State
from tests.fakes.orphaned_plan import EXPIRED, ID, NIGHTLY, content_of, desired_state


def test_a_schedule_is_remembered_before_it_is_taken() -> None:
    """So that dying right after the write loses none; what was not written is taken back."""
    memory = Memory(None)
    recorder = PassRecorder(memory)
    proposal = Planner().propose(content_of(), desired_state())

    def fail() -> None:
        assert {ID: NIGHTLY} == memory.state.disabled
        raise OSError("full")

    with pytest.raises(OSError, match="full"), recorder.writing(proposal, to_file=False):
        fail()
    assert {} == memory.state.disabled
    with recorder.writing(proposal, to_file=True):
        assert {ID: NIGHTLY} == memory.state.disabled
    assert {} == memory.state.disabled
    with recorder.writing(proposal, to_file=False) as write:
        write.confirm()
    assert {ID: NIGHTLY} == memory.state.disabled


def test_no_schedule_is_taken_that_cannot_be_remembered(tmp_path: Path) -> None:
    """The pass is void; the next ones do all but disabling, until it can be remembered again."""
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "state")
    recorder = PassRecorder(memory)
    proposal = Planner().propose(content_of(), desired_state())

    with (
        pytest.raises(StoreError, match="cannot be remembered"),
        recorder.writing(proposal, to_file=True),
    ):
        pytest.fail("it must not be written")
    assert {} == memory.state.disabled
    careful = desired_state(replace(EXPIRED, may_disable=memory.is_saved))
    later = Planner().propose(content_of(), careful)
    assert later.after is later.before
    with recorder.writing(later, to_file=True) as write:
        write.confirm()
    assert (ID,) == later.changes.orphaned


def test_what_others_have_changed_since_a_write_was_decided_stays(tmp_path: Path) -> None:
    """As where Backrest is idle at last, and gets what a pass wanted long ago."""
    memory, other = Memory(tmp_path), Memory(tmp_path)
    taken = Owner("shop", "web")
    other.change(accepted=("a",), owners={"b": taken}, disabled={"c": None}, disabling=("c",))
    was = replace(EXPIRED, accepted=frozenset("d"), disabled={"e": NIGHTLY})
    proposal = Planner().propose(content_of(), desired_state(was))
    recorder = PassRecorder(memory)
    with recorder.writing(proposal, to_file=False) as write:
        write.confirm()
    state = other.refresh()
    assert (("a",), ("c",)) == (state.accepted, state.disabling)
    assert taken == state.owners["b"]
    assert {ID: NIGHTLY, "c": None} == state.disabled


def test_a_write_of_the_file_is_noted_for_the_runner_s_sake() -> None:
    """Only where it is applied, and later than it happens: the runner may just be reading."""
    applied, plain = Memory(None), Memory(None)
    proposal = Planner().propose(content_of(), desired_state())
    for memory, is_applied in ((applied, True), (plain, False)):
        recorder = PassRecorder(memory, is_applied=is_applied, clocks=Clocks(wall=lambda: 100.0))
        with recorder.writing(proposal, to_file=True):
            pass

    assert (102.0, 0.0) == (applied.state.written_at, plain.state.written_at)


def test_without_a_history_nothing_is_remembered() -> None:
    """What comes from files says nothing about what is gone."""
    memory = Memory(None)
    recorder = PassRecorder(memory)
    proposal = Planner().propose(content_of(), desired_state(None))
    with recorder.writing(proposal, to_file=True) as write:
        assert () == write.confirm()

    assert () == recorder.confirm(proposal)
    assert State() == memory.state


def test_history_is_what_was_remembered_and_what_is_wanted() -> None:
    """State and flags, side by side."""
    state = State(orphans={"a": 1.0}, accepted=("a",), disabled={"b": None})
    history = history_of(state, Lifetime(grace=5.0, accept_orphans=True), {"c": frozenset("k")})

    assert ({"a": 1.0}, frozenset("a"), {"b": None}) == (
        history.orphans,
        history.accepted,
        history.disabled,
    )
    assert (True, 5.0, {"c": frozenset("k")}) == (
        history.accepting,
        history.grace,
        history.contested,
    )


def test_another_engine_voids_the_pass_until_it_is_confirmed() -> None:
    """Unless there is nothing to lose, or nothing was known, or the engine would not say."""
    memory = Memory(None)
    confirm_docker(memory, "", guards=True, accept=False)
    confirm_docker(memory, "one", guards=True, accept=False)
    with pytest.raises(InventoryError, match="--accept-engine"):
        confirm_docker(memory, "two", guards=True, accept=False)
    assert "one" == memory.state.engine_id
    confirm_docker(memory, "two", guards=True, accept=True)
    confirm_docker(memory, "three", guards=False, accept=False)
    assert "three" == memory.state.engine_id


def test_what_a_removed_image_said_is_remembered(tmp_path: Path) -> None:
    """From the state, also by the next process; what matters to nobody is not kept."""
    labels = {"backrest.repo": "x", "com.docker.compose.service": "web", "maintainer": "someone"}
    before = Inventory(image_labels={"sha256:01": labels})
    after = Inventory(missing_images=frozenset({"sha256:01", "sha256:02"}))
    assert before is with_last_known_images(Memory(tmp_path), before, "backrest.")
    for _ in range(2):
        found = with_last_known_images(Memory(tmp_path), after, "backrest.")
        assert found.image_labels == {
            "sha256:01": {"backrest.repo": "x", "com.docker.compose.service": "web"}
        }
        assert found.missing_images == {"sha256:02"}
    with_last_known_images(Memory(tmp_path), Inventory(), "backrest.")
    assert {} == Memory(tmp_path).state.image_labels
