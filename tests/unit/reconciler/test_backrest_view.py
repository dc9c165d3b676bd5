"""What Backrest sees of the host: found, remembered, awaited, or like the host."""

from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.reconciler.backrest_view import (
    HOST_VIEW,
    BackrestView,
    find_container,
    resolve_backrest_view,
)
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import RunnerSeen

MOUNTS = (Mount("bind", "/srv", "/userdata"),)
BACKREST = Container("ab" * 32, "backrest", mounts=MOUNTS)
DEFAULT = ReconcilerSettings(Path("config.json"))
NAMED = replace(DEFAULT, runner_named=True)
SEEN = RunnerSeen("backrest", MOUNTS)
NOBODY = Inventory()


def test_the_container_is_found_by_name_or_id() -> None:
    """A short name is never taken for the beginning of an id."""
    inventory = Inventory((Container("ab", "ab" * 6), BACKREST))

    assert BACKREST == find_container(inventory, "backrest")
    assert BACKREST == find_container(Inventory((BACKREST,)), "ab" * 6)
    assert find_container(Inventory((BACKREST,)), "ab") is None
    assert "ab" * 6 == getattr(find_container(inventory, "ab" * 6), "name", "")


@pytest.mark.parametrize("settings", [DEFAULT, NAMED])
def test_its_mounts_are_read_and_remembered(settings: ReconcilerSettings) -> None:
    """Whether it was named or goes by the default name."""
    view = resolve_backrest_view(Inventory((BACKREST,)), settings, None, from_docker=True)

    assert BackrestView(MOUNTS, SEEN) == view


@pytest.mark.parametrize("settings", [DEFAULT, NAMED])
def test_while_it_is_absent_the_remembered_mounts_count(settings: ReconcilerSettings) -> None:
    """Unless it was another's."""
    other = replace(settings, policy=Policy(runner_container="other"), runner_named=False)

    assert BackrestView(MOUNTS, SEEN) == resolve_backrest_view(
        NOBODY, settings, SEEN, from_docker=True
    )
    assert HOST_VIEW == resolve_backrest_view(NOBODY, other, SEEN, from_docker=True)


def test_one_that_was_named_and_never_seen_is_awaited() -> None:
    """Until then it counts as one without mounts, unless a flag says what it sees."""
    mapped = replace(NAMED, policy=Policy(path_map=(("/a", "/b"),)))
    prefixed = replace(NAMED, policy=Policy(volume_prefix="/volumes"))

    assert BackrestView((), is_awaited=True) == resolve_backrest_view(
        NOBODY, NAMED, None, from_docker=True
    )
    assert HOST_VIEW == resolve_backrest_view(NOBODY, mapped, None, from_docker=True)
    assert HOST_VIEW == resolve_backrest_view(NOBODY, prefixed, None, from_docker=True)
    assert HOST_VIEW == resolve_backrest_view(NOBODY, DEFAULT, None, from_docker=True)


def test_a_list_from_a_file_counts_only_for_one_that_was_named() -> None:
    """A preview of somebody's list does not take any `backrest` in it for ours."""
    listed = Inventory((BACKREST,))

    assert HOST_VIEW == resolve_backrest_view(listed, DEFAULT, None, from_docker=False)
    assert MOUNTS == resolve_backrest_view(listed, NAMED, None, from_docker=False).mounts
