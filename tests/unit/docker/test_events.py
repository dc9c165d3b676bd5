"""The event stream against a Docker that does what no healthy one does."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.docker.events import EventStream, parse_events
from sidecar.lib.backoff import Backoff
from sidecar.lib.errors import InventoryError
from tests.fakes.certificate import make_certificate
from tests.fakes.fake_docker import FakeDocker, Replay

LABELS = {"backrest.enable": "true"}
SECONDS = 10.0
Hint = str | None
LOGGER = logging.getLogger("sidecar.docker.events")


class Listener(logging.Handler):
    """An event stream, and what it hinted and logged in order."""

    def __init__(
        self, address: str, *, silence: float = 300.0, backoff: Backoff | None = None
    ) -> None:
        super().__init__()
        self.hints: SimpleQueue[Hint] = SimpleQueue()
        self.restarts: list[str] = []
        self.states: SimpleQueue[tuple[bool, str]] = SimpleQueue()
        self.stream = EventStream(
            address,
            "backrest.",
            self,
            silence=silence,
            backoff=backoff or Backoff(first=0.01, most=0.05),
        )
        LOGGER.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what is logged."""
        reason = vars(record)["fields"].get("reason", "")
        self.states.put((record.getMessage() == "events.connected", reason))

    def hint(self, container_id: str | None = None) -> None:
        """Keep a hint."""
        self.hints.put(container_id)

    def hint_restart(self, container_id: str) -> None:
        """Keep a hint, and of which kind it was."""
        self.restarts.append(container_id)
        self.hints.put(container_id)

    def next_hint(self) -> Hint:
        """Wait for a hint."""
        return self.hints.get(timeout=SECONDS)

    def next_state(self) -> tuple[bool, str]:
        """Wait for another state."""
        return self.states.get(timeout=SECONDS)

    def is_quiet(self) -> bool:
        """Tell that nothing more was hinted, so far."""
        return self.hints.empty()


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Log openings too, and let those who listen go with the test."""
    with caplog.at_level(logging.INFO, LOGGER.name):
        yield
    for handler in LOGGER.handlers[:]:
        LOGGER.removeHandler(handler)


@pytest.fixture
def docker() -> Iterator[FakeDocker]:
    """Run a fake of Docker."""
    with FakeDocker() as running:
        yield running


@pytest.fixture
def listener(docker: FakeDocker) -> Iterator[Listener]:
    """Listen to it."""
    listening = Listener(docker.address)
    with listening.stream:
        assert listening.next_state() == (True, "")
        assert listening.next_hint() is None
        docker.wait_for_streams()
        yield listening


def test_container_that_changes_is_a_hint(docker: FakeDocker, listener: Listener) -> None:
    """Its id, once for each event."""
    one = docker.add("one", LABELS)
    docker.rename(one, "other")
    docker.remove(one)

    assert [one] * 5 == [listener.next_hint() for _ in range(5)]
    assert listener.is_quiet()


def test_docker_is_asked_for_what_matters_only(docker: FakeDocker, listener: Listener) -> None:
    """Health checks, execs and unlabelled containers wake nobody; the replay begins before now."""
    one = docker.add("one", {})
    two = docker.add("two", LABELS, state="created")
    docker.tell(one, "start")
    docker.tell(two, "exec_create: true", "exec_start: true", "exec_die", "health_status: healthy")
    docker.tell(two, "start")

    assert [listener.next_hint(), listener.next_hint()] == [two, two]
    assert listener.is_quiet()

    query = parse_qs(urlsplit(docker.asked[-1]).query)
    assert 0 <= time.time() - float(query["since"][0]) - 2 < SECONDS
    assert json.loads(query["filters"][0]) == {
        "type": ["container"],
        "event": ["create", "start", "die", "destroy", "rename", "update"],
        "label": ["backrest.enable"],
    }


def test_podman_is_asked_without_the_label_and_by_its_own_names() -> None:
    """It passes nothing for the name of a label, and containers die and go by other words."""
    with FakeDocker() as docker:
        docker.components = ["Podman Engine", "Conmon"]
        listening = Listener(docker.address)
        with listening.stream:
            assert listening.next_hint() is None
            docker.wait_for_streams()
            one = docker.add("one", {}, state="created")
            docker.tell(one, "died", "remove", "exec_died", "health_status")
            assert [one] * 3 == [listening.next_hint() for _ in range(3)]
            assert listening.is_quiet()

    query = parse_qs(urlsplit(docker.asked[-1]).query)
    actions = ["create", "start", "die", "destroy", "rename", "update", "died", "remove"]
    assert json.loads(query["filters"][0]) == {"type": ["container"], "event": actions}


def test_hint_for_everything_comes_after_the_stream_is_open(docker: FakeDocker) -> None:
    """What is listed then misses nothing that the stream does not tell."""
    order: list[str] = []

    class Ordered(Listener):
        """Keeps the order of both."""

        def emit(self, record: logging.LogRecord) -> None:
            order.append(record.getMessage())

        def hint(self, container_id: str | None = None) -> None:
            order.append(f"hint after {docker.calls['GET /events']}")
            super().hint(container_id)

    listening = Ordered(docker.address)
    with listening.stream:
        assert listening.next_hint() is None

    assert ["events.connected", "hint after 1"] == order


@pytest.mark.parametrize("fault", ["end_streams", "drop"])
def test_stream_that_ends_is_told_and_opened_again(
    docker: FakeDocker, listener: Listener, fault: str
) -> None:
    """In good order or not: the end means that nobody listens."""
    getattr(docker, fault)()

    connected, reason = listener.next_state()
    assert (connected, bool(reason)) == (False, True)
    assert listener.next_state() == (True, "")
    assert [None, None] == [listener.next_hint(), listener.next_hint()]

    docker.wait_for_streams()
    one = docker.add("one", LABELS, state="created")
    assert listener.next_hint() == one


@pytest.mark.parametrize(
    "content",
    [
        b"hunter2\n",
        b'{"status": "hunter2"}\n',
        b'{"Actor": {"ID": ""}}\n',
        b'{"Actor": {"ID": 7}}\n',
        b'["hunter2"]\n',
        b'{"message": "hunter2", "Actor": null}\n',
        b"\xff\xfe\n",
    ],
)
def test_what_is_no_event_ends_the_stream(
    docker: FakeDocker, listener: Listener, content: bytes
) -> None:
    """Its words are not told: an event carries labels, which may hold secrets."""
    docker.send(content)

    connected, reason = listener.next_state()
    assert not connected
    assert "what is no event" in reason
    assert "hunter2" not in reason
    assert listener.next_state() == (True, "")


def test_half_an_event_is_no_hint(docker: FakeDocker, listener: Listener) -> None:
    """It becomes one with its other half."""
    docker.send(b'{"Actor": {"ID": "a')
    docker.send(b'b"}}\n{"Actor": {"ID": "cd"}}\n{"Act')

    assert [listener.next_hint(), listener.next_hint()] == ["ab", "cd"]
    docker.end_streams()
    assert not listener.next_state()[0]
    assert listener.next_hint() is None


def test_silent_stream_is_opened_anew_without_a_word(docker: FakeDocker) -> None:
    """A stalled stream looks like a quiet house; half an event does not help it."""
    listening = Listener(docker.address, silence=0.2)
    with listening.stream:
        assert listening.next_hint() is None
        docker.wait_for_streams()
        docker.send(b'{"Actor": {"ID": "a')
        assert listening.next_hint() is None
        assert listening.next_hint() is None

    assert listening.next_state() == (True, "")
    assert listening.states.empty()


def test_stream_may_be_opened_anew_on_request(docker: FakeDocker, listener: Listener) -> None:
    """Someone saw a change that it had not told; that is no loss of Docker."""
    listener.stream.reopen()

    assert listener.next_hint() is None
    docker.wait_for_calls("GET /events", 2)
    assert listener.states.empty()
    assert listener.stream.is_connected


def test_absent_docker_is_a_state(docker: FakeDocker) -> None:
    """At the start too; told once, however often it is looked for."""
    docker.vanish()
    listening = Listener(docker.address)
    with listening.stream:
        connected, reason = listening.next_state()
        assert not connected
        assert "there is no Docker socket" in reason
        with pytest.raises(Empty):
            listening.states.get(timeout=0.2)
        assert listening.next_hint() is None
        assert listening.is_quiet()

        docker.appear()
        assert listening.next_state() == (True, "")
        assert listening.next_hint() is None


@pytest.mark.parametrize("status", [429, 500])
def test_docker_that_refuses_is_asked_again(docker: FakeDocker, status: int) -> None:
    """What it answers is told, and a better answer is taken."""
    docker.refusals["/events"] = status
    listening = Listener(docker.address)
    with listening.stream:
        connected, reason = listening.next_state()
        assert not connected
        assert f"status {status}" in reason
        docker.wait_for_calls("GET /events", 3)
        docker.refusals.clear()
        assert listening.next_state() == (True, "")


def test_proxy_that_forbids_events_is_told_with_the_permission(docker: FakeDocker) -> None:
    """An operator reads which switch to set."""
    docker.refusals["/events"] = 403
    listening = Listener(docker.address)
    with listening.stream:
        assert "must permit EVENTS" in listening.next_state()[1]


def test_another_version_after_a_restart_is_spoken(docker: FakeDocker, listener: Listener) -> None:
    """The version is asked for at each opening."""
    docker.vanish()
    docker.api_version = "1.44"
    docker.appear()

    assert not listener.next_state()[0]
    while not listener.next_state()[0]:
        pass
    assert docker.asked[-1].startswith("/v1.44/events?")


@pytest.mark.parametrize("replay", list(Replay))
def test_any_replay_is_only_hints(docker: FakeDocker, listener: Listener, replay: Replay) -> None:
    """What Docker makes of `since` decides nothing: everything is hinted anyway."""
    one = docker.add("one", LABELS, state="created")
    assert listener.next_hint() == one
    docker.replay = replay
    listener.stream.reopen()

    assert listener.next_hint() is None
    # The old one too: Docker notices that nobody reads it only when it writes.
    docker.wait_for_streams(2)
    two = docker.add("two", LABELS, state="created")
    assert {listener.next_hint()} <= {one, two}


def closing_seconds(listening: Listener) -> float:
    """Measure how long the stream takes to end."""
    started = time.monotonic()
    listening.stream.close()
    return time.monotonic() - started


Starts = Callable[[], FakeDocker]


@pytest.fixture(params=["unix", "tcp", "tls"])
def reached(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> FakeDocker:
    """Return Docker that is reached by each kind of address, not yet running."""
    if request.param == "unix":
        return FakeDocker()
    if request.param == "tcp":
        return FakeDocker(port=0)
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    return FakeDocker(port=0, secure=make_certificate(tmp_path))


def test_closing_wakes_a_read(reached: FakeDocker) -> None:
    """Over each kind of connection, within a second."""
    with reached as docker:
        listening = Listener(docker.address)
        listening.stream.start()
        assert listening.next_hint() is None
        one = docker.add("one", LABELS, state="created")
        assert listening.next_hint() == one

        assert closing_seconds(listening) < 1


def test_closing_wakes_the_opening(reached: FakeDocker) -> None:
    """Docker took the connection and says nothing: no handshake, no answer."""
    with reached as docker:
        docker.stall()
        listening = Listener(docker.address)
        listening.stream.start()
        docker.wait_for_connections()

        assert closing_seconds(listening) < 1
        assert listening.is_quiet()
        assert listening.states.empty()


def test_closing_does_not_wait_for_the_next_try(docker: FakeDocker) -> None:
    """A Docker that is gone for long is tried twice a minute; closing is not."""
    docker.vanish()
    listening = Listener(docker.address, backoff=Backoff(first=30.0, spread=0.0))
    with listening.stream:
        assert not listening.next_state()[0]
        started = time.monotonic()

    assert time.monotonic() - started < 1


def test_closing_before_the_start_is_no_error(docker: FakeDocker) -> None:
    """A daemon that fails early closes what it made."""
    Listener(docker.address).stream.close()

    assert docker.calls == {}


def pieces_of(content: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut bytes at these places."""
    places = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    return [content[start:end] for start, end in pairwise(places)]


