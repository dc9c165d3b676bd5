"""Backrest's API over HTTP: bytes pass untouched, failures are told in plain words."""

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

import pytest

from sidecar.backrest.api import ApiError, ApiTrouble, BackrestApi
from sidecar.backrest.operations import Status, pending_plans
from sidecar.lib.errors import UsageError
from tests.fakes.fake_backrest import FakeBackrest, Fault

PASSWORD = "swordfish"
DOCUMENT: dict[str, Any] = {
    "modno": 3,
    "version": 6,
    "instance": "here",
    "repos": [{"id": "r", "uri": "/r", "guid": "a" * 64, "password": "repo-secret"}],
    "plans": [
        {"id": "one", "repo": "r", "paths": ["/one"], "schedule": {"cron": "0 3 * * *"}},
        {"id": "two", "repo": "r", "paths": ["/two"], "schedule": {"disabled": True}},
    ],
}
BROKEN_OFF = b'\x02\x00\x00\x00\x1e{"error": {"code": "unknown"}}'
AUTH = {"users": [{"name": "admin", "passwordBcrypt": "JDJhJDEw"}]}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeBackrest]:
    """A fake Backrest that asks for a login."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**DOCUMENT, "auth": AUTH}))
    with FakeBackrest(config, password=PASSWORD) as running:
        yield running


@pytest.fixture
def api(fake: FakeBackrest) -> Iterator[BackrestApi]:
    """Our side, logged in."""
    with BackrestApi(fake.url, "admin", PASSWORD, timeout=5.0) as ours:
        yield ours


def trouble_of(call: Any, *arguments: object) -> ApiError:
    """Make a call that fails, and give its error; no secret may stand in it."""
    with pytest.raises(ApiError) as caught:
        call(*arguments)
    shown = f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    assert PASSWORD not in shown
    assert "repo-secret" not in shown
    return caught.value


def test_configuration_goes_round_byte_for_byte(fake: FakeBackrest, api: BackrestApi) -> None:
    """What is served can be sent back as it is: only modno changes, nothing is lost."""
    before = fake.cached
    served = api.get_config()
    assert fake.cached["sync"]["identity"]["ed25519priv"].encode() not in served
    assert b"JDJhJDEw" not in served
    answer = api.set_config(served)
    assert 4 == json.loads(answer)["modno"]
    assert {**before, "modno": 4} == fake.cached
    assert {**before, "modno": 4} == json.loads(fake.config.read_bytes())


def test_what_is_sent_is_not_touched() -> None:
    """Spaces, order and unknown fields reach Backrest as they were given."""
    content = b'{ "version":6 ,\n"unknown": 1.0, "modno":1}'
    with (
        Listener(200, b'{"version": 6}') as listener,
        BackrestApi(listener.url) as ours,
    ):
        ours.set_config(content)
    assert [("/v1.Backrest/SetConfig", content)] == listener.seen


def test_body_is_never_empty() -> None:
    """Backrest refuses a call without one."""
    answers = b'{"version": 6, "operations": []}'
    with Listener(200, answers) as listener, BackrestApi(f"{listener.url}/") as ours:
        ours.get_config()
        ours.operations()
        ours.operations(41)
        ours.backup('a "plan"', None)
    expected = [
        ("/v1.Backrest/GetConfig", b"{}"),
        ("/v1.Backrest/GetOperations", b'{"selector": {}}'),
        ("/v1.Backrest/GetOperations", b'{"selector": {"modnoGte": "41"}}'),
        ("/v1.Backrest/Backup", b'{"value": "a \\"plan\\""}'),
    ]
    assert expected == listener.seen


def test_stale_modno_is_told_apart(fake: FakeBackrest, api: BackrestApi) -> None:
    """Someone saved in the meantime: nothing was changed, it is to be read again."""
    served = api.get_config()
    fake.save_from_ui(lambda config: config["plans"].pop())
    saved = fake.config.read_bytes()
    assert ApiTrouble.STALE is trouble_of(api.set_config, served).kind
    assert saved == fake.config.read_bytes()


def test_refused_configuration_is_not_quoted(api: BackrestApi) -> None:
    """Backrest's own words quote what it was sent."""
    served = api.get_config().replace(b'"uri": "/r"', b'"uri": ""')
    error = trouble_of(api.set_config, served)
    assert ApiTrouble.INVALID is error.kind
    assert "does not accept what SetConfig was sent" in error.message


