"""Stopping containers for a while, and who uses a path; on containers that are only listed."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.docker.endpoint import DEFAULT_ADDRESS
from sidecar.docker.failures import DockerError, NoDocker
from sidecar.docker.models import Container, ContainerState, Mount
from sidecar.docker.usage import in_start_order, on_host, users_of
from sidecar.runner.journal import Journal, Stopped
from sidecar.runner.quiesce import (
    reasons_not_to_stop,
    start_again,
    while_nobody_stops,
    while_stopped,
)
from sidecar.runner.restore.users import OwnContainer, users_at_work
from sidecar.service.signals import interruptible

ROOT = "/var/lib/docker"


def container(name: str, *held: Mount, state: str = "running", **labels: str) -> Container:
    """Make a container; its id begins with its name."""
    found = {key.replace("_", "."): value for key, value in labels.items()}
    return Container(f"{name}-id", name, labels=found, mounts=held, state=state)


def of_compose(name: str, needs: str = "") -> Container:
    """Make one of a Compose project."""
    labels = {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": name,
        "com.docker.compose.depends_on": needs,
    }
    return Container(f"{name}-id", f"shop-{name}-1", labels=labels)


@dataclass
class Machine:
    """An engine in memory; `refuse` names calls that fail, `log` is what was done.

    `status` is what each container is, question by question, the last for good; `ended` is when
    the last end of each was.
    """

    present: list[Container] = field(default_factory=list)
    refuse: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    going: set[str] = field(default_factory=set)
    status: dict[str, list[str]] = field(default_factory=dict)
    ended: float = 0.0
    time: float = 1000.0
    address: str = "unix:///made-up.sock"
    error: DockerError | None = None

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it."""
        self._do(f"stop {container}")
        assert seconds

    def start(self, container: str) -> bool:
        """Start it."""
        self._do(f"start {container}")
        return any(one.id == container for one in self.present)

    def find(self, name: str) -> Container | None:
        """Find it."""
        return next((one for one in self.present if name in (one.id, one.name)), None)

    def goes_when_stopped(self, container: str) -> bool:
        """Tell whether it is one that goes."""
        return container in self.going

    def state(self, container: str) -> ContainerState | None:
        """Tell how it stands."""
        if not any(one.id == container for one in self.present):
            return None
        known = self.status.get(container, ["running"])
        status = known.pop(0) if len(known) > 1 else known[0]
        ended = datetime.fromtimestamp(self.ended or self.time, UTC).isoformat()
        return ContainerState(container, container, status, ended)

    def now(self) -> float:
        """Tell the time."""
        return self.time

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.log.append("wait")
        self.time += seconds

    def all(self) -> tuple[Container, ...]:
        """List them."""
        if self.error is not None:
            raise self.error
        return tuple(self.present)

    def data_root(self) -> str:
        """Return the engine's folder."""
        return ROOT

    def _do(self, call: str) -> None:
        self.log.append(call)
        if call in self.refuse:
            raise DockerError(f"would not {call}")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return an empty journal."""
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


WEB, DB = of_compose("web", "db:service_started:false"), of_compose("db")


def test_what_needs_others_stops_first_and_starts_last(journal: Journal) -> None:
    """For the block they stand still, and the journal knows it before they do."""
    machine = Machine([WEB, DB])

    with while_stopped(machine, [DB, WEB], journal, run=7):
        assert ["stop web-id", "stop db-id"] == machine.log
        assert {("web-id", 7), ("db-id", 7)} == {
            (one.container, one.run) for one in journal.containers.still_stopped()
        }

    assert ["start db-id", "start web-id"] == machine.log[2:]
    assert () == journal.containers.still_stopped()


def test_they_start_again_whatever_happens(journal: Journal) -> None:
    """Also what a signal raises."""
    machine = Machine([WEB, DB])

    with pytest.raises(KeyboardInterrupt), while_stopped(machine, [WEB, DB], journal):
        raise KeyboardInterrupt

    assert ["start db-id", "start web-id"] == machine.log[2:]


@pytest.mark.parametrize("error", [None, OSError("the disk is full")])
def test_who_is_interrupted_while_they_start_starts_them_all(
    journal: Journal, error: OSError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether what was done meanwhile has failed or not."""
    machine = Machine([WEB, DB])
    start = machine.start

    def start_slowly(container: str) -> bool:
        signal.raise_signal(signal.SIGINT)
        return start(container)

    monkeypatch.setattr(machine, "start", start_slowly)
    with pytest.raises(KeyboardInterrupt):
        be_stopped(machine, journal, error)

    assert ["start db-id", "start web-id"] == machine.log[2:]
    assert () == journal.containers.still_stopped()