@given(
    st.lists(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])), max_size=6),
    st.lists(st.integers(0), max_size=30),
)
def test_events_are_the_same_however_they_are_cut(ids: list[str], cuts: list[int]) -> None:
    """Many in a piece, one in many pieces, and a character in two."""
    events = [json.dumps({"Actor": {"ID": one}}, ensure_ascii=False) for one in ids]
    content = "".join(f"{event}\n" for event in events).encode()

    assert ids == [event.id for event in parse_events(pieces_of(content, cuts), "x")]


def test_starts_and_ends_are_told_apart() -> None:
    """Docker calls an end `die`, Podman `died`; what is not named is none."""
    actions = ("create", "start", "die", "died", "destroy", None)
    events = [{"Actor": {"ID": "a"}} | ({"Action": one} if one else {}) for one in actions]
    content = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    told = [event.is_restart for event in parse_events([content], "x")]
    assert [False, True, True, True, False, False] == told


def test_restarts_are_hinted_apart(docker: FakeDocker, listener: Listener) -> None:
    """Also by the running stream."""
    one = docker.add("loop", LABELS, state="created")
    assert (one, []) == (listener.next_hint(), listener.restarts)
    docker.set_state(one, "running", "start")
    assert (one, [one]) == (listener.next_hint(), listener.restarts)
    assert listener.is_quiet()


def test_event_without_an_end_is_refused() -> None:
    """Memory stays bounded whatever the other side sends."""
    with pytest.raises(InventoryError, match="without an end"):
        list(parse_events((b"x" * 2**20 for _ in range(100)), "x"))