@pytest.mark.parametrize(
    "access", [("", ""), ("admin", "wrong"), ("admin", ""), ("näme", "pässword")]
)
def test_refused_login_is_told(fake: FakeBackrest, access: tuple[str, str]) -> None:
    """Neither the password nor the user's name is shown."""
    with BackrestApi(fake.url, *access) as ours:
        error = trouble_of(ours.get_config)
    assert ApiTrouble.REFUSED_LOGIN is error.kind
    assert "--backrest-user" in error.hint
    assert access[0] == "" or access[0] not in str(error).replace("--backrest-user", "")


def test_no_login_is_sent_where_none_is_given() -> None:
    """Not even one that a .netrc file would give for this host."""
    with (
        Listener(200, b'{"version": 6}') as listener,
        BackrestApi(listener.url) as ours,
    ):
        ours.get_config()
    assert [None] == listener.logins


def test_operations_are_listed_and_followed(fake: FakeBackrest, api: BackrestApi) -> None:
    """What changed at or after a modno comes, the rest does not."""
    fake.begin("two")
    first, second = api.operations()
    assert ("one", Status.PENDING) == (first.plan_id, first.status)
    assert ("two", Status.IN_PROGRESS) == (second.plan_id, second.status)
    assert frozenset({"one"}) == pending_plans([first, second])
    fake.finish("two", Status.WARNING, "Partial backup")
    changed = api.operations(second.modno)
    assert [(second.id, Status.WARNING)] == [(entry.id, entry.status) for entry in changed]
    assert [] == api.operations(changed[0].modno + 1)


def test_backup_returns_when_it_ended_well(fake: FakeBackrest, api: BackrestApi) -> None:
    """A warning is no error of the call."""
    fake.backups_end = (Status.WARNING, "Partial backup")
    api.backup("two", 5.0)
    assert Status.WARNING is api.operations()[-1].status


def test_backup_that_fails_does_not_quote_its_message(fake: FakeBackrest, api: BackrestApi) -> None:
    """Restic's words may hold the address of the repository, with its password."""
    fake.backups_end = (Status.ERROR, f"https://u:{PASSWORD}@host")
    error = trouble_of(api.backup, "two", 5.0)
    assert ApiTrouble.OTHER is error.kind


def test_backup_of_unknown_plan_is_told(api: BackrestApi) -> None:
    """It may stand in the document and not be loaded yet."""
    assert "does not know" in trouble_of(api.backup, "three", 5.0).message


def test_backup_goes_on_after_we_stopped_waiting(api: BackrestApi) -> None:
    """The wait is bounded, not the run."""
    error = trouble_of(api.backup, "two", 0.05)
    assert ApiTrouble.UNREACHABLE is error.kind
    assert "in time" in error.message
    assert Status.IN_PROGRESS is api.operations()[-1].status


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.DROP_ANSWER])
def test_broken_connection_is_unreachable(
    fake: FakeBackrest, api: BackrestApi, fault: Fault
) -> None:
    """And the next call is made on a new one."""
    fake.order(fault)
    assert ApiTrouble.UNREACHABLE is trouble_of(api.get_config).kind
    assert b"modno" in api.get_config()


def test_no_answer_in_time_is_unreachable(fake: FakeBackrest) -> None:
    """Each wait is bounded."""
    fake.order(Fault.HANG)
    with BackrestApi(fake.url, "admin", PASSWORD, timeout=0.05) as ours:
        assert ApiTrouble.UNREACHABLE is trouble_of(ours.get_config).kind


def test_nothing_listening_is_unreachable(fake: FakeBackrest, api: BackrestApi) -> None:
    """A Backrest that is being restarted."""
    fake.kill()
    error = trouble_of(api.get_config)
    assert ApiTrouble.UNREACHABLE is error.kind
    assert "cannot be reached" in error.message


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (500, b"Internal Server Error", ApiTrouble.OTHER),
        (500, b'{"code":"internal","message":"swordfish"}', ApiTrouble.OTHER),
        (500, b'{"code":"sword fish","message":""}', ApiTrouble.OTHER),
        (502, b"Bad Gateway", ApiTrouble.UNREACHABLE),
        (503, b'{"code":"unavailable"}', ApiTrouble.UNREACHABLE),
        (403, b"", ApiTrouble.REFUSED_LOGIN),
        (400, b'{"code":"unauthenticated"}', ApiTrouble.REFUSED_LOGIN),
        (404, b"404 page not found", ApiTrouble.OTHER),
        (200, b"<html>", ApiTrouble.OTHER),
        (200, b"{}", ApiTrouble.OTHER),
        (200, b"[]", ApiTrouble.OTHER),
        (200, b'{"version": "6"}', ApiTrouble.OTHER),
        (302, b"", ApiTrouble.OTHER),
        (204, b"", ApiTrouble.OTHER),
    ],
)
def test_other_answers_are_errors(status: int, content: bytes, kind: ApiTrouble) -> None:
    """Whatever else answers there is never taken for a configuration."""
    with Listener(status, content) as listener, BackrestApi(listener.url) as ours:
        assert kind is trouble_of(ours.get_config).kind
    assert 1 == len(listener.seen)