def be_stopped(machine: Machine, journal: Journal, error: OSError | None) -> None:
    """Stop both for a moment, which may fail."""
    with interruptible(), while_stopped(machine, [WEB, DB], journal):
        if error is not None:
            raise error


def test_if_one_cannot_be_stopped_the_others_start_again(journal: Journal) -> None:
    """And nothing else is done; it may be stopping all the same, so it is waited for."""
    machine = Machine([WEB, DB], {"stop db-id"}, status={"db-id": ["running", "exited"]})

    with (
        pytest.raises(DockerError, match="would not stop db-id"),
        while_stopped(machine, [WEB, DB], journal, wait=machine.wait),
    ):
        raise AssertionError

    assert ["stop web-id", "stop db-id", "wait", "start db-id", "start web-id"] == machine.log
    assert () == journal.containers.still_stopped()


@pytest.mark.parametrize(
    ("status", "ended", "waits", "starts"),
    [
        (["exited"], 1000.0, 0, True),
        (["running"] * 3 + ["exited"], 0.0, 3, True),
        (["running"], 0.0, 19, False),
        (["exited"], 1020.0, 0, False),
        (["exited"], 999.0, 0, False),
        (["paused"], 0.0, 0, False),
    ],
)
def test_what_a_killed_process_was_about_to_stop_is_waited_for(
    journal: Journal,
    status: list[str],
    ended: float,
    waits: int,
    starts: bool,
) -> None:
    """Nobody stops it a second time. Stopped in the time it had, it is started by us."""
    machine = Machine([WEB], status={"web-id": status}, ended=ended)
    journal.containers.stopped(Stopped("web-id", "shop-web-1", 0, 1000.0, 4))

    assert () == start_again(machine, journal, machine.wait)

    assert ["wait"] * waits + ["start web-id"] * starts == machine.log
    assert () == journal.containers.still_stopped()


def test_without_patience_it_is_left_to_the_next_look(journal: Journal) -> None:
    """Each minute the runner looks, and holds up nothing else meanwhile."""
    machine = Machine([WEB], status={"web-id": ["running", "exited"]})
    journal.containers.stopped(Stopped("web-id", "shop-web-1", 0, 1000.0, 4))

    assert () == start_again(machine, journal)
    assert [] == machine.log
    assert () == start_again(machine, journal)
    assert ["start web-id"] == machine.log


def test_a_state_that_does_not_last_is_given_up_at_last(journal: Journal) -> None:
    """It stays to be done."""
    machine = Machine([WEB], status={"web-id": ["removing"]})
    journal.containers.stopped(Stopped("web-id", "shop-web-1", 0, 1000.0, 4))

    assert () == start_again(machine, journal, machine.wait)

    assert ["wait"] * 19 == machine.log
    assert 1 == len(journal.containers.still_stopped())


def test_one_that_cannot_be_started_keeps_none_of_the_others(journal: Journal) -> None:
    """It is told, and started by the next who looks."""
    machine = Machine([WEB, DB], {"start db-id"}, status={"db-id": ["exited"]})

    with (
        pytest.raises(DockerError, match="shop-db-1 is stopped and could not be started"),
        while_stopped(machine, [WEB, DB], journal),
    ):
        pass

    assert "start web-id" in machine.log
    assert ["db-id"] == [one.container for one in journal.containers.still_stopped()]
    assert 1 == len(start_again(machine, journal))
    machine.refuse.clear()
    assert () == start_again(machine, journal)
    assert () == journal.containers.still_stopped()


def test_what_somebody_is_at_is_not_started(journal: Journal) -> None:
    """A daemon that starts meanwhile must not start what a restore has stopped."""
    machine = Machine([WEB])

    with while_stopped(machine, [WEB], journal), while_stopped(machine, [], journal):
        assert () == start_again(machine, journal)
        assert ["stop web-id"] == machine.log


def test_a_lock_that_cannot_be_made_is_held_by_nobody(tmp_path: Path) -> None:
    """On a full disk too what was stopped is started."""
    with while_nobody_stops(tmp_path / "none") as is_free:
        assert is_free


def test_a_container_that_was_recreated_starts_by_its_name(journal: Journal) -> None:
    """One that is gone for good is no failure."""
    journal.containers.stopped(Stopped("old-id", "shop-web-1", 0))
    journal.containers.stopped(Stopped("gone-id", "gone", 0))
    machine = Machine([WEB])

    assert () == start_again(machine, journal)

    assert ["start gone-id", "start old-id", "start web-id"] == machine.log
    assert () == journal.containers.still_stopped()


