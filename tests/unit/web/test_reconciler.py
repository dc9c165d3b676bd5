"""The pages over real sockets: what they say, to whom, and what they never show."""

import json
import logging
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.docker.models import Container, Inventory, Mount
from sidecar.lib.errors import DocumentError, InventoryError, SidecarError, UsageError
from sidecar.lib.log import _Formatter
from sidecar.reconciler.metrics import METRICS
from sidecar.reconciler.reconcile import Reconciler
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.report import ReconcilerReport
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory
from sidecar.web.reconciler import ReconcilerPages
from sidecar.web.server import MOST_SERVED, SECONDS, PageServer, text_page

LOOPBACK = "127.0.0.1"
ANY = "0.0.0.0"  # noqa: S104 - on purpose
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
PATHS = ("/healthz", "/readyz", "/metrics", "/status")


def ask(port: int, method: str, path: str, host: str = LOOPBACK) -> tuple[HTTPResponse, str]:
    """Send one request; give the answer and its body."""
    connection = HTTPConnection(host, port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response, body


def send(port: int, request: bytes) -> bytes:
    """Send bytes as they are; give all that comes until the server hangs up."""
    with socket.create_connection((LOOPBACK, port), timeout=10) as connection:
        connection.sendall(request)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side hangs up, however it does."""
    parts: list[bytes] = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@pytest.fixture
def ticking() -> list[float]:
    """A clock that stands until its one number is changed."""
    return [100.0]


@pytest.fixture
def report(ticking: list[float]) -> ReconcilerReport:
    """A report that knows nothing yet."""
    return ReconcilerReport(lambda: 1_780_000_000.0, lambda: ticking[0])


@pytest.fixture
def pages(report: ReconcilerReport) -> Iterator[ReconcilerPages]:
    """Pages that are served on a free port."""
    with ReconcilerPages((LOOPBACK, 0), report) as served:
        yield served


def outcome(folder: Path, labels: dict[str, str], root: dict[str, Any]) -> Any:
    """Make a real pass over one labelled container."""
    config = folder / "config.json"
    config.write_text(json.dumps(root))
    mounts = (Mount("bind", "/srv/MARKHOSTPATH", "/data"),)
    own = {f"backrest.{name}": value for name, value in labels.items()}
    inventory = Inventory((Container("c0", "web", labels=own, mounts=mounts),))
    return Reconciler(
        ReconcilerSettings(config), {}, PassRecorder(Memory(None)), is_from_docker=False
    ).run(ReconcilerSettings(config), inventory, NOON)


# Pages


def test_a_daemon_that_moves_is_healthy(pages: ReconcilerPages, ticking: list[float]) -> None:
    """One that hangs is not."""
    response, body = ask(pages.port, "GET", "/healthz")
    assert (200, "alive\n") == (response.status, body)
    ticking[0] += 211
    response, body = ask(pages.port, "GET", "/healthz")
    assert (503, "the main loop has not moved for 3 min\n") == (response.status, body)


def test_readiness_gives_its_reasons_in_words(
    pages: ReconcilerPages, report: ReconcilerReport, tmp_path: Path
) -> None:
    """One a line; none when all is well."""
    report.docker(False, "tcp://me:MARK@host")
    response, body = ask(pages.port, "GET", "/readyz")
    expected = "the engine is not connected\nno pass has ended yet\n"
    assert (503, expected) == (response.status, body)
    report.docker(True)
    report.pass_done(outcome(tmp_path, {"enable": "true"}, document()), 0.1, 1_780_000_000.0)
    response, body = ask(pages.port, "GET", "/readyz?verbose=1")
    assert (200, "ready\n") == (response.status, body)


def test_the_metrics_are_of_the_report(
    pages: ReconcilerPages, report: ReconcilerReport, ticking: list[float]
) -> None:
    """In Prometheus' text form; the age of the last good pass is that of now."""
    report.guarded(3)
    report.applied("foreign-edit", 1.0)
    ticking[0] += 5
    response, body = ask(pages.port, "GET", "/metrics")
    assert "text/plain; version=0.0.4; charset=utf-8" == response.getheader("Content-Type")
    lines = body.splitlines()
    assert "backrest_sidecar_guard_starts_total 3.0" in lines
    assert 'backrest_sidecar_applies_total{result="foreign-edit"} 1.0' in lines
    assert "backrest_sidecar_good_pass_age_seconds 5.0" in lines
    assert {metric.name for metric in METRICS} == {
        line.split()[2] for line in lines if line.startswith("# TYPE ")
    }


def test_the_status_tells_ids_reasons_and_times(
    pages: ReconcilerPages, report: ReconcilerReport, tmp_path: Path
) -> None:
    """All that the report knows, in one object."""
    now = 1_780_000_000.0
    labels = {"enable": "true", "keep": "no", "repo": "main"}
    report.pass_done(outcome(tmp_path, labels, document()), 0.25, now, ["event"])
    report.docker(True)
    report.document(True)
    report.backrest(True, now, "backrest")
    report.orphans({"backrest_sidecar_old": now - 60}, True)
    report.drift("backrest_sidecar_web", "paths")
    report.contested([("backrest_sidecar_web", "paths")])
    report.applied("waiting", now)
    report.beat(next_resync=now + 60)
    response, body = ask(pages.port, "GET", "/status")
    found = json.loads(body)
    at, plan = "2026-05-28T20:26:40+00:00", "backrest_sidecar_web"
    assert "application/json" == response.getheader("Content-Type")
    assert found.pop("version")
    assert {
        "now": at,
        "started": at,
        "ready": True,
        "reasons": [],
        "engine_connected": True,
        "document_good": True,
        "runner": {"name": "backrest", "known": True, "seen": at},
        "last_pass": {"at": at, "seconds": 0.25, "result": "unchanged", "hints": ["event"]},
        "last_good_pass": at,
        "next_resync": "2026-05-28T20:27:40+00:00",
        "plans": 0,
        "workloads": [{"workload": "web", "plan": plan, "problems": ["keep.invalid"]}],
        "problems": {"keep.invalid": 1},
        "orphans_held": True,
        "orphans": [{"plan": "backrest_sidecar_old", "since": "2026-05-28T20:25:40+00:00"}],
        "drift": [{"plan": plan, "key": "paths", "times": 1, "last": at}],
        "contested": [{"plan": plan, "key": "paths"}],
        "apply": {"result": "waiting", "at": at},
    } == found


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_head_is_get_without_the_body(pages: ReconcilerPages, path: str) -> None:
    """With the same status and length."""
    (full, body), (head, nothing) = (ask(pages.port, method, path) for method in ("GET", "HEAD"))
    assert (full.status, "") == (head.status, nothing)
    assert str(len(body)) == head.getheader("Content-Length")


@pytest.mark.parametrize(
    "path", ["/", "/status/", "//status", "/%2e%2e/etc/passwd", "*", "/Status"]
)
def test_there_is_nothing_else(pages: ReconcilerPages, path: str) -> None:
    """No directory, no file, no word of what was asked for."""
    response, body = ask(pages.port, "GET", path)
    assert (404, "Not Found\n") == (response.status, body)


def test_a_client_that_goes_on_sending_gets_its_answer_in_peace(pages: ReconcilerPages) -> None:
    """Closing at once would reset the connection, and with it what is still on its way."""
    with socket.create_connection((LOOPBACK, pages.port), timeout=10) as connection:
        connection.sendall(b"POST /status HTTP/1.1\r\n\r\n")
        assert [connection] == select.select([connection], [], [], 10)[0]
        for _ in range(10):
            connection.sendall(b"x" * 1000)
        connection.shutdown(socket.SHUT_WR)
        said = b""
        while part := connection.recv(65536):
            said += part
    assert said.startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_other_methods_are_not_allowed(pages: ReconcilerPages, method: str) -> None:
    """A body that comes along does not make the answer get lost."""
    said = send(pages.port, f"{method} /status HTTP/1.1\r\n\r\n".encode() + b"x" * 30_000)
    assert said.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"\r\nAllow: GET, HEAD\r\n" in said


def test_the_headers_name_no_software(pages: ReconcilerPages) -> None:
    """Nor may anyone keep an answer."""
    response, _ = ask(pages.port, "GET", "/status")
    assert {
        *("Date", "Content-Type", "Content-Length", "Cache-Control"),
        *("X-Content-Type-Options", "Connection"),
    } == {name for name, _ in response.getheaders()}
    assert "no-store" == response.getheader("Cache-Control")


# What clients may send


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /healthz HTTP/1.0\n\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: 1\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: MARKINPUT.example\r\nX: 1\r\n\r\n", 421),
        (b"GET /status HTTP/1.1\r\nhOsT :\tMARKINPUT\n\n", 421),
        (b"GET /status HTTP/1.1\r\nHost: localhost\r\nHost: MARKINPUT\r\n\r\n", 400),
        (b"nonsense MARKINPUT\r\n\r\n", 400),
        (b"GET /MARKINPUT HTTP/2.0\r\n\r\n", 400),
        (b"GET  /MARKINPUT HTTP/1.1\r\n\r\n", 400),
        (b"GET /MARK\xffINPUT HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00MARKINPUT\r\n\r\n", 400),
        (b"GET /MARKINPUT HTTP/1.1\r\n\r\n", 404),
        (b"MARKINPUT /status HTTP/1.1\r\n\r\n", 405),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: MARKINPUT\r\n" * 1000 + b"\r\n", 431),
    ],
    ids=lambda value: str(value[:40]) if isinstance(value, bytes) else str(value),
)
def test_requests_are_bounded_and_never_quoted(
    pages: ReconcilerPages, request_bytes: bytes, status: int
) -> None:
    """An answer to anything, in our own words."""
    said = send(pages.port, request_bytes)
    assert said.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"MARK" not in said


