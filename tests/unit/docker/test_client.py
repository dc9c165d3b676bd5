"""The one client of Docker: threads, failures, and calls that another thread ends."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sidecar.docker.client import ClientCut, DockerClient
from sidecar.docker.failures import DockerError, NoDocker, RequestRefused
from tests.fakes.fake_docker import FakeDocker

SECONDS = 10.0
LIST = "/containers/json?all=1"


@pytest.fixture
def docker() -> Iterator[FakeDocker]:
    """Run a fake of Docker."""
    with FakeDocker() as running:
        yield running


def test_client_that_was_cut_stays_cut(docker: FakeDocker) -> None:
    """A cut that comes between two calls is not lost."""
    with DockerClient(docker.address, 1) as client:
        client.version()
        client.cut()
        with pytest.raises(ClientCut):
            client.version()


def test_cut_ends_a_call_that_waits(docker: FakeDocker) -> None:
    """In the thread that waits, at once."""
    with DockerClient(docker.address, 60) as client, ThreadPoolExecutor(1) as pool:
        docker.stall()
        waiting = pool.submit(client.get, LIST)
        docker.wait_for_connections()
        client.cut()
        with pytest.raises(ClientCut):
            waiting.result(SECONDS)
        docker.resume()


@pytest.mark.parametrize(
    "address",
    ["tcp://no.such.host.invalid:1", "tcp://127.0.0.1:1", "https://127.0.0.1:1", "tcp://nobody"],
)
def test_address_without_docker_is_an_error(address: str) -> None:
    """Whatever is wrong with it, and not before it is used."""
    with DockerClient(address, 1) as client, pytest.raises(DockerError):
        client.version()


def test_a_socket_that_is_not_there_is_no_docker(docker: FakeDocker) -> None:
    """Another thing than one that nobody answers at."""
    with DockerClient(docker.address) as client:
        client.get(LIST)
        docker.vanish()
        with pytest.raises(NoDocker):
            client.get(LIST)
        docker.appear()
        assert client.get(LIST) == b"[]"


def test_calls_at_the_same_time_have_a_connection_each(docker: FakeDocker) -> None:
    """Those that are free are used again."""
    with DockerClient(docker.address) as client, ThreadPoolExecutor(2) as pool:
        client.spoken()
        for _ in range(3):
            docker.stall()
            asked = [pool.submit(client.get, LIST) for _ in range(2)]
            docker.wait_for_connections(2)
            docker.resume()
            assert [b"[]", b"[]"] == [one.result(SECONDS) for one in asked]

        assert docker.calls["GET /version"] == 1
        assert docker.open_connections == 2
    docker.wait_for_no_connections()


def test_all_paths_go_over_one_connection(docker: FakeDocker) -> None:
    """The library alone would make one for each."""
    with DockerClient(docker.address) as client:
        for path in (LIST, "/volumes", "/info"):
            client.get(path)
        assert docker.open_connections == 1


def test_another_version_is_spoken_after_a_refusal(docker: FakeDocker) -> None:
    """An engine that was replaced may not speak the old one any more."""
    with DockerClient(docker.address) as client:
        client.get(LIST)
        docker.refusals["/containers"] = 400
        docker.refusal_text = "client version 1.41 is too new"
        docker.api_version = "1.40"
        with pytest.raises(RequestRefused, match="another API version"):
            client.get(LIST)
        docker.refusals.clear()
        client.get(LIST)

    assert docker.asked[-1].startswith("/v1.40/")


def test_what_an_engine_says_is_told_without_its_json(docker: FakeDocker) -> None:
    """The words are in a field."""
    docker.refusals["/containers"] = 500
    docker.refusal_text = "driver failed"
    with DockerClient(docker.address) as client, pytest.raises(RequestRefused) as caught:
        client.act("/containers/web/start")

    assert caught.value.message.endswith(
        "POST /containers/web/start with status 500: driver failed"
    )


class _Proxy(BaseHTTPRequestHandler):
    """What stands before an engine: it answers the version, and sends all else elsewhere."""

    asked: list[str]
    taken: list[str]
    sent: int
    read_on: threading.Event

    def do_GET(self) -> None:
        """Answer."""
        self.asked.append(f"{self.command} {self.path}")
        self.taken.append(self.headers.get("Accept-Encoding", "identity"))
        well = self.path in ("/version", "/elsewhere", "/v1.43/elsewhere")
        self.send_response(200 if well else 301)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(b'{"ApiVersion": "1.43"}')
        if self.path.endswith("/endless"):
            with suppress(OSError):
                for _ in range(10_000):
                    self.wfile.write(b"?" * 65536)
                    type(self).sent += 1
        if self.path == "/v1.43/elsewhere":
            self.read_on.wait(SECONDS)

    def do_POST(self) -> None:
        """Answer the same."""
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def proxy() -> Iterator[ThreadingHTTPServer]:
    """Run a proxy."""
    _Proxy.asked, _Proxy.taken, _Proxy.sent, _Proxy.read_on = [], [], 0, threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_answer_that_points_elsewhere_is_a_refusal(proxy: ThreadingHTTPServer) -> None:
    """Followed, a stop would become a GET of something else, and look like one that was done."""
    call = "/containers/web/stop"
    with DockerClient(f"tcp://127.0.0.1:{proxy.server_port}") as client:
        with pytest.raises(RequestRefused, match=f"answered POST {call} with status 301"):
            client.act(call)
        with pytest.raises(RequestRefused, match="301"):
            client.get(LIST)
    assert ["GET /version", f"POST /v1.43{call}"] == _Proxy.asked[:2]
    assert not any("/elsewhere" in asked for asked in _Proxy.asked)


def test_a_refused_stream_without_an_end_is_not_read_to_it(proxy: ThreadingHTTPServer) -> None:
    """What a refusal says is short; 640 MB of it would fill the memory."""
    with (
        DockerClient(f"tcp://127.0.0.1:{proxy.server_port}") as client,
        pytest.raises(RequestRefused, match="status 301"),
        client.stream("/endless", SECONDS),
    ):
        pytest.fail("it was taken for a stream")
    assert _Proxy.sent < 1000


def test_a_stream_that_comes_without_chunks_is_passed_on_as_it_comes(
    proxy: ThreadingHTTPServer,
) -> None:
    """A proxy of HTTP/1.0 sends none; whoever waits for a full piece waits for many events."""
    with (
        DockerClient(f"tcp://127.0.0.1:{proxy.server_port}") as client,
        client.stream("/elsewhere", 1.0) as pieces,
    ):
        assert next(pieces) == b'{"ApiVersion": "1.43"}'
        _Proxy.read_on.set()
        assert not [*pieces]


def test_answers_are_asked_for_as_they_are(proxy: ThreadingHTTPServer) -> None:
    """A proxy that compresses a stream of events makes nothing of it that can be read."""
    with DockerClient(f"tcp://127.0.0.1:{proxy.server_port}") as client:
        client.version()
    assert ["identity"] == _Proxy.taken


def test_closing_while_a_call_runs_leaves_nothing_open(docker: FakeDocker) -> None:
    """The call ends well, and its connection is not kept."""
    client = DockerClient(docker.address)
    with ThreadPoolExecutor(1) as pool:
        client.spoken()
        docker.stall()
        asked = pool.submit(client.get, LIST)
        docker.wait_for_calls("GET /containers/json", 1)
        client.close()
        docker.resume()
        assert asked.result(SECONDS) == b"[]"
    docker.wait_for_no_connections()


def test_what_the_block_of_a_stream_raises_stays_what_it_is(docker: FakeDocker) -> None:
    """A full disk there is no failure of Docker, and the stream is closed all the same."""
    with DockerClient(docker.address) as client:
        with pytest.raises(OSError, match="disk full") as caught:
            _read_one(client, docker)
        assert not isinstance(caught.value, DockerError)
        assert client.get(LIST) == b"[]"


def _read_one(client: DockerClient, docker: FakeDocker) -> None:
    with client.stream("/events", SECONDS) as pieces:
        docker.wait_for_streams()
        docker.send(b"one")
        assert next(pieces) == b"one"
        raise OSError("disk full")
