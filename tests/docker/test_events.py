"""Events and the cached inventory on a real engine, and one that is killed under the stream."""

import gc
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import docker
import pytest
from requests import Response

from private_docker import PrivateEngine, run_engine, stop_engine
from sample_stack import import_image
from sidecar.docker.events import EventStream
from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import Inventory
from sidecar.lib.backoff import Backoff
from sidecar.lib.errors import InventoryError
from sidecar.reconciler.tracker import Tracker
from world import IMAGE, World

LABELS = {"backrest.enable": "true"}
SECONDS = 30.0
SECOND = 10**9
Hint = str | None


class Listener:
    """An event stream on an engine, and what it hinted."""

    def __init__(self, address: str) -> None:
        self.hints: SimpleQueue[Hint] = SimpleQueue()
        self.stream = EventStream(
            address,
            "backrest.",
            self,
            backoff=Backoff(first=0.05, most=0.5),
        )

    def hint(self, container_id: str | None = None) -> None:
        """Keep a hint."""
        self.hints.put(container_id)

    hint_restart = hint

    def is_connected(self) -> bool:
        """Whether the stream is open."""
        return self.stream.is_connected

    def settle(self) -> None:
        """Wait for a hint at everything: the stream is open, or lost."""
        assert self.hints.get(timeout=SECONDS) is None

    def next_hint(self) -> Hint:
        """Wait for a hint."""
        return self.hints.get(timeout=SECONDS)


@pytest.fixture
def listener(engine: PrivateEngine) -> Iterator[Listener]:
    """Listen to the engine of the session; hints of the test before may be replayed."""
    listening = Listener(engine.address)
    with listening.stream:
        listening.settle()
        yield listening


@pytest.fixture
def tracker(engine: PrivateEngine) -> Iterator[Tracker]:
    """Track the engine of the session."""
    with DockerInventory(engine.address) as looking:
        yield Tracker(looking, "backrest.")


class Making:
    """Containers with options of their own, that a test may remove itself."""

    def __init__(self, client: docker.APIClient) -> None:
        self._client = client
        self._made: list[str] = []

    def container(self, name: str, **options: Any) -> str:
        """Create a labelled container and return its id."""
        host = self._client.create_host_config(network_mode="none")
        made = self._client.create_container(
            IMAGE, name=name, labels=LABELS, stop_signal="SIGKILL", host_config=host, **options
        )
        self._made.append(made["Id"])
        return str(made["Id"])

    def remove(self, identity: str) -> None:
        """Remove it, running or not."""
        self._client.remove_container(identity, force=True)
        self._made.remove(identity)

    def clear(self) -> None:
        """Remove what is left."""
        for identity in list(self._made):
            self.remove(identity)


@pytest.fixture
def making(docker_client: docker.APIClient) -> Iterator[Making]:
    """Make containers on the engine of the session."""
    made = Making(docker_client)
    yield made
    made.clear()


def hints_until(listener: Listener, marker: str) -> Counter[Hint]:
    """Count the hints up to the one for this container."""
    counted: Counter[Hint] = Counter()
    while (hint := listener.next_hint()) != marker:
        counted[hint] += 1
    return counted


def test_each_step_of_a_container_is_a_hint(
    making: Making, listener: Listener, docker_client: docker.APIClient
) -> None:
    """Created, started, renamed, updated, dead, destroyed: six hints."""
    one = making.container("e-steps")
    docker_client.start(one)
    docker_client.rename(one, "e-renamed")
    docker_client.update_container(one, mem_reservation="64m")
    docker_client.kill(one)
    docker_client.wait(one)
    making.remove(one)

    assert hints_until(listener, making.container("e-marker"))[one] == 6


def test_health_checks_and_execs_are_no_hints(
    world: World, making: Making, listener: Listener, docker_client: docker.APIClient
) -> None:
    """What fires each second on a busy host wakes nobody; nor do unlabelled containers."""
    check = {"test": ["CMD", "true"], "interval": SECOND, "timeout": 30 * SECOND, "retries": 1}
    one = making.container("e-healthy", healthcheck=check)
    checked = docker_client.events(filters={"container": one, "event": "exec_die"}, decode=True)
    docker_client.start(one)
    assert [next(checked)["Action"], next(checked)["Action"]] == ["exec_die", "exec_die"]
    checked.close()
    command = docker_client.exec_create(one, ["true"])
    docker_client.exec_start(command["Id"])
    other = world.container("e-unlabelled", {"backrest.schedule": "daily"}, running=True)

    counted = hints_until(listener, making.container("e-marker"))
    assert (counted[one], counted[other]) == (2, 0)


