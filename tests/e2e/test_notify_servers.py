"""Notifications to real servers on this machine: HTTP, and mail with TLS and a login."""

import json
import logging
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from sidecar.backrest.reading import Repo, RunHook, RunPlan
from sidecar.engines.base import Stats
from sidecar.lib.process import ProcessRunner
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.events import HookFacts, HookOutcome
from sidecar.runner.journal import Journal
from sidecar.runner.notify.addresses import ENCODING
from sidecar.runner.notify.delivery import PAUSES, Delivered, DeliveryQueue
from sidecar.runner.notify.messages import (
    AppriseRequest,
    Failure,
    HttpRequest,
    NotificationMessage,
)
from sidecar.runner.notify.notices import Notice, NoticeEvent, RunNotifier
from sidecar.runner.notify.sender import ProcessSender
from sidecar.runner.notify.shoutrrr import translate_shoutrrr
from tests.e2e.runner_process import RunnerFolder

SUCCESS = ("CONDITION_SNAPSHOT_SUCCESS", "CONDITION_SNAPSHOT_END")
START = ("CONDITION_SNAPSHOT_START",)
SECRET = "a-token-nobody-may-see"
USER, PASSWORD = "runner", "mail-password-nobody-may-see"
LONG = 30.0
NOW = datetime(2031, 4, 5, 6, 7, tzinfo=UTC)


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Web:
    """An HTTP server that keeps what it is asked; `status` is its answer, 0: none at all."""

    status: int = 200
    location: str = ""
    asked: list[Asked] = field(default_factory=list)
    port: int = 0
    ends: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Its address, with a secret in the path."""
        return f"http://127.0.0.1:{self.port}/{SECRET}"


@pytest.fixture
def web() -> Iterator[Web]:
    """Run a server."""
    state = Web()

    class Answer(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.asked.append(Asked(self.command, self.path, headers, body))
            if not state.status:
                state.ends.wait(LONG)
                return
            self.send_response(308 if state.location else state.status)
            if state.location:
                self.send_header("Location", state.location)
                state.location = ""
            self.end_headers()

        do_POST = do_PUT = do_GET = _take  # noqa: N815 - the library's names

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield state
        state.ends.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for this machine, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    argv += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True)
    return certificate, key


@dataclass
class Mail:
    """A mail server that keeps what it takes."""

    port: int = 0
    taken: list[tuple[EmailMessage, Sequence[str], bool, bool]] = field(default_factory=list)

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a mail; keep also whether it came through TLS and from a user who logged in."""
        content = envelope.content
        assert isinstance(content, bytes)
        found = message_from_bytes(content, policy=policy.default)
        assert isinstance(found, EmailMessage)
        is_secure = session.ssl is not None
        self.taken.append((found, envelope.rcpt_tos, is_secure, bool(session.authenticated)))
        return "250 taken"


def check_login(*given: Any) -> AuthResult:
    """Let one user in."""
    data = given[-1]
    is_right = isinstance(data, LoginPassword) and (data.login, data.password) == (
        USER.encode(),
        PASSWORD.encode(),
    )
    return AuthResult(success=is_right)