def test_nothing_is_asked_of_the_engine_if_nothing_is_stopped(journal: Journal) -> None:
    """It may not even be there."""
    machine = Machine()

    assert () == start_again(machine, journal)
    assert [] == machine.log


def test_what_would_not_come_back_is_not_stopped() -> None:
    """Swarm would replace it, --rm remove it, and what is paused would run afterwards."""
    swarm = container("swarm", com_docker_swarm_service_name="shop_web")
    machine = Machine(going={"going-id"})
    found = [WEB, swarm, container("going"), container("paused", state="paused")]

    reasons = reasons_not_to_stop(machine, found)

    assert [
        "swarm belongs to the Swarm service shop_web: scale it to 0",
        "going would be removed when it stops (--rm): stop it yourself",
        "paused is paused: unpause or stop it",
    ] == list(reasons)


@pytest.mark.parametrize(
    ("held", "uses"),
    [
        (Mount("bind", "/srv/app/data", "/data"), True),
        (Mount("bind", "/srv/app/data/deep", "/data", is_writable=False), True),
        (Mount("bind", "/srv/app", "/app"), True),
        (Mount("bind", "/srv/app", "/app", is_writable=False), False),
        (Mount("bind", "/srv/app/data2", "/data"), False),
        (Mount("bind", "/", "/rootfs"), False),
        (Mount("bind", "/var/lib/docker/volumes", "/volumes"), False),
    ],
)
def test_who_has_a_part_of_a_path_or_may_write_to_it_uses_it(*, held: Mount, uses: bool) -> None:
    """Who oversees the whole machine does not, nor who only reads what lies above."""
    one = container("one", held)

    assert ((one,) if uses else ()) == users_of(["/srv/app/data"], [one], ROOT)


def test_a_path_is_found_through_our_own_mounts() -> None:
    """The engine knows the host's names only; the longest mount counts."""
    own = container("own", Mount("bind", "/srv", "/data"), Mount("bind", "/mnt/disk", "/data/disk"))

    paths = ["/data/x", "/data/disk/y", "/data", "/etc", "/database"]

    assert ["/srv/x", "/mnt/disk/y", "/srv", "/etc", "/database"] == [
        on_host(path, own) for path in paths
    ]
    assert "/data/x" == on_host("/data/x", None)
    assert "/host/etc" == on_host("/etc", container("own", Mount("bind", "/host", "/")))


def test_only_others_that_are_at_work_are_in_the_way() -> None:
    """We use the paths ourselves; what is stopped uses nothing."""
    held = Mount("bind", "/srv/x", "/x")
    machine = Machine(
        [
            container("1234567890ab", held),
            container("stopped", held, state="exited"),
            container("paused", held, state="paused"),
            container("elsewhere", Mount("bind", "/srv/y", "/y")),
        ]
    )

    found = users_at_work(machine, ["/srv/x"], OwnContainer("1234567890ab"))

    assert ["paused"] == [one.name for one in found]


def test_no_engine_on_a_plain_machine_means_no_container() -> None:
    """Within a container, or where one was named, it means that nobody knows."""
    machine = Machine(error=NoDocker("there is none"), address=DEFAULT_ADDRESS)

    assert () == users_at_work(machine, ["/srv"], OwnContainer(""))
    with pytest.raises(NoDocker):
        users_at_work(machine, ["/srv"], OwnContainer("?"))
    with pytest.raises(NoDocker):
        users_at_work(replace(machine, address="unix:///mine.sock"), ["/srv"], OwnContainer(""))
    broken = replace(machine, error=DockerError("no answer"))
    with pytest.raises(DockerError):
        users_at_work(broken, ["/srv"], OwnContainer(""))


NAMES = st.sampled_from("abcde")


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=3), max_size=5))
def test_every_container_starts_once_and_after_what_it_needs(needs: dict[str, list[str]]) -> None:
    """Except in a circle, which Compose refuses."""
    found = [
        of_compose(name, ",".join(f"{other}:service_started:false" for other in others))
        for name, others in needs.items()
    ]

    ordered = [one.labels["com.docker.compose.service"] for one in in_start_order(found)]

    assert sorted(needs) == sorted(ordered)
    if is_acyclic(needs):
        for name, others in needs.items():
            for other in set(others) & needs.keys() - {name}:
                assert ordered.index(other) < ordered.index(name)


def is_acyclic(needs: dict[str, list[str]]) -> bool:
    """Tell whether nothing needs itself through others."""
    left = {name: set(others) & needs.keys() - {name} for name, others in needs.items()}
    while ready := [name for name, others in left.items() if not others & left.keys()]:
        for name in ready:
            del left[name]
    return not left