def test_refresh_is_one_call_and_sees_what_happened(
    world: World,
    making: Making,
    tracker: Tracker,
    docker_client: docker.APIClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Created, renamed, removed: each time what a relist finds."""
    world.container("e-first", LABELS)
    tracker.relist()
    link, calls = tracker._docker.client, list[str]()
    asked = link._request

    def counted(method: str, path: str, *rest: Any) -> Response:
        calls.append(path.partition("?")[0])
        return asked(method, path, *rest)

    monkeypatch.setattr(link, "_request", counted)

    one = making.container("e-old")
    assert names(tracker.refresh({one})) == ["e-first", "e-old"]
    docker_client.rename(one, "e-new")
    assert names(tracker.refresh({one})) == ["e-first", "e-new"]
    assert ["/containers/json"] * 2 == calls
    assert tracker.relist() is tracker.known()

    making.remove(one)
    after = tracker.refresh({one})
    assert names(after) == ["e-first"]
    assert tracker.relist() is after


def names(inventory: Inventory) -> list[str]:
    """Return the names of the containers, sorted."""
    return sorted(container.name for container in inventory.containers)


def test_options_of_a_new_volume_are_known_at_once(
    world: World, tracker: Tracker, tmp_path: Path
) -> None:
    """Its container is looked at alone."""
    tracker.relist()
    options = {"type": "none", "o": "bind", "device": str(tmp_path)}
    share = world.volume("e-share", **options)
    one = world.container("e-one", LABELS, [f"{share}:/data"])

    volume = tracker.refresh({one}).volumes[share]

    assert volume.options == options
    assert tracker.relist().volumes[share] is volume


def test_event_of_a_container_comes_after_the_list_knows_it(
    making: Making, tracker: Tracker, listener: Listener
) -> None:
    """So that the one look that a hint asks for is enough."""
    tracker.relist()
    for number in range(10):
        one = making.container(f"e-{number}")
        hints_until(listener, one)
        assert f"e-{number}" in names(tracker.refresh({one}))
        making.remove(one)
        hints_until(listener, one)
        assert f"e-{number}" not in names(tracker.refresh({one}))


class OwnEngine:
    """An engine that the test may kill and start again."""

    def __init__(self, folder: Path) -> None:
        self.running = run_engine(folder)

    def kill(self) -> None:
        """End it by SIGTERM, and wait until it is over."""
        os.kill(self.running.pid, signal.SIGTERM)
        os.waitpid(self.running.pid, 0)

    def start_again(self) -> None:
        """Start it in the same place."""
        self.running = run_engine(self.running.folder)

    def make_container(self, name: str) -> str:
        """Create a labelled container on it."""
        client = docker.APIClient(base_url=self.running.address, version="auto")
        import_image(client, IMAGE)
        made = client.create_container(IMAGE, name=name, labels=LABELS)
        client.close()
        return str(made["Id"])


@pytest.fixture
def own_engine(engine: PrivateEngine) -> Iterator[OwnEngine]:  # noqa: ARG001 - marks the test
    """Run a second engine, beside that of the session."""
    # Not pytest's folder: a unix socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="eng-", dir="/tmp"))
    try:
        own = OwnEngine(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    yield own
    stop_engine(own.running)


# The client library leaves a unix socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_engine_killed_under_the_stream_is_listened_to_again(own_engine: OwnEngine) -> None:
    """Hinted as lost and found, and seen whole; what it then does is hinted."""
    listening = Listener(own_engine.running.address)
    with DockerInventory(own_engine.running.address) as looking, listening.stream:
        tracker = Tracker(looking, "backrest.")
        listening.settle()
        first = own_engine.make_container("e-before")
        assert listening.next_hint() == first
        before = tracker.refresh({first})
        assert names(before) == ["e-before"]

        own_engine.kill()
        listening.settle()
        assert not listening.is_connected()
        with pytest.raises(InventoryError):
            tracker.relist()
        assert tracker.known() is before
        gc.collect()

        own_engine.start_again()
        while not listening.is_connected():
            listening.settle()
        second = own_engine.make_container("e-after")
        while (hint := listening.next_hint()) is None:
            pass
        assert hint == second
        assert "e-after" in names(tracker.relist())