@pytest.fixture
def mail(certificate: tuple[Path, Path]) -> Iterator[Mail]:
    """Run a mail server that takes nothing without TLS and a login."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    state = Mail()
    controller = Controller(
        state,
        hostname="localhost",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=check_login,
    )
    controller.start()
    state.port = controller.port
    yield state
    controller.stop()


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server(("localhost", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def sender(certificate: tuple[Path, Path]) -> ProcessSender:
    """Return what sends, as the daemon does it; it trusts the servers of these tests."""
    environ = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(certificate[0])}
    return ProcessSender(ProcessRunner(environ, grace=0.3))


@dataclass
class Runner:
    """Hooks, a delivery and its journal, with a clock that stands."""

    journal: Journal
    delivery: DeliveryQueue
    directory: Path
    now: list[float]

    def run(self, events: Sequence[str], *hooks: RunHook) -> HookOutcome:
        """Run an event set."""
        programs = ProcessRunner({"PATH": os.environ["PATH"]})
        runner = HookRunner(programs, self.directory / "config.json", self.delivery)
        task, repo, plan = (
            'backup for plan "web"',
            Repo("main"),
            RunPlan("web", "main", hooks=hooks),
        )
        facts = HookFacts(task, repo, plan, self.now[0], 2.0, "4bba301e", Stats(1))
        return runner.run(events, facts, threading.Event())


@pytest.fixture
def runner(tmp_path: Path, sender: ProcessSender) -> Iterator[Runner]:
    """Return a runner whose notifications really go out."""
    now = [NOW.timestamp()]
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield Runner(journal, DeliveryQueue(journal, sender, lambda: now[0]), tmp_path, now)


def hook(action: str, conditions: Sequence[str] = SUCCESS, **settings: Any) -> RunHook:
    """Make a hook."""
    return RunHook(frozenset(conditions), action, settings)


def test_hooks_reach_their_servers(web: Web, runner: Runner) -> None:
    """Pings and posts arrive in order, as their services want them."""
    base = f"127.0.0.1:{web.port}"
    hooks = (
        hook("actionHealthchecks", (*START, *SUCCESS), webhookUrl=web.url),
        hook("actionDiscord", webhookUrl=web.url, template="{{ .SnapshotId }} ä€😀"),
        hook("actionSlack", webhookUrl=web.url, template='{"blocks": []}'),
        hook("actionGotify", baseUrl=f"http://{base}", token=SECRET, priority=3, template="m"),
        hook(
            "actionShoutrrr", shoutrrrUrl=f"generic+http://{base}/any?template=json", template="m"
        ),
        hook("actionShoutrrr", shoutrrrUrl=f"ntfy://u:p@{base}/topic?scheme=http", template="ü"),
        hook("actionShoutrrr", shoutrrrUrl=f"mattermost://{base}/t?disabletls=yes", template="m"),
        hook("actionShoutrrr", shoutrrrUrl=f"rocketchat://{base}/a/b?disabletls=yes", template="m"),
    )

    assert HookOutcome() == runner.run(START, *hooks)
    assert HookOutcome() == runner.run(SUCCESS, *hooks)
    assert Delivered(sent=9) == runner.delivery.deliver()

    assert [
        f"/{SECRET}/start", f"/{SECRET}", f"/{SECRET}", f"/{SECRET}", "/message", "/any", "/",
        "/hooks/t", "/hooks/a/b",
    ] == [one.path for one in web.asked]  # fmt: skip
    assert {"POST"} == {one.method for one in web.asked}
    assert web.asked[0].body.startswith('backup for plan "web": snapshot start\n')
    assert {"content": "4bba301e ä€😀"} == json.loads(web.asked[2].body)
    assert '{"blocks": []}' == web.asked[3].body
    assert SECRET == web.asked[4].headers["x-gotify-key"]
    assert {"message": "m"} == json.loads(web.asked[5].body)
    assert "Basic dTpw" == web.asked[6].headers["authorization"]
    title = 'backup for plan "web": snapshot success'
    assert {"topic": "topic", "title": title, "message": "ü"} == json.loads(web.asked[6].body)
    assert ["m", "m"] == [json.loads(one.body)["text"].split()[-1] for one in web.asked[7:]]


def test_a_notice_arrives_as_a_mail_through_tls_and_a_login(mail: Mail, runner: Runner) -> None:
    """What --notify-url says is what people read."""
    url = f"mailtos://{USER}:{PASSWORD}@localhost:{mail.port}?from=runner@nas.example&to=me@home.example&mode=starttls"
    notifier = RunNotifier((url,), {NoticeEvent.ERROR}, "nas", runner.delivery)

    notifier.announce(
        Notice(NoticeEvent.ERROR, "backup", "plan web", "failed", NOW, "the disk is full <100 %>")
    )
    assert Delivered(sent=1) == runner.delivery.deliver()

    ((message, receivers, is_secure, has_logged_in),) = mail.taken
    assert (["me@home.example"], True, True) == (receivers, is_secure, has_logged_in)
    assert "backup of plan web failed on nas" == message["Subject"]
    assert "runner@nas.example" in message["From"]
    plain = message.get_body(("plain",))
    assert plain is not None
    assert "Reason: the disk is full <100 %>" in plain.get_content()


def test_a_shoutrrr_address_of_mail_works_too(mail: Mail, sender: ProcessSender) -> None:
    """With the login that stands in it."""
    address = f"smtp://{USER}:{PASSWORD}@localhost:{mail.port}/?from=a@b.example&to=c@d.example,e@f.example"
    request = translate_shoutrrr(address)(NotificationMessage("a title", "a text"))

    assert sender.send(request) is None
    assert {"c@d.example", "e@f.example"} == {one for taken in mail.taken for one in taken[1]}


def test_a_mail_that_is_not_taken_is_told_without_its_secrets(
    mail: Mail, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password, and a server whose certificate nobody knows."""
    caplog.set_level(logging.DEBUG)
    query = "from=a@b.example&to=c@d.example&mode=starttls&cto=1"
    wrong = f"mailtos://{USER}:{SECRET}@localhost:{mail.port}?{query}"
    stranger = ProcessSender(ProcessRunner({"PATH": os.environ["PATH"]}))
    right = AppriseRequest(f"mailtos://{USER}:{PASSWORD}@localhost:{mail.port}?{query}", "t", "b")

    RunNotifier((wrong,), {NoticeEvent.ERROR}, "nas", runner.delivery).announce(
        Notice(NoticeEvent.ERROR, "backup", "plan web", "failed", NOW)
    )
    assert Delivered(failed=1, waiting=1) == runner.delivery.deliver()
    assert Failure("no secure connection could be made", is_down=True) == stranger.send(right)

    (told,) = [
        record.__dict__["fields"] for record in caplog.records if record.message == "notify.failed"
    ]
    assert "the login was refused" == told["reason"]
    assert SECRET not in str([record.__dict__ for record in caplog.records])
    assert [] == mail.taken


