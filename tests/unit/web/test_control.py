"""The control socket's two ends, and that no run is made twice."""

import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from sidecar.engines.base import BackupType, Progress
from sidecar.lib.errors import SidecarError
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.progress import ProgressHub, RunFinished
from sidecar.runner.journal import Ended, Run, RunCause, RunOutcome
from sidecar.runner.pool import Admission, Pool
from sidecar.web.app import build_app, read_json
from sidecar.web.client import ask_status, run_job
from sidecar.web.host import HttpHost, Listener
from sidecar.web.messages import Message
from sidecar.web.runner import JOB
from sidecar.web.sockets import CONTROL, NoDaemon, listen_in_folder

SECONDS = 20.0
WEB = Job(JobKind.BACKUP, "web", "store")


@contextmanager
def serving(directory: Path, answer: Callable[[Message], Response]) -> Iterator[None]:
    """Listen in a directory; `answer` answers what is asked about a job."""

    async def jobs(request: Request) -> Response:
        return answer(await read_json(request, JOB))

    async def status(_: Request) -> Response:
        return JSONResponse({"is": "well"})

    app = build_app([Route("/jobs", jobs, methods=["POST"]), Route("/status", status)])
    with HttpHost([Listener(listen_in_folder(directory), app)]):
        yield


def twice(asked: Message) -> Response:
    """Answer with what was asked, twice."""
    lines = (b'{"of": "%s"}\n' % str(asked["of"]).encode(), b'{"last": true}\n')
    return PlainTextResponse(b"".join(lines))


def run(directory: Path) -> list[Message]:
    """Ask for a backup."""
    return list(run_job(directory, JobKind.BACKUP, "web", seconds=SECONDS))


def test_a_job_gets_all_of_its_answers(tmp_path: Path) -> None:
    """In their order, to the last."""
    with serving(tmp_path, twice):
        assert [{"of": "web"}, {"last": True}] == run(tmp_path)


def test_what_is_asked_is_what_arrives(tmp_path: Path) -> None:
    """Also with letters of any language."""
    asked: list[Message] = []

    def keep(message: Message) -> Response:
        asked.append(message)
        return twice(message)

    with serving(tmp_path, keep):
        list(run_job(tmp_path, JobKind.CHECK, "büro 😀", accept_empty=True, seconds=SECONDS))
        list(run_job(tmp_path, JobKind.BACKUP, "web", wanted=BackupType.DIFF, seconds=SECONDS))
    assert [
        {"kind": "check", "of": "büro 😀", "accept_empty": True},
        {"kind": "backup", "of": "web", "accept_empty": False, "type": "diff"},
    ] == asked


def test_the_status_is_asked_for_by_its_page(tmp_path: Path) -> None:
    """It is the same object."""
    with serving(tmp_path, twice):
        assert {"is": "well"} == ask_status(tmp_path, SECONDS)


def test_only_the_owner_may_ask(tmp_path: Path) -> None:
    """Nobody else can open the socket."""
    with serving(tmp_path, twice):
        mode = (tmp_path / CONTROL).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert 0o600 == stat.S_IMODE(mode)


def test_a_folder_with_a_long_name_is_no_problem(tmp_path: Path) -> None:
    """The system takes names of sockets of about a hundred bytes only."""
    deep = tmp_path.joinpath(*["d" * 100] * 3)
    deep.mkdir(parents=True)
    with serving(deep, twice):
        assert 2 == len(run(deep))


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    """Its daemon was killed; until then nobody answers."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / CONTROL))
    left.close()
    with pytest.raises(NoDaemon):
        run(tmp_path)
    with serving(tmp_path, twice):
        assert 2 == len(run(tmp_path))


def test_where_no_socket_can_be_made_is_told(tmp_path: Path) -> None:
    """As on some shares; here something else has its name."""
    (tmp_path / CONTROL).mkdir()
    with pytest.raises(SidecarError, match=f"cannot listen on {tmp_path / CONTROL}: ") as caught:
        listen_in_folder(tmp_path)
    assert "--state-dir" in caught.value.hint


def test_without_a_daemon_it_is_told_what_to_do(tmp_path: Path) -> None:
    """Run it without one."""
    with pytest.raises(NoDaemon) as refused:
        run(tmp_path)
    assert "backrest-runner run PLAN" in refused.value.hint


def test_what_may_not_be_opened_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is another user's daemon."""

    def refuse(*_: object) -> None:
        raise PermissionError

    with serving(tmp_path, twice):
        monkeypatch.setattr("sidecar.web.sockets.socket.socket.connect", refuse)
        with pytest.raises(NoDaemon, match="may not be opened"):
            run(tmp_path)


def test_what_cannot_be_met_is_told_with_its_hint(tmp_path: Path) -> None:
    """As the error that it is on the other side."""

    def refuse(_: Message) -> Response:
        raise SidecarError("no such plan", "write another")

    with serving(tmp_path, refuse), pytest.raises(SidecarError) as refused:
        run(tmp_path)
    assert ("no such plan", "write another") == (refused.value.message, refused.value.hint)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (PlainTextResponse(b'{"state": "queued"}\n'), "hung up"),
        (PlainTextResponse(b'{"state": "queued"}'), "hung up"),
        (PlainTextResponse(b""), "hung up"),
        (PlainTextResponse(b"no json\n"), "otherwise than expected"),
        (PlainTextResponse(b"[1]\n"), "otherwise than expected"),
        (PlainTextResponse(b"[" * 99_000 + b"\n"), "otherwise than expected"),
        (PlainTextResponse("too many", 503), "status 503: too many"),
        (PlainTextResponse("", 404), "status 404: Not Found"),
        (JSONResponse([1], 500), "otherwise than expected"),
    ],
)
def test_a_daemon_that_answers_anything_is_told(
    tmp_path: Path, answer: Response, words: str
) -> None:
    """Without a last answer nothing is known of the end."""
    with serving(tmp_path, lambda _: answer), pytest.raises(SidecarError, match=words):
        run(tmp_path)


