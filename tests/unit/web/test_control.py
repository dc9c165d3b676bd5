"""The control socket: one request, its answers, and no run twice."""

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sidecar.engines.base import Progress
from sidecar.lib.errors import SidecarError
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.progress import ProgressHub, RunFinished
from sidecar.runner.journal import Ended, Run, RunCause, RunOutcome
from sidecar.runner.pool import Admission, Pool
from sidecar.web.control import FILE, ControlServer, NoDaemon, ask
from sidecar.web.messages import Message

SECONDS = 20.0
WEB = Job(JobKind.BACKUP, "web", "store")


@contextmanager
def serving(directory: Path, answer: Callable[[Message], Iterator[Message]]) -> Iterator[None]:
    """Listen in a directory."""
    with ControlServer(directory, answer):
        yield


def echo(request: Message) -> Iterator[Message]:
    """Answer with what was asked, twice."""
    yield {"heard": request["say"]}
    yield {"heard": request["say"], "last": True}


def test_a_request_gets_all_of_its_answers(tmp_path: Path) -> None:
    """In their order, to the last."""
    with serving(tmp_path, echo):
        answers = list(ask(tmp_path, {"say": "hello"}, SECONDS))
    assert [{"heard": "hello"}, {"heard": "hello", "last": True}] == answers


def test_only_the_owner_may_ask(tmp_path: Path) -> None:
    """And at the end the socket is gone."""
    with serving(tmp_path, echo):
        mode = (tmp_path / FILE).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert 0o600 == stat.S_IMODE(mode)
    assert [] == os.listdir(tmp_path)


def test_a_folder_with_a_long_name_is_no_problem(tmp_path: Path) -> None:
    """The system takes names of sockets of about a hundred bytes only."""
    deep = tmp_path.joinpath(*["d" * 100] * 3)
    deep.mkdir(parents=True)
    with serving(deep, echo):
        assert 2 == len(list(ask(deep, {"say": "x"}, SECONDS)))


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    """Its daemon was killed; until then nobody answers."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / FILE))
    left.close()
    with pytest.raises(NoDaemon):
        next(ask(tmp_path, {"say": "x"}, SECONDS))
    with serving(tmp_path, echo):
        assert 2 == len(list(ask(tmp_path, {"say": "x"}, SECONDS)))


def test_without_a_daemon_it_is_told_what_to_do(tmp_path: Path) -> None:
    """Run it without one."""
    with pytest.raises(NoDaemon) as refused:
        next(ask(tmp_path, {"say": "x"}))
    assert "backrest-runner run PLAN" in refused.value.hint


def test_what_cannot_be_met_is_told_with_its_hint(tmp_path: Path) -> None:
    """As the error that it is on the other side."""

    def refuse(_: Message) -> Iterator[Message]:
        yield {"state": "queued"}
        raise SidecarError("no such plan", "write another")

    with serving(tmp_path, refuse), pytest.raises(SidecarError) as refused:
        list(ask(tmp_path, {}, SECONDS))
    assert ("no such plan", "write another") == (refused.value.message, refused.value.hint)


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b"\xff\n", b"[" * 9000 + b"\n"])
def test_a_line_that_is_no_request_is_answered_as_an_error(tmp_path: Path, line: bytes) -> None:
    """And the next one is served."""
    with serving(tmp_path, echo):
        with raw(tmp_path) as client:
            client.sendall(line)
            assert "error" in json.loads(client.makefile("rb").readline())
        assert 2 == len(list(ask(tmp_path, {"say": "x"}, SECONDS)))


@contextmanager
def raw(directory: Path) -> Iterator[socket.socket]:
    """Connect as no client of ours."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(str(directory / FILE))
        yield client


def test_a_line_without_an_end_is_hung_up_on(tmp_path: Path) -> None:
    """Nobody may fill the memory."""
    with serving(tmp_path, echo), raw(tmp_path) as client:
        with suppress(OSError):
            client.sendall(b"x" * 1_000_000)
        assert b"" == _rest(client)


def _rest(client: socket.socket) -> bytes:
    """Read what is still said; a connection that was cut says nothing."""
    try:
        return client.recv(1000)
    except ConnectionError:
        return b""


def test_a_client_that_says_nothing_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Its thread ends with the server."""
    with serving(tmp_path, echo), raw(tmp_path):
        pass
    assert not (tmp_path / FILE).exists()


def test_a_daemon_that_hangs_up_is_told(tmp_path: Path) -> None:
    """Without a last answer nothing is known of the end."""

    def cut(_: Message) -> Iterator[Message]:
        yield {"state": "queued"}

    with serving(tmp_path, cut), pytest.raises(SidecarError, match="hung up"):
        list(ask(tmp_path, {}, SECONDS))


class OneJob:
    """A pool whose only job ends when the test lets it."""

    def __init__(self) -> None:
        self.hub = ProgressHub()
        self.may_end = threading.Event()
        self.began = threading.Event()
        self.runs = 0
        self.pool = Pool(self._run, 1, self._done, self._failed)
        self.pool.start()

    def _run(self, job: Job, trigger: RunCause) -> None:
        self.runs += 1
        self.hub.begin(job)
        self.began.set()
        self.hub.publish(job, Progress(0.5, 1, 2, 3, 4))
        assert self.may_end.wait(SECONDS)
        run = Run(self.runs, job, trigger, 1.0, ended=Ended(RunOutcome.SUCCESS, 2.0))
        self.hub.set_end(job, RunFinished(run))

    def _done(self, job: Job) -> None:
        self.hub.finish(job)

    def _failed(self, job: Job, error: BaseException) -> None:
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