@pytest.mark.parametrize(
    ("status", "reason"),
    [(500, "it answered 500"), (429, "it answered 429"), (0, "it did not answer in time")],
)
def test_a_server_in_trouble_is_tried_again_and_the_backup_goes_on(
    web: Web,
    runner: Runner,
    certificate: tuple[Path, Path],
    caplog: pytest.LogCaptureFixture,
    status: int,
    reason: str,
) -> None:
    """Posting takes no time, whatever the server does; later it gets what it missed."""
    if not status:
        environ = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(certificate[0])}
        hasty = ProcessSender(ProcessRunner(environ, grace=0.1), seconds=2.0)
        runner.delivery = DeliveryQueue(runner.journal, hasty, lambda: runner.now[0])
    web.status = status
    ping = hook("actionHealthchecks", webhookUrl=web.url)

    assert HookOutcome() == runner.run(SUCCESS, ping)
    assert [] == web.asked
    assert Delivered(failed=1, waiting=1) == runner.delivery.deliver()
    assert reason in [record.__dict__["fields"].get("reason") for record in caplog.records]
    assert SECRET not in str([record.__dict__ for record in caplog.records])
    web.status = 200
    runner.now[0] += PAUSES[0]
    assert Delivered(sent=1) == runner.delivery.deliver()
    assert 2 == len(web.asked)


def test_a_server_that_is_not_there_is_told(sender: ProcessSender) -> None:
    """In words, and without its address."""
    gone = HttpRequest(f"http://127.0.0.1:{free_port()}/{SECRET}", "x")
    nameless = HttpRequest(f"http://no-such-name.invalid/{SECRET}", "x")

    assert Failure("the connection was refused", is_down=True) == sender.send(gone)
    found = sender.send(nameless)
    assert found is not None
    assert found.is_down
    assert "no-such-name" not in found.reason


def test_a_moved_address_is_followed_with_all_that_was_sent(
    web: Web, sender: ProcessSender
) -> None:
    """The body goes along, so that it is not only a visit."""
    web.location = "/other"

    assert sender.send(HttpRequest(web.url, "the body", "text/plain")) is None
    assert [("POST", f"/{SECRET}", "the body"), ("POST", "/other", "the body")] == [
        (one.method, one.path, one.body) for one in web.asked
    ]


def test_an_apprise_address_of_a_web_service_is_posted_to(web: Web, sender: ProcessSender) -> None:
    """Any address that Apprise knows will do."""
    request = AppriseRequest(
        f"json://127.0.0.1:{web.port}/{SECRET}", "a title", "a <text>", level="failure"
    )

    assert sender.send(request) is None
    sent = json.loads(web.asked[0].body)
    assert ("a title", "a <text>", "failure") == (sent["title"], sent["message"], sent["type"])
    web.status = 500
    assert Failure("it answered 500", is_down=True) == sender.send(request)
    web.status = 404
    assert Failure("it answered 404", is_final=True) == sender.send(request)
    web.status = 401
    assert Failure("the login was refused") == sender.send(request)


