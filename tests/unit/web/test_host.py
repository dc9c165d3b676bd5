"""What every listener bears: clients that send anything, send nothing, or take nothing."""

import asyncio
import errno
import json
import logging
import select
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sidecar.lib.errors import SidecarError, UsageError
from sidecar.web.app import MOST_BODY, HostNames, build_app, page_routes, read_json, text_page
from sidecar.web.host import HttpHost, Listener
from sidecar.web.protocol import MOST_HEAD, MOST_SERVED, SECONDS, BoundedProtocol, Bounds
from sidecar.web.sockets import connect_to_folder, listen_in_folder, listen_on_address
from tests.unit.web.clients import (
    LOOPBACK,
    Connect,
    body_of,
    eventually,
    read_all,
    request_of,
    send,
    status_of,
    to_port,
    trickle,
    waiting,
)

LARGE = 20_000_000
SCHEMA = {
    "type": "object",
    "properties": {"say": {"type": "string"}},
    "required": ["say"],
    "additionalProperties": False,
}
WELL = request_of("GET", "/healthz")


async def _heard(request: Request) -> Response:
    return JSONResponse(await read_json(request, SCHEMA))


async def _endless(_: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        yield b"first\n"
        await asyncio.Event().wait()

    return StreamingResponse(lines())


async def _torrent(_: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000
            await asyncio.sleep(0)

    return StreamingResponse(lines())


def _fails() -> Response:
    raise ValueError("MARK")


def _raises(error: Exception) -> Callable[[Request], Response]:
    def answer(_: Request) -> Response:
        raise error

    return answer


ROUTES = [
    *page_routes(
        {
            "/healthz": lambda: text_page(HTTPStatus.OK, "alive"),
            "/status": lambda: text_page(HTTPStatus.OK, "well"),
            "/large": lambda: Response(b"x" * LARGE),
            "/fails": _fails,
        }
    ),
    Route("/usage", _raises(UsageError("no such plan", "write another"))),
    Route("/cannot", _raises(SidecarError("it stops"))),
    Route("/heard", _heard, methods=["POST"]),
    Route("/endless", _endless),
    Route("/torrent", _torrent),
]


class Served:
    """A host that serves the same app on a port and on a socket in a folder."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        address = (LOOPBACK, 0)
        listeners = [
            Listener(listen_on_address(*address), build_app(ROUTES, HostNames(LOOPBACK)), bounds),
            Listener(listen_in_folder(folder), build_app(ROUTES), bounds),
        ]
        self.host = HttpHost(listeners)
        self.ways: dict[str, Connect] = {
            "tcp": to_port(self.host.port),
            "unix": lambda: connect_to_folder(folder, 10),
        }


@pytest.fixture
def bounds() -> Bounds:
    """As the program has them."""
    return Bounds()


@pytest.fixture
def served(tmp_path: Path, bounds: Bounds) -> Iterator[Served]:
    """Serve both until the test ends."""
    made = Served(tmp_path, bounds)
    with made.host:
        yield made


@pytest.fixture(params=["tcp", "unix"])
def connect(served: Served, request: pytest.FixtureRequest) -> Connect:
    """What connects to one of the listeners."""
    return served.ways[request.param]


quick = pytest.mark.parametrize("bounds", [Bounds(seconds=0.3)], ids=["quick"])


# What clients may send


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /healthz HTTP/1.0\n\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: 1\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nX: MARKINPUT\r\n\r\n", 400),
        (b"GET /status HTTP/1.1\r\nhOsT :\tMARKINPUT\n\n", 400),
        (b"GET /status HTTP/1.1\r\nHost: localhost\r\nHost: MARKINPUT\r\n\r\n", 400),
        (b"nonsense MARKINPUT\r\n\r\n", 400),
        (b"GET /MARKINPUT HTTP/2.0\r\n\r\n", 400),
        (b"GET  /MARKINPUT HTTP/1.1\r\n\r\n", 400),
        (b"GET /MARK\xffINPUT HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00MARKINPUT\r\n\r\n", 400),
        (b'{"do": "MARKINPUT"}\n\n', 400),
        (b"GET /MARKINPUT HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET http://MARKINPUT/status HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"MARKINPUT /status HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: MARKINPUT\r\n" * 1000 + b"\r\n", 431),
    ],
    ids=lambda value: str(value[:40]) if isinstance(value, bytes) else str(value),
)
def test_requests_are_bounded_and_never_quoted(
    connect: Connect, request_bytes: bytes, status: int
) -> None:
    """An answer to anything, in our own words."""
    said = send(connect, request_bytes)
    assert status == status_of(said)
    assert b"MARK" not in said


@pytest.mark.parametrize(
    ("size", "status"), [(MOST_HEAD, 200), (MOST_HEAD + 1, 431), (20_000, 431)]
)
def test_a_head_has_its_size_however_it_comes(connect: Connect, size: int, status: int) -> None:
    """Also when all of it comes at once, which h11 alone would take."""
    head = request_of("GET", "/healthz", "X: ")
    whole = head[:-4] + b"x" * (size - len(head)) + b"\r\n\r\n"
    assert status == status_of(send(connect, whole))


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (["Content-Length: 11", "Content-Length: 12"], b'{"say":"x"} ', 400),
        (["Content-Length: 11, 12"], b'{"say":"x"} ', 400),
        (
            ["Content-Length: 5", "Transfer-Encoding: chunked"],
            b'b\r\n{"say":"x"}\r\n0\r\n\r\n',
            400,
        ),
        (["Transfer-Encoding: chunked, identity"], b'b\r\n{"say":"x"}\r\n0\r\n\r\n', 400),
        (["Transfer-Encoding: gzip"], b"x", 400),
        (["Content-Length: -1"], b"x", 400),
        (["Content-Length: x"], b"x", 400),
        (["Transfer-Encoding: chunked"], b"MARK\r\n", 400),
        (["Transfer-Encoding: chunked"], b'b\r\n{"say":"x"}MARK', 400),
        (["Transfer-Encoding: chunked"], b"5;" + b"x" * 20_000, 400),
        (["Transfer-Encoding: chunked"], b'b\r\n{"say":"x"}\r\n0\r\n\r\n', 200),
        (["Content-Length: 11", "Content-Length: 11"], b'{"say":"x"}', 200),
        (["Content-Length: 11", "Expect: 100-continue"], b'{"say":"x"}', 100),
        ([f"Content-Length: {MOST_BODY + 1}"], b"x" * (MOST_BODY + 1), 413),
        (["Content-Length: 99999999999"], b"x" * (MOST_BODY + 1), 413),
        (["Transfer-Encoding: chunked"], b"FFFF\r\n" + b"x" * 0xFFFF + b"\r\n2\r\nxx\r\n", 413),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_body_has_one_length_and_a_bounded_one(
    connect: Connect, headers: list[str], body: bytes, status: int
) -> None:
    """What two programs could read in two ways is refused, also where the second would be us."""
    said = send(connect, request_of("POST", "/heard", *headers, body=body))
    assert status == status_of(said)
    assert b"MARK" not in said


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_broken_body_of_a_request_that_needs_none(connect: Connect, method: str) -> None:
    """Whether it is answered or refused: whole, and the next one is served."""
    headers = ("Transfer-Encoding: chunked",)
    said = send(connect, request_of(method, "/healthz", *headers, body=b"MARK\r\n"))
    assert status_of(said) in (200, 400)
    assert 200 == status_of(send(connect, WELL))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the body is no JSON"),
        (b"{", "the body is no JSON"),
        (b"\xff", "the body is no JSON"),
        (b"[" * MOST_BODY, "the body is no JSON"),
        (b'{"a":' * 9000, "the body is no JSON"),
        (b"[1]", "the body: is not of type 'object'"),
        (b"{}", "the body: 'say' is a required property"),
        (b'{"say": 1}', "say: is not of type 'string'"),
        (b'{"say": "x", "to": 1}', "the body: Additional properties"),
        (b'{"say": ["' + b"x" * 60_000 + b'"]}', "say: is not of type 'string'"),
        (b'{"say": "", "' + b"x" * 60_000 + b'": 1}', "the body: Additional properties"),
    ],
    ids=lambda value: str(value[:20]),
)
def test_what_is_wrong_with_a_body_is_told(connect: Connect, body: bytes, error: str) -> None:
    """With its place, as JSON, in short, and the next one is served."""
    length = f"Content-Length: {len(body)}"
    said = send(connect, request_of("POST", "/heard", length, body=body))
    assert 400 == status_of(said)
    assert len(said) < 1000
    assert json.loads(body_of(said))["error"].startswith(error)
    assert 200 == status_of(send(connect, WELL))


def test_a_body_of_any_depth_is_answered(connect: Connect) -> None:
    """Also if it can just be read, and is too deep for whatever looks at it next."""
    for deep in range(930, 1000):
        body = b'{"say":' + b"[" * deep + b"]" * deep + b"}"
        length = f"Content-Length: {len(body)}"
        assert 400 == status_of(send(connect, request_of("POST", "/heard", length, body=body)))


def test_a_second_request_on_a_connection_is_not_read(connect: Connect) -> None:
    """Each connection has one: nothing can be hidden behind it."""
    said = send(connect, WELL + request_of("GET", "/status") * 50)
    assert (200, b"alive\n") == (status_of(said), body_of(said))
    assert 1 == said.count(b"HTTP/1.1")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_other_methods_are_not_allowed(connect: Connect, method: str) -> None:
    """A body that comes along does not make the answer get lost."""
    said = send(connect, request_of(method, "/status", body=b"x" * 30_000))
    assert said.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"\r\nallow: get, head\r\n" in said.lower()


def test_a_page_for_bodies_names_its_method(connect: Connect) -> None:
    """And it is no page."""
    said = send(connect, request_of("GET", "/heard"))
    assert 405 == status_of(said)
    assert b"\r\nallow: post\r\n" in said.lower()


def test_a_client_that_goes_on_sending_gets_its_answer_in_peace(connect: Connect) -> None:
    """Closing at once would reset the connection, and with it what is still on its way."""
    with connect() as connection:
        connection.sendall(request_of("POST", "/status"))
        assert [connection] == select.select([connection], [], [], 10)[0]
        for _ in range(10):
            connection.sendall(b"x" * 1000)
        connection.shutdown(socket.SHUT_WR)
        said = b""
        while part := connection.recv(65536):
            said += part
    assert 405 == status_of(said)


def test_a_client_that_says_that_it_is_done_gets_its_answer(connect: Connect) -> None:
    """It has only closed its own side, and the answer takes a moment."""
    with connect() as connection:
        connection.sendall(WELL)
        connection.shutdown(socket.SHUT_WR)
        assert 200 == status_of(read_all(connection))


@pytest.mark.parametrize("part", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nX: ", WELL])
def test_a_client_that_goes_away_does_no_harm(connect: Connect, part: bytes) -> None:
    """The next one is served."""
    with connect() as connection:
        connection.sendall(part)
    assert 200 == status_of(send(connect, WELL))


# Clients that take their time


@quick
@pytest.mark.parametrize(
    "part", [b"", WELL[:-2], request_of("POST", "/heard", "Content-Length: 99")]
)
def test_a_slow_client_is_hung_up_on(connect: Connect, part: bytes) -> None:
    """Its time is counted as a whole: a byte now and then does not keep it in."""
    began = time.monotonic()
    with connect() as connection:
        connection.sendall(part)
        connection.settimeout(0.02)
        assert trickle(connection, until=began + 5) is True
        assert 0.2 < time.monotonic() - began < 3


@quick
def test_a_client_that_says_nothing_is_hung_up_on(connect: Connect) -> None:
    """Without a word."""
    with connect() as connection:
        assert b"" == read_all(connection)


@pytest.mark.parametrize("bounds", [Bounds(clients=1, seconds=0.3)], ids=["quick"])
@pytest.mark.parametrize("path", ["/large", "/torrent"])
def test_a_client_that_takes_nothing_is_hung_up_on(connect: Connect, path: str) -> None:
    """Of a page and of a stream alike; then there is room for another."""
    with connect() as connection:
        connection.sendall(request_of("GET", path))
        assert [connection] == select.select([connection], [], [], 10)[0]
        assert 503 == status_of(send(connect, WELL))
        assert eventually(lambda: status_of(send(connect, WELL)) == 200)
        assert len(read_all(connection)) < LARGE


@quick
def test_a_page_of_any_size_arrives_where_it_is_taken(connect: Connect) -> None:
    """Also if that takes longer than a client has for a part of it."""
    said = send(connect, request_of("GET", "/large"))
    assert LARGE == len(body_of(said))


def test_too_many_clients_are_told_so(connect: Connect) -> None:
    """Those that are served stay; who has gone makes room for another."""
    with ExitStack() as stack:
        slow = [stack.enter_context(waiting(connect)) for _ in range(MOST_SERVED)]
        said = send(connect, WELL)
        assert (503, b"too many clients\n") == (status_of(said), body_of(said))
        slow[0].sendall(b"\r\n")
        assert 200 == status_of(read_all(slow[0]))
    assert eventually(lambda: status_of(send(connect, WELL)) == 200)


def test_far_too_many_clients_are_hung_up_on(connect: Connect) -> None:
    """The number of connections is bounded, whatever comes, and none has a thread."""
    before = threading.active_count()
    with ExitStack() as stack:
        crowd = [stack.enter_context(waiting(connect)) for _ in range(4 * MOST_SERVED)]
        crowd[-1].settimeout(SECONDS / 2)
        assert b"" == read_all(crowd[-1])
        assert before == threading.active_count()


@pytest.mark.parametrize(("crowded", "other"), [("tcp", "unix"), ("unix", "tcp")])
def test_a_crowd_at_one_listener_does_not_starve_the_other(
    served: Served, crowded: str, other: str
) -> None:
    """The command line reaches the daemon, whatever happens at its port."""
    with ExitStack() as stack:
        for _ in range(2 * MOST_SERVED):
            stack.enter_context(waiting(served.ways[crowded]))
        assert 0 == status_of(send(served.ways[crowded], WELL))
        assert 200 == status_of(send(served.ways[other], WELL))


# What goes wrong inside


def test_a_page_that_fails_tells_nothing(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what and where, without the text: it might be a secret."""
    said = send(connect, request_of("GET", "/fails"))
    assert (500, b"Internal Server Error\n") == (status_of(said), body_of(said))
    (record,) = (it for it in caplog.records if it.levelno >= logging.WARNING)
    fields: dict[str, Any] = vars(record)["fields"]
    assert ("http.failed", "ValueError") == (record.message, fields["reason"])
    assert "test_host.py" in fields["at"][-1]
    assert "MARK" not in str(fields)


def test_a_connection_that_breaks_down_is_told_and_cut(
    connect: Connect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a mistake of ours; the host goes on."""

    def fail(*_: object) -> bytes:
        raise ValueError("MARK")

    with monkeypatch.context() as patched:
        patched.setattr(BoundedProtocol, "_read_head", fail)
        assert b"" == send(connect, WELL)
    (record,) = (it for it in caplog.records if it.levelno >= logging.WARNING)
    assert "http.failed" == record.message
    assert "MARK" not in str(vars(record)["fields"])
    assert 200 == status_of(send(connect, WELL))


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/usage", 422, {"error": "no such plan", "hint": "write another"}),
        ("/cannot", 503, {"error": "it stops", "hint": ""}),
    ],
)
def test_what_cannot_be_done_is_told_as_json(
    connect: Connect, path: str, status: int, error: dict[str, str]
) -> None:
    """By its status too: what was asked wrongly differs from what does not work now."""
    said = send(connect, request_of("GET", path))
    assert (status, error) == (status_of(said), json.loads(body_of(said)))


class _FullSocket(socket.socket):
    """A listener in a process that has no descriptor left."""

    tries: list[float]

    def accept(self) -> tuple[socket.socket, Any]:
        """Fail."""
        self.tries.append(time.monotonic())
        raise OSError(errno.EMFILE, "Too many open files")


def test_a_host_that_cannot_accept_does_not_try_all_the_time() -> None:
    """Out of descriptors, the listener would look ready again and again; nor does it end."""
    with _FullSocket() as full:
        full.tries = []
        full.bind((LOOPBACK, 0))
        full.listen()
        with (
            HttpHost([Listener(full, build_app(ROUTES))]) as host,
            socket.create_connection((LOOPBACK, host.port), timeout=0.3) as client,
        ):
            with pytest.raises(TimeoutError):
                client.recv(1)
            assert full.tries
            assert full.tries[-1] - full.tries[0] < 0.2


@pytest.mark.parametrize(
    ("headers", "part"),
    [("Content-Length: 99", b"{"), ("Transfer-Encoding: chunked", b"zz\r\n")],
)
def test_a_client_that_leaves_its_body_unfinished_is_no_failure(
    connect: Connect, caplog: pytest.LogCaptureFixture, headers: str, part: bytes
) -> None:
    """Else whoever hangs up could fill the log with errors."""
    with connect() as connection:
        connection.sendall(request_of("POST", "/heard", headers, body=part))
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)
    assert 200 == status_of(send(connect, WELL))
    assert [] == [it.message for it in caplog.records if it.levelno >= logging.WARNING]


def test_a_client_that_resets_its_connection_is_no_failure(
    connect: Connect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also between the last part of its answer and the word that this was all."""

    def has_reset(_: object) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr("asyncio.selector_events._SelectorSocketTransport.write_eof", has_reset)
    for _ in range(20):
        assert 200 == status_of(send(connect, WELL))
    assert [] == [it.message for it in caplog.records if it.levelno >= logging.WARNING]


# The end


def test_closing_hangs_up_on_whoever_waits(tmp_path: Path) -> None:
    """Within a second, with slow clients connected; then nobody listens there."""
    served = Served(tmp_path, Bounds())
    connects = list(served.ways.values())
    with ExitStack() as stack:
        slow = [stack.enter_context(waiting(connect)) for connect in (*connects, *connects)]
        assert 200 == status_of(send(connects[0], WELL))
        began = time.monotonic()
        served.host.close()
        assert time.monotonic() - began < 1
        assert [b""] * 4 == [read_all(one) for one in slow]
    with pytest.raises(ConnectionRefusedError):
        connects[0]()
    served.host.close()


def test_closing_ends_streams(tmp_path: Path) -> None:
    """Twenty of them within a second, and whoever follows one sees that it has no end."""
    served = Served(tmp_path, Bounds(clients=20))
    with ExitStack() as stack:
        followers = [stack.enter_context(connect()) for connect in [served.ways["unix"]] * 20]
        for follower in followers:
            follower.sendall(request_of("GET", "/endless"))
            assert 200 == status_of(follower.recv(1000))
        began = time.monotonic()
        served.host.close()
        assert time.monotonic() - began < 1
        assert all(not read_all(follower).endswith(b"0\r\n\r\n") for follower in followers)


def test_an_answer_under_way_is_sent_before_the_end(tmp_path: Path) -> None:
    """Closing waits a moment for it."""
    began, may_end = threading.Event(), threading.Event()

    def slow() -> Response:
        began.set()
        assert may_end.wait(10)
        return text_page(HTTPStatus.OK, "late")

    listener = Listener(listen_in_folder(tmp_path), build_app(page_routes({"/slow": slow})))
    host = HttpHost([listener])
    with connect_to_folder(tmp_path, 10) as client:
        client.sendall(request_of("GET", "/slow"))
        assert began.wait(10)
        closing = threading.Thread(target=host.close)
        closing.start()
        may_end.set()
        assert b"late\n" == body_of(read_all(client))
        closing.join()
