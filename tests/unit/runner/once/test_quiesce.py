"""Containers around a backup: their order, their stop, and their start in any case."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sidecar.docker.failures import DockerError
from sidecar.runner.journal import Journal
from sidecar.runner.once.quiesce import (
    QuiesceContext,
    StopFailed,
    choose_stopped,
    find_replacement,
    in_start_order,
    quiesced,
)
from tests.fakes.quiesce_docker import QuiesceDocker, held, part_of


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return a journal."""
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def context(
    is_stopping: Callable[[], bool] = lambda: False, waits: list[float] | None = None
) -> QuiesceContext:
    """Return a context in which nobody waits."""

    class Waiter:
        wait = staticmethod((waits if waits is not None else []).append)
        is_stopped = property(lambda _: is_stopping())

    waiter: Any = Waiter()
    return QuiesceContext(5.0, waiter)


def names_left(journal: Journal) -> Sequence[str]:
    """Return what is still to be started."""
    return [one.name for one in journal.containers.still_stopped()]


def test_what_others_need_starts_first_in_whatever_order_it_is_listed() -> None:
    """Through services of the same project and through shared networks; else by name."""
    everything = [
        held("app", part_of("p", "app", "cache")),
        held("cache", part_of("p", "cache", "db", "gone")),
        held("db", part_of("p", "db")),
        held("other", part_of("q", "db", "app")),
        held("behind"),
        held("vpn"),
    ]
    for listed in itertools.permutations(everything):
        names = [one.name for one in in_start_order(listed, {"id-behind": "vpn", "id-vpn": "lost"})]
        assert ["db", "other", "vpn", "behind", "cache", "app"] == names


def test_a_circle_leaves_the_order_by_name() -> None:
    """Compose refuses one, containers made by hand may have it."""
    everything = [held("b"), held("a")]
    found = in_start_order(everything, {"id-a": "id-b", "id-b": "id-a"})
    assert ["a", "b"] == [one.name for one in found]


def test_what_is_chosen_runs_and_would_come_back() -> None:
    """One that is paused writes nothing; who is replaced or removed must not be stopped."""
    swarm = {"com.docker.swarm.service.name": "svc"}
    one, idle, paused = held("one"), held("idle", state="exited"), held("two", state="paused")
    docker = QuiesceDocker.of(
        one, idle, paused, held("task", swarm), fleeting=frozenset({"id-one"})
    )
    assert () == choose_stopped(docker, {"id-idle", "id-two"})
    assert () == choose_stopped(docker, ())
    with pytest.raises(StopFailed) as raised:
        choose_stopped(docker, {"id-one", "id-task"})
    assert "one would be removed" in raised.value.message
    assert "task belongs to the Swarm service svc" in raised.value.message


def test_one_that_cannot_be_stopped_lets_the_others_start_again(journal: Journal) -> None:
    """Nothing is backed up then; it may stop all the same, so it is waited for."""
    a, b, c = held("a"), held("b"), held("c")
    docker = QuiesceDocker.of(a, b, c, failures={"stop id-b": ["it hangs"]}, stopping={"id-b": 2})
    waits: list[float] = []
    with (
        pytest.raises(DockerError, match="nothing was backed up: it hangs"),
        quiesced(docker, (a, b, c), journal, context(waits=waits)),
    ):
        pytest.fail("the block must not run")
    assert ["stop id-a", "stop id-b", "start id-b", "start id-a"] == docker.calls
    assert [1.0, 1.0] == waits
    assert [] == names_left(journal)


def test_one_that_could_not_be_stopped_and_is_gone_or_stopped_is_started(journal: Journal) -> None:
    """Then there is nothing to be in doubt about."""
    a = held("a")
    docker = QuiesceDocker.of(a, failures={"stop id-a": ["it hangs"]})
    with pytest.raises(StopFailed), quiesced(docker, (a,), journal, context()):
        pytest.fail("the block must not run")
    assert ["stop id-a", "start id-a"] == docker.calls
    assert [] == names_left(journal)


def test_a_start_that_fails_is_tried_again_and_stops_no_other(journal: Journal) -> None:
    """What cannot be started for good is told, and left to the next start of ours."""
    a, b = held("a"), held("b")
    docker = QuiesceDocker.of(a, b, failures={"start id-b": ["busy"] * 3, "start id-a": ["busy"]})
    waits: list[float] = []
    with (
        pytest.raises(DockerError, match="b is not sure to run again: busy"),
        quiesced(docker, (a, b), journal, context(waits=waits)),
    ):
        assert ["a", "b"] == names_left(journal)
    assert [*["start id-b"] * 3, *["start id-a"] * 2] == docker.calls[2:]
    assert [1.0, 3.0, 1.0] == waits
    assert ["b"] == names_left(journal)


def test_what_the_backup_raises_comes_out_when_everything_runs_again(journal: Journal) -> None:
    """Whatever it is."""
    a = held("a")
    docker = QuiesceDocker.of(a)
    with pytest.raises(KeyError), quiesced(docker, (a,), journal, context()):
        raise KeyError
    with (
        pytest.raises(DockerError, match=r"^of the backup$"),
        quiesced(docker, (a,), journal, context()),
    ):
        raise DockerError("of the backup")
    assert ["stop id-a", "start id-a"] * 2 == docker.calls
    assert [] == names_left(journal)


def test_who_is_asked_to_end_stops_no_further_container(journal: Journal) -> None:
    """Those that were stopped by then are started."""
    a, b = held("a"), held("b")
    docker = QuiesceDocker.of(a, b)
    with (
        pytest.raises(StopFailed, match="asked to end"),
        quiesced(docker, (a, b), journal, context(lambda: bool(docker.calls))),
    ):
        pytest.fail("the block must not run")
    assert ["stop id-a", "start id-a"] == docker.calls


def test_what_has_come_in_the_place_of_a_container() -> None:
    """The same name, else the same part of a project, else the name that it will have."""
    one = held("p-db-1", part_of("p", "db"))
    twin = held("p-database-1", part_of("p", "db"))
    coming = held("0123456789ab_p-db-1")
    other = held("p-web-1", part_of("p", "web"))
    assert one == find_replacement(one, "p-db-1", (coming, twin, one))
    assert twin == find_replacement(one, "p-db-1", (other, coming, twin))
    assert coming == find_replacement(one, "p-db-1", (other, coming))
    assert None is find_replacement(held("x"), "x", (held("y"), other))