def test_apprise_knows_the_addresses_that_we_make(sender: ProcessSender) -> None:
    """What comes of shoutrrr's is checked by those who are to understand it."""
    workflow = "https://flow.example:443/workflows/0a/triggers/manual/paths/invoke?sig=S"
    addresses = [
        "smtp://u:p@mail.example:587/?from=a@b.example&to=c@d.example&fromname=The+Runner",
        "smtp://mail.example/?from=a@b.example&to=c@d.example",
        "matrix://u:p@m.example/?rooms=!Id:m.example,alias",
        "matrix://:token@m.example/",
        "discord://t0ken@123?username=Bot&thread_id=9",
        "slack://xoxb:1234-1234-abcdABCD@C0123",
        "slack://hook:TA-BB-cC@webhook",
        "telegram://123456:abcDEF_ghi@telegram?chats=@a,-100&parsemode=html",
        "gotify://host.example:8443/sub/Atoken?priority=5",
        "ntfy://:tk_1@ntfy.example/topic?tags=a,b&priority=high&icon=https://i/i.png",
        "pushover://shoutrrr:aToken@uSer/?devices=a,b&priority=1",
        "pushover://shoutrrr:aToken@uSer",
        "mattermost://bot@chat.example:8065/tOken/town",
        "rocketchat://bot@chat.example/tA/tB/room",
        f"teams://?host={quote(workflow, safe='')}",
    ]
    made = [translate_shoutrrr(address)(NotificationMessage("t", "b")) for address in addresses]
    urls = [one.url for one in made] + [
        one.second for one in made if isinstance(one, AppriseRequest) and one.second
    ]

    assert ("",) * 16 == sender.check(urls)
    wrong = f"Apprise does not understand this address: {ENCODING}"
    assert (wrong, wrong) == sender.check(["nonsense", f"mailto://{SECRET}"])
    assert Failure(wrong, is_final=True) == sender.send(AppriseRequest("nonsense://h", "t", "b"))


def test_a_sender_that_cannot_begin_is_told() -> None:
    """The runner that is to run it has ended."""
    programs = ProcessRunner({})
    programs.stop_all()
    sender = ProcessSender(programs)

    assert Failure("the program that sends could not be started") == sender.send(
        HttpRequest("http://h/", "x")
    )
    # Nothing is known of the address then.
    assert ("",) == sender.check(["json://h"])


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_an_answer_that_will_stay_the_same_is_final(
    web: Web, sender: ProcessSender, status: int
) -> None:
    """The address or the message is wrong, and neither will change."""
    web.status = status

    assert Failure(f"it answered {status}", is_final=True) == sender.send(HttpRequest(web.url, "x"))


def test_a_test_message_is_sent_to_each_address(web: Web, tmp_path: Path) -> None:
    """Each is told by its number, with why it did not work; secrets are not shown."""
    parts = RunnerFolder(tmp_path)
    gone = f"json://127.0.0.1:{free_port()}/{SECRET}"
    urls = (f"json://127.0.0.1:{web.port}/{SECRET}", gone, f"mailtos://me:{SECRET}#@h")
    parts.environ["BACKREST_RUNNER_NOTIFY_URL"] = " ".join(urls)
    done = parts.run("notify", "--test")
    first, second, third = done.stdout.splitlines()

    assert (1, "--notify-url 1 (json): sent") == (done.returncode, first)
    assert second.startswith("--notify-url 2 (json): not sent: ")
    assert third.startswith("--notify-url 3 (mailtos): not sent: a sign in its user or password")
    assert SECRET not in done.stdout + done.stderr
    sent = json.loads(web.asked[0].body)
    assert sent["title"].startswith("test of notifications sent on ")


@pytest.mark.parametrize("arguments", [(), ("--test",)])
def test_a_test_without_an_address_is_a_mistake(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """And so is a command that is not told to send one."""
    done = RunnerFolder(tmp_path).run("notify", *arguments)

    assert 1 == done.returncode
    assert "→ give --" in done.stderr


def test_without_apprise_the_extra_that_holds_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the image, but an installation of one's own may lack it; it is not tried again."""
    (tmp_path / "apprise.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sender = ProcessSender(ProcessRunner({"PATH": os.environ["PATH"]}))
    reason = "Apprise is not installed, which this address needs: install backrest-sidecar[runner]"

    assert Failure(reason, is_final=True) == sender.send(AppriseRequest("json://h", "t", "b"))
    assert (reason,) == sender.check(["json://h"])