def test_a_daemon_with_too_many_clients_is_of_no_other_version(tmp_path: Path) -> None:
    """It answers the next one when another has gone."""
    busy = PlainTextResponse("too many clients\n", 503)
    with serving(tmp_path, lambda _: busy), pytest.raises(SidecarError) as told:
        run(tmp_path)
    assert "ask again when other commands have ended" == told.value.hint


@pytest.mark.parametrize("told", [b"", b'{"error": "no JSON"}\n', b"HTTP/1.1 200 OK\r\n"])
def test_a_daemon_of_another_version_is_told(tmp_path: Path, told: bytes) -> None:
    """One that speaks no HTTP, or stops in the middle."""
    with listen_in_folder(tmp_path) as listening:

        def answer() -> None:
            with listening.accept()[0] as client:
                client.recv(65536)
                client.sendall(told)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SidecarError, match="hung up") as error:
            run(tmp_path)
        thread.join()
    assert "see its log; it may be of another version" == error.value.hint


def test_a_stream_that_breaks_off_is_told(tmp_path: Path) -> None:
    """After what has come."""

    async def lines() -> Any:
        yield b'{"state": "queued"}\n'
        raise ValueError

    with serving(tmp_path, lambda _: StreamingResponse(lines())):
        answers = run_job(tmp_path, JobKind.BACKUP, "web", seconds=SECONDS)
        assert {"state": "queued"} == next(answers)
        with pytest.raises(SidecarError, match="hung up"):
            next(answers)


class OneJob:
    """A pool whose only job ends when the test lets it."""

    def __init__(self) -> None:
        self.hub = ProgressHub()
        self.may_end = threading.Event()
        self.began = threading.Event()
        self.runs = 0
        self.pool = Pool(self, 1)
        self.pool.start()

    def run(self, job: Job, trigger: RunCause, wanted: BackupType | None) -> None:
        """Run until the test lets it end."""
        del wanted
        self.runs += 1
        self.hub.begin(job)
        self.began.set()
        self.hub.publish(job, Progress(0.5, 1, 2, 3, 4))
        assert self.may_end.wait(SECONDS)
        run = Run(self.runs, job, trigger, 1.0, ended=Ended(RunOutcome.SUCCESS, 2.0))
        self.hub.set_end(job, RunFinished(run))

    def finish(self, job: Job) -> None:
        """Publish the end."""
        self.hub.finish(job)

    def failed(self, job: Job, error: BaseException) -> None:
        """Break down."""
        raise AssertionError(job) from error


@pytest.fixture
def one_job() -> Iterator[OneJob]:
    """A pool, closed with the test."""
    made = OneJob()
    yield made
    made.may_end.set()
    assert made.pool.close(SECONDS)


def test_whoever_joins_a_run_hears_its_end(one_job: OneJob) -> None:
    """And it is run once only, whether it waited or ran."""
    with one_job.hub.follow(WEB) as first, one_job.hub.follow(WEB) as second:
        assert Admission.QUEUED is one_job.pool.submit(WEB)
        assert one_job.began.wait(SECONDS)
        assert Admission.JOINED is one_job.pool.submit(WEB)
        one_job.may_end.set()
        for subscription in (first, second):
            told = subscription.get(timeout=SECONDS)
            while not isinstance(told, RunFinished):
                told = subscription.get(timeout=SECONDS)
            assert told.run is not None
            assert 1 == told.run.id
    assert 1 == one_job.runs


def test_an_end_is_told_only_when_it_may_be_run_again() -> None:
    """Who follows, and then joins, cannot have missed it."""
    hub = ProgressHub()
    hub.begin(WEB)
    run = Run(1, WEB, RunCause.MANUAL, 1.0, ended=Ended(RunOutcome.SUCCESS, 2.0))
    hub.set_end(WEB, RunFinished(run))
    with hub.follow(WEB) as subscription:
        assert subscription.empty()
        assert RunFinished(run) == hub.finish(WEB)
        assert RunFinished(run) == subscription.get(timeout=SECONDS)
    assert {} == hub.running


def test_a_run_that_broke_down_has_an_end_too() -> None:
    """Who follows it must not wait for ever."""
    hub = ProgressHub()
    with hub.follow(WEB) as subscription:
        hub.begin(WEB)
        hub.finish(WEB)
        told = subscription.get(timeout=SECONDS)
    assert isinstance(told, RunFinished)
    assert told.run is None
    assert "broke down" in told.reason


def test_a_closed_hub_notifies_everyone() -> None:
    """Those who follow, and those who come too late."""
    hub = ProgressHub()
    with hub.follow(WEB) as subscription:
        hub.close()
        with hub.follow(WEB) as late:
            assert subscription.get(timeout=SECONDS) == late.get(timeout=SECONDS)
