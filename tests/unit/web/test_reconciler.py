"""The pages over real sockets: what they say, to whom, and what they never show."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
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
from sidecar.web.host import HttpHost
from sidecar.web.reconciler import serve_reconciler
from tests.unit.web.clients import LOOPBACK, ask, send, to_port

ANY = "0.0.0.0"  # noqa: S104 - on purpose
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
PATHS = ("/healthz", "/readyz", "/metrics", "/status")


@pytest.fixture
def ticking() -> list[float]:
    """A clock that stands until its one number is changed."""
    return [100.0]


@pytest.fixture
def report(ticking: list[float]) -> ReconcilerReport:
    """A report that knows nothing yet."""
    return ReconcilerReport(lambda: 1_780_000_000.0, lambda: ticking[0])


@pytest.fixture
def pages(report: ReconcilerReport) -> Iterator[HttpHost]:
    """Pages that are served on a free port."""
    with serve_reconciler((LOOPBACK, 0), report) as served:
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


def test_a_daemon_that_moves_is_healthy(pages: HttpHost, ticking: list[float]) -> None:
    """One that hangs is not."""
    response, body = ask(pages.port, "GET", "/healthz")
    assert (200, "alive\n") == (response.status, body)
    ticking[0] += 211
    response, body = ask(pages.port, "GET", "/healthz")
    assert (503, "the main loop has not moved for 3 min\n") == (response.status, body)


def test_readiness_gives_its_reasons_in_words(
    pages: HttpHost, report: ReconcilerReport, tmp_path: Path
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
    pages: HttpHost, report: ReconcilerReport, ticking: list[float]
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
    pages: HttpHost, report: ReconcilerReport, tmp_path: Path
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
def test_head_is_get_without_the_body(pages: HttpHost, path: str) -> None:
    """With the same status and length."""
    (full, body), (head, nothing) = (ask(pages.port, method, path) for method in ("GET", "HEAD"))
    assert (full.status, "") == (head.status, nothing)
    assert str(len(body)) == head.getheader("Content-Length")


@pytest.mark.parametrize(
    "path", ["/", "/status/", "//status", "/%2e%2e/etc/passwd", "*", "/Status"]
)
def test_there_is_nothing_else(pages: HttpHost, path: str) -> None:
    """No directory, no file, no word of what was asked for."""
    response, body = ask(pages.port, "GET", path)
    assert (404, "Not Found\n") == (response.status, body)


def test_the_headers_name_no_software(pages: HttpHost) -> None:
    """Nor may anyone keep an answer."""
    response, _ = ask(pages.port, "GET", "/status")
    assert {
        *("date", "content-type", "content-length", "cache-control"),
        *("x-content-type-options", "connection"),
    } == {name.lower() for name, _ in response.getheaders()}
    assert "no-store" == response.getheader("Cache-Control")


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
    with serve_reconciler((host, 0), report) as pages:
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
    with serve_reconciler((listen, 0), report, ("NAS.local", "fd00::1")) as pages:
        said = send(to_port(pages.port), asked)

    assert said.startswith(b"HTTP/1.1 200 " if is_meant else b"HTTP/1.1 421 ")
    assert is_meant is (b'"plans"' in said)


def test_where_nobody_may_listen_is_told(pages: HttpHost, report: ReconcilerReport) -> None:
    """A port in use, an address of another machine, a name that is none."""
    for host, port in ((LOOPBACK, pages.port), ("192.0.2.1", 9099), ("no.such.host.invalid", 1)):
        with pytest.raises(UsageError, match=r"--listen: cannot listen on port \d+ of") as caught:
            serve_reconciler((host, port), report)
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


def test_no_page_shows_a_secret() -> None:
    """Nor an address, a command, a host path, a value of a label or the text of an error."""

    @settings(max_examples=60)
    @given(
        st.dictionaries(st.sampled_from(NAMES + MORE_NAMES), st.sampled_from(VALUES), max_size=5),
        st.sampled_from((None, *WRONG)),
    )
    def look(labels: dict[str, str], error: SidecarError | None) -> None:
        report = ReconcilerReport(lambda: 1e9, lambda: 1.0)
        with TemporaryDirectory() as folder:
            heard = listened(lambda: tell_secrets(report, Path(folder), labels))
        untold(report, error)
        with serve_reconciler((LOOPBACK, 0), report) as pages:
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