@pytest.mark.parametrize("part", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nX: "])
def test_a_client_that_goes_away_does_no_harm(pages: ReconcilerPages, part: bytes) -> None:
    """The next one is served."""
    with socket.create_connection((LOOPBACK, pages.port), timeout=10) as connection:
        connection.sendall(part)
    assert 200 == ask(pages.port, "GET", "/healthz")[0].status


def test_a_slow_client_is_hung_up_on() -> None:
    """Its time is counted as a whole: a byte now and then does not keep it in."""
    with (
        PageServer(LOOPBACK, 0, lambda _: text_page(HTTPStatus.OK), seconds=0.3) as server,
        socket.create_connection((LOOPBACK, server.port), timeout=10) as connection,
    ):
        began = time.monotonic()
        connection.settimeout(0.02)
        assert trickle(connection, until=began + 5) is True
        assert 0.2 < time.monotonic() - began < 3


def trickle(connection: socket.socket, until: float) -> bool:
    """Send a byte whenever nothing comes, until the server hangs up; whether it did."""
    while time.monotonic() < until:
        try:
            connection.send(b"x")
            if connection.recv(1) == b"":
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def test_too_many_clients_are_told_so(pages: ReconcilerPages) -> None:
    """Those that are served stay; who has gone makes room for another."""
    with ExitStack() as stack:
        slow = [stack.enter_context(waiting(pages.port)) for _ in range(MOST_SERVED)]
        assert eventually(lambda: ask(pages.port, "GET", "/healthz")[0].status == 503)
        assert "too many clients\n" == ask(pages.port, "GET", "/healthz")[1]
        slow[0].sendall(b"\r\n")
        assert read_all(slow[0]).startswith(b"HTTP/1.1 200 OK")
    assert eventually(lambda: ask(pages.port, "GET", "/healthz")[0].status == 200)


def test_far_too_many_clients_are_hung_up_on(pages: ReconcilerPages) -> None:
    """The number of threads is bounded, whatever comes."""
    before = threading.active_count()
    with ExitStack() as stack:
        crowd = [stack.enter_context(waiting(pages.port)) for _ in range(4 * MOST_SERVED)]
        crowd[-1].settimeout(SECONDS / 2)
        assert b"" == read_all(crowd[-1])
        assert threading.active_count() - before <= 2 * MOST_SERVED


def waiting(port: int) -> socket.socket:
    """Connect and send all of a request but its end."""
    connection = socket.create_connection((LOOPBACK, port), timeout=10)
    connection.sendall(b"GET /healthz HTTP/1.1\r\n")
    return connection


def eventually(holds: Callable[[], bool]) -> bool:
    """Ask again for ten seconds at most."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if holds():
            return True
    return False


def test_closing_hangs_up_on_whoever_waits(report: ReconcilerReport) -> None:
    """Within a second, with slow clients connected; then nobody listens there."""
    pages = ReconcilerPages((LOOPBACK, 0), report)
    port = pages.port
    with waiting(port) as one, waiting(port):
        assert 200 == ask(port, "GET", "/healthz")[0].status
        began = time.monotonic()
        pages.close()
        assert time.monotonic() - began < 1
        assert b"" == read_all(one)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, port), timeout=10)


def test_a_server_that_cannot_accept_does_not_try_all_the_time() -> None:
    """Out of descriptors, the listener would look ready again and again."""
    with PageServer(LOOPBACK, 0, lambda _: None) as server:
        broken = server.socket
        server._stop()
        server.socket = socket.socket()
        began = time.monotonic()
        with pytest.raises(OSError, match="Invalid argument"):
            server.get_request()
        assert time.monotonic() - began > 0.2
        server.socket.close()
        server.socket = broken


# Where it listens


@pytest.mark.parametrize("host", ["", "::", "::1", "localhost", ANY])
def test_it_listens_on_hosts_of_every_kind(report: ReconcilerReport, host: str) -> None:
    """An empty host and `::` mean both kinds of address."""
    reached = {
        "": [LOOPBACK, "::1"],
        "::": [LOOPBACK, "::1"],
        "::1": ["::1"],
        ANY: [LOOPBACK],
    }
    with ReconcilerPages((host, 0), report) as pages:
        for address in reached.get(host, [host]):
            assert 200 == ask(pages.port, "GET", "/healthz", address)[0].status


HOSTS = [
    (LOOPBACK, "localhost", True),
    (LOOPBACK, "LOCALHOST.:9099", True),
    (LOOPBACK, "127.9.9.9:80", True),
    (LOOPBACK, "[::1]:9099", True),
    (LOOPBACK, "nas.local:9099", True),
    (LOOPBACK, "[fd00:0:0::1]", True),
    (LOOPBACK, "evil.example", False),
    (LOOPBACK, "localhost.evil.example", False),
    (LOOPBACK, "127.0.0.1.evil.example", False),
    (LOOPBACK, "nas.local.evil.example", False),
    (LOOPBACK, "192.0.2.7", False),
    (LOOPBACK, "", False),
    (LOOPBACK, "localhost evil.example", False),
    (LOOPBACK, "evil.example@localhost", False),
    ("localhost", "evil.example", False),
    (ANY, "192.0.2.7:9099", True),
    (ANY, "evil.example:9099", False),
    ("", "192.0.2.7", True),
    ("", "[::ffff:192.0.2.7]:1", True),
    ("", "evil.example", False),
]


@pytest.mark.parametrize(("listen", "host", "is_meant"), HOSTS)
def test_only_names_that_are_meant_are_answered(
    report: ReconcilerReport, listen: str, host: str, is_meant: bool
) -> None:
    """Else a stranger's page, whose name comes to point here, could read ours."""
    asked = f"GET /status HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    with ReconcilerPages((listen, 0), report, ("NAS.local", "fd00::1")) as pages:
        said = send(pages.port, asked)

    assert said.startswith(b"HTTP/1.1 200 " if is_meant else b"HTTP/1.1 421 ")
    assert is_meant is (b'"plans"' in said)


def test_where_nobody_may_listen_is_told(pages: ReconcilerPages, report: ReconcilerReport) -> None:
    """A port in use, an address of another machine, a name that is none."""
    for host, port in ((LOOPBACK, pages.port), ("192.0.2.1", 9099), ("no.such.host.invalid", 1)):
        with pytest.raises(UsageError, match=r"--listen: cannot listen on port \d+ of") as caught:
            ReconcilerPages((host, port), report)
        assert caught.value.hint


# Secrets


def document() -> dict[str, Any]:
    """A document in which everything that can be secret is marked."""
    hook = {"conditions": ["CONDITION_ANY_ERROR"]}
    repo = {
        "id": "main",
        "uri": "rest:https://user:MARKURI@backup.example/repo",
        "guid": "a" * 64,
        "password": "MARKPASSWORD",
        "env": ["AWS_SECRET_ACCESS_KEY=MARKENV"],
        "hooks": [hook | {"actionCommand": {"command": "curl https://me:MARKCURL@host.example"}}],
    }
    plan = {
        "id": "by-hand",
        "repo": "main",
        "paths": ["/home/MARKPATH"],
        "retention": {"policyKeepAll": True},
        "hooks": [hook | {"actionDiscord": {"webhookUrl": "https://d.example/MARKHOOK"}}],
    }
    users = [{"name": "MARKUSER", "passwordBcrypt": "MARKHASH"}]
    return {
        "modno": 1,
        "version": 6,
        "instance": "MARKINSTANCE",
        "repos": [repo],
        "plans": [plan],
        "auth": {"users": users},
    }


NAMES = ("schedule", "keep", "repo", "notify", "snapshot-start", "hooks.template", "paths.include")
MORE_NAMES = ("paths.exclude", "backup-flags", "dump.path", "enabel", "plan.password")
VALUES = (
    "https://me:MARKLABEL@host.example/MARKLABELPATH",
    "slack:https://slack.example/MARKNOTIFY",
    "discrd:https://discord.example/MARKKIND",
    "curl -H 'Token: MARKCOMMAND' https://me:MARKTOO@host.example",
    "--password=MARKFLAG 'x",
    "/data/MARKLABELDIR",
    "main",
    "5 4 * * *",
)
WRONG: tuple[SidecarError, ...] = (
    InventoryError("tcp://me:MARKENGINE@host: refused", "look at MARKENGINEHINT"),
    DocumentError("/etc/MARKFILE: no JSON"),
)


def test_no_page_shows_a_secret(pages: ReconcilerPages) -> None:
    """Nor an address, a command, a host path, a value of a label or the text of an error."""

    @settings(max_examples=60)
    @given(
        st.dictionaries(st.sampled_from(NAMES + MORE_NAMES), st.sampled_from(VALUES), max_size=5),
        st.sampled_from((None, *WRONG)),
    )
    def look(labels: dict[str, str], error: SidecarError | None) -> None:
        report = pages._report = ReconcilerReport(lambda: 1e9, lambda: 1.0)
        with TemporaryDirectory() as folder:
            heard = listened(lambda: tell_secrets(report, Path(folder), labels))
        untold(report, error)
        said = {path: ask(pages.port, "GET", path)[1] for path in PATHS}
        assert [] == re.findall("MARK.*", "".join((*said.values(), heard)))
        assert "web" in said["/status"]

    look()


def tell_secrets(report: ReconcilerReport, folder: Path, labels: dict[str, str]) -> None:
    """Report a pass over secret labels and a secret document."""
    done = outcome(folder, {"enable": "true", **labels}, document())
    report.pass_done(done, 0.1, 1e9, ["MARKHINT", "/MARKHINT"])


def untold(report: ReconcilerReport, error: SidecarError | None) -> None:
    """Report what may stand in the log, but on no page."""
    report.docker(error is None, "tcp://me:MARKREASON@host")
    report.document(error is None, "/etc/MARKREASON")
    report.backrest(True, None, "https://me:MARKRUNNER@host")
    report.applied("failed", 1e9)
    report.orphans({"backrest_sidecar_https://MARKPLAN": 1e9}, False)
    report.contested([("backrest_sidecar_/MARKPLAN", "paths")])
    if error is not None:
        report.pass_failed(error, 1e9, 0.1)


def listened(act: Callable[[], None]) -> str:
    """What the report logs meanwhile, in full."""
    stream = StringIO()
    listener = logging.StreamHandler(stream)
    listener.setFormatter(_Formatter(as_json=True))
    logger = logging.getLogger("sidecar.reconciler.report")
    before = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    try:
        act()
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before)
    return stream.getvalue()
