"""What is told of a Docker that is reached in the wrong way, over real sockets."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.docker.client import DockerClient
from sidecar.docker.containers import Containers
from sidecar.docker.events import EventStream
from sidecar.docker.failures import DockerError
from sidecar.docker.inventory import DockerInventory
from tests.fakes.certificate import make_certificate
from tests.fakes.fake_docker import FakeDocker
from tests.unit.docker.test_endpoint import keep_context, use_context

SECONDS = 5.0


def observe(address: str) -> None:
    """Reach Docker as `reconcile` and `lint` do."""
    with DockerInventory(address, SECONDS) as docker:
        docker.observe()


def ask_version(address: str) -> None:
    """Reach it as `doctor` does at first."""
    with DockerClient(address, SECONDS) as client:
        client.version()


def use(address: str) -> None:
    """Reach it as the runner does."""
    with Containers(DockerClient(address, SECONDS)) as containers:
        containers.all()


WAYS = [observe, ask_version, use]
Reach = Callable[[str], None]
each_way = pytest.mark.parametrize("reach", WAYS)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no variable of the machine decide."""
    for name in (
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "client"))


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Return a folder for certificates."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    return folder


@pytest.fixture
def secure(certificates: Path) -> Iterator[FakeDocker]:
    """Run a Docker that speaks TLS on the loopback."""
    with FakeDocker(port=0, secure=make_certificate(certificates)) as docker:
        yield docker


@pytest.fixture
def plain() -> Iterator[FakeDocker]:
    """Run a Docker that speaks plain text on the loopback."""
    with FakeDocker(port=0) as docker:
        yield docker


def failure_of(reach: Reach, address: str) -> DockerError:
    """Return what reaching an address raises."""
    with pytest.raises(DockerError) as caught:
        reach(address)
    return caught.value


@each_way
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_own_authority_is_trusted_whatever_the_variables_for_others_say(
    secure: FakeDocker,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    reach: Reach,
    variable: str,
) -> None:
    """They name the authorities of public servers."""
    others = tmp_path / "others"
    others.mkdir()
    make_certificate(others)
    monkeypatch.setenv(variable, str(others / "ca.pem"))
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))

    reach(secure.address)


@each_way
def test_https_without_certificates_trusts_the_named_bundle(
    secure: FakeDocker, certificates: Path, monkeypatch: pytest.MonkeyPatch, reach: Reach
) -> None:
    """There the variables are what counts."""
    address = secure.address.replace("tcp://", "https://")
    assert "not trusted" in failure_of(reach, address).message

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "ca.pem"))
    reach(address)


@each_way
def test_certificate_of_another_authority_is_told(
    secure: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reach: Reach
) -> None:
    """With the library's own reason."""
    others = tmp_path / "others"
    others.mkdir()
    make_certificate(others)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(others))

    error = failure_of(reach, secure.address)

    assert "not trusted: " in error.message
    assert "ca.pem" in error.hint


@each_way
def test_missing_certificates_are_told(
    secure: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reach: Reach
) -> None:
    """By their path."""
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path / "none"))

    error = failure_of(reach, secure.address)

    assert str(tmp_path / "none" / "ca.pem") in error.message
    assert "DOCKER_CERT_PATH" in error.hint


@each_way
def test_plain_text_to_a_port_of_tls_is_told(secure: FakeDocker, reach: Reach) -> None:
    """Whether the server says so, sends an alert, or hangs up."""
    error = failure_of(reach, secure.address)

    assert secure.address in error.message
    assert "DOCKER_TLS_VERIFY=1" in error.hint


@each_way
def test_answer_of_an_engine_to_plain_text_on_its_port_of_tls(
    plain: FakeDocker, reach: Reach
) -> None:
    """Status 400 with these words is what a real one gives."""
    plain.refusals[""] = 400
    plain.refusal_text = "Client sent an HTTP request to an HTTPS server."

    error = failure_of(reach, plain.address)

    assert "DOCKER_TLS_VERIFY=1" in error.hint


@each_way
def test_tls_to_a_port_of_plain_text_is_told(
    plain: FakeDocker, certificates: Path, monkeypatch: pytest.MonkeyPatch, reach: Reach
) -> None:
    """And which variables ask for it."""
    make_certificate(certificates)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))

    error = failure_of(reach, plain.address)

    assert "plain text" in error.message
    assert "DOCKER_TLS_VERIFY" in error.hint


@pytest.fixture
def closed_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@each_way
def test_refused_connection_is_no_slow_answer(closed_port: int, reach: Reach) -> None:
    """The library gives both the same class."""
    error = failure_of(reach, f"tcp://127.0.0.1:{closed_port}")

    assert f"nothing listens at tcp://127.0.0.1:{closed_port}" in error.message
    assert "DOCKER_HOST" in error.hint


@each_way
def test_unknown_host_is_no_slow_answer(reach: Reach) -> None:
    """It is a name to be corrected."""
    error = failure_of(reach, "tcp://no.such.host.invalid:2375")

    assert "cannot be resolved" in error.message
    assert "DOCKER_HOST" in error.hint


@each_way
def test_port_that_takes_calls_and_says_nothing_is_slow(reach: Reach, plain: FakeDocker) -> None:
    """Now only this is told as a missing answer."""
    plain.stall()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}.SECONDS", 0.3)
        error = failure_of(reach, plain.address)

    assert "in time" in error.message


@each_way
@pytest.mark.parametrize("status", [404, 500])
def test_version_comes_from_the_ping_where_the_call_for_it_fails(
    plain: FakeDocker, reach: Reach, status: int
) -> None:
    """As with a rootless engine whose parts do not answer."""
    plain.refusals["/version"] = status

    reach(plain.address)

    assert plain.calls["HEAD /_ping"] > 0


@each_way
@pytest.mark.parametrize("status", [403, 500])
def test_version_that_nothing_tells_is_an_error(
    plain: FakeDocker, reach: Reach, status: int
) -> None:
    """The one of the call for it, which a proxy's owner may permit."""
    plain.refusals["/version"] = status
    plain.refusals["/_ping"] = status

    assert failure_of(reach, plain.address).message


def test_context_of_the_docker_client_leads_to_its_engine_by_its_certificates(
    secure: FakeDocker, tmp_path: Path
) -> None:
    """`docker context use` is enough: nothing else is set."""
    folder = keep_context(tmp_path / "client", "far", secure.address)
    folder.mkdir(parents=True)
    make_certificate(folder)
    own = tmp_path / "certificates"
    (folder / "ca.pem").write_bytes((own / "ca.pem").read_bytes())
    use_context(tmp_path / "client", "far")

    for reach in WAYS:
        reach("")
    hints: SimpleQueue[str | None] = SimpleQueue()
    taker: Any = SimpleNamespace(hint=lambda: hints.put(None))
    with EventStream(None, "backrest.", taker) as stream:
        assert hints.get(timeout=SECONDS) is None
        assert stream.is_connected
    (folder / "ca.pem").write_bytes((folder / "cert.pem").read_bytes())
    for reach in WAYS:
        assert "not trusted" in failure_of(reach, "").message


def test_context_that_does_not_exist_is_told_by_the_runner_when_it_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not before: much of it needs no Docker."""
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")

    with Containers(DockerClient()) as containers, pytest.raises(DockerError, match="gone"):
        containers.all()