def test_another_program_is_named_so() -> None:
    """Also where it answers what has the form of JSON."""
    for content in (b'{"version": 6, "operations": 1}', b'{"operations": [{"id": 1}]}'):
        with Listener(200, content) as listener, BackrestApi(listener.url) as ours:
            assert "is no Backrest that we know" in trouble_of(ours.operations).message


def test_redirect_is_not_followed() -> None:
    """Our password belongs to the address that the operator named."""
    with Listener(200, b'{"version": 6}') as other:
        moved = Listener(307, b"", {"Location": f"{other.url}/v1.Backrest/GetConfig"})
        with moved, BackrestApi(moved.url, "admin", PASSWORD) as ours:
            assert ApiTrouble.OTHER is trouble_of(ours.get_config).kind
    assert [] == other.seen


def test_proxy_of_the_environment_is_not_used(
    fake: FakeBackrest, api: BackrestApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backrest is a neighbour; a proxy would see its repositories' passwords."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert b"modno" in api.get_config()
    assert ["GetConfig"] == fake.asked


def test_certificates_are_checked(fake: FakeBackrest) -> None:
    """What does not speak TLS is not spoken to in clear."""
    with BackrestApi(fake.url.replace("http:", "https:"), "admin", PASSWORD) as ours:
        error = trouble_of(ours.get_config)
    assert ApiTrouble.UNREACHABLE is error.kind
    assert "TLS" in error.message
    assert [] == fake.asked


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_authorities_certificate_can_be_named(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """An absent one is told as trouble with TLS, never passed over."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, "/nowhere/ca.pem")
    with BackrestApi("https://127.0.0.1:1") as ours:
        assert "certificate" in trouble_of(ours.get_config).hint


@pytest.mark.parametrize(
    "url",
    [
        "",
        "backrest:9898",
        "ftp://backrest",
        "http://",
        f"http://admin:{PASSWORD}@backrest:9898",
        f"http://backrest/?token={PASSWORD}",
        "http://back rest",
        "unix:///run/backrest.sock",
    ],
)
def test_address_that_cannot_be_used_is_refused(url: str) -> None:
    """It is not shown: it may hold the password that belongs elsewhere."""
    with pytest.raises(UsageError) as caught:
        BackrestApi(url)
    assert "--backrest-url" in caught.value.message
    assert PASSWORD not in str(caught.value)


def test_password_is_in_no_log(
    fake: FakeBackrest, api: BackrestApi, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when the libraries log all that they do."""
    caplog.set_level(logging.DEBUG)
    api.get_config()
    fake.order(Fault.SERVER_ERROR)
    trouble_of(api.get_config)
    assert "GetConfig" in caplog.text
    assert PASSWORD not in caplog.text
    assert PASSWORD not in f"{api!r} {vars(api)}"


class Listener:
    """An HTTP server on loopback that answers always the same and notes what it was sent."""

    def __init__(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.logins: list[str | None] = []
        seen, logins = self.seen, self.logins

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                seen.append((self.path, self.rfile.read(length)))
                logins.append(self.headers.get("Authorization"))
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = HTTPServer(("127.0.0.1", 0), Answering)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_log_is_put_together_from_its_stream(fake: FakeBackrest, api: BackrestApi) -> None:
    """In place of one that is not there Backrest says so."""
    fake.hook_logs = {"ref": "said\n"}
    assert "\n[output] said\n" in api.log("ref")
    assert "not found" in api.log("none")


@pytest.mark.parametrize("content", [b"\x00", b"\x00\x00\x00\x00\x02[]", b"{}", BROKEN_OFF])
def test_log_that_is_no_stream_is_refused(content: bytes) -> None:
    """Another program answers there."""
    with Listener(200, content) as listener, BackrestApi(listener.url) as ours:
        assert ApiTrouble.OTHER is trouble_of(lambda: ours.log("ref")).kind
