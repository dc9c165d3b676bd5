"""One process's way to a Docker engine: bytes in, bytes out, and failures in plain words.

What a failing call to the engine means, said so that people can act on it.

A connection to the engine that another thread can cut, also while it is being made.

The client library bounds each wait but cannot be called off in between, and what streams
must end at once when the daemon does.
"""

import json
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Self
from urllib.parse import urlsplit

import docker
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import DockerException
from docker.utils import kwargs_from_env
from requests import RequestException, Timeout
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as PoolTimeout

from sidecar.docker.answers import parse_api_version
from sidecar.lib.errors import InventoryError, UsageError
from sidecar.lib.threads import Closable

# More causes than these are never chained; the bound only guards against a ring.
_MAX_CAUSES = 30

_TIMEOUTS = (Timeout, PoolTimeout, TimeoutError)


def explain_failure(error: BaseException, address: str, call: str) -> InventoryError:
    """Turn whatever the client library raised during `call` into one sentence and a hint."""
    chain = list(_causes(error))
    for kinds, message, hint in _MEANINGS:
        if any(isinstance(cause, kinds) for cause in chain):
            return InventoryError(message.format(address=address, call=call), hint)
    return InventoryError(f"the Docker engine at {address} failed on {call}: {_line(str(error))}")


def explain_status(status: int, text: str, address: str, call: str) -> InventoryError:
    """Say what an HTTP status other than success means for the pass."""
    if status in {401, 403}:
        return InventoryError(
            f"{call} was refused with status {status} by {address}",
            f"a socket proxy in between must allow {call}; "
            "only reading containers, volumes, images and the version is needed",
        )
    if status == 400 and "version" in text:
        return InventoryError(
            f"the Docker engine at {address} speaks another API version: {_line(text)}",
            "update the engine or the sidecar",
        )
    return InventoryError(
        f"the Docker engine at {address} answered {call} with status {status}: {_line(text)}",
        "its own log tells more",
    )


_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    (
        _TIMEOUTS,
        "the Docker engine at {address} did not answer {call} in time",
        "nothing is changed before it answers; see whether `docker ps` does",
    ),
    (
        (FileNotFoundError,),
        "there is no Docker socket at {address}",
        "start it, mount its socket into this container, or name one with --docker-sock",
    ),
    (
        (PermissionError,),
        "opening the Docker socket at {address} is not permitted",
        "run as root, or as a member of the group that owns the socket",
    ),
    (
        (ConnectionRefusedError,),
        "nothing listens at {address}",
        "start the engine, or name another with --docker-sock or DOCKER_HOST",
    ),
    (
        (socket.gaierror,),
        "the host name in {address} cannot be resolved",
        "correct --docker-sock or DOCKER_HOST",
    ),
    (
        (ssl.SSLError,),
        "no TLS connection to {address} could be made",
        "see DOCKER_TLS_VERIFY and the certificates in DOCKER_CERT_PATH",
    ),
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything it was raised from, wherever its library put that."""
    waiting: list[Any] = [error]
    for _ in range(_MAX_CAUSES):
        if not waiting:
            return
        cause = waiting.pop(0)
        if isinstance(cause, BaseException):
            yield cause
            inner = (cause.__cause__, cause.__context__, getattr(cause, "reason", None))
            waiting.extend((*inner, *cause.args))


def _line(text: str) -> str:
    """The first line of a foreign message, at most 200 characters of it."""
    return re.sub(r"\s+", " ", text).strip()[:200] or "no further words"


DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
FAILURES = (DockerException, RequestException, HTTPError, OSError)
"""What a call may raise: the client library lets other libraries' exceptions through."""

_UNIX = "unix://"
_ADDRESS = re.compile(r"unix:///.+|(?:tcp|https?)://[^/@]+(?:/[^@]*)?")
_JSON = {"Content-Type": "application/json"}
_CONNECT_SECONDS = 10.0


def parse_address(url: str | None) -> str:
    """Turn a flag's value, a bare socket path or nothing into the address of an engine."""
    address = (url or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS).strip()
    if address.startswith("/"):
        address = _UNIX + address
    if not _ADDRESS.fullmatch(address):
        shown = re.sub(r"//.*@", "//***@", address)
        raise UsageError(
            f"{shown} is no address of a Docker engine that can be used",
            "write /path/to/docker.sock, unix:///path, tcp://host:port or https://host:port",
        )
    return address


@dataclass(slots=True)
class _Clients:
    """Two connections, so that two lists can be read at once; `prefix` is `/vVERSION`."""

    first: Any
    second: Any
    prefix: str = ""

    def close(self) -> None:
        self.first.close()
        self.second.close()


class Connection(Closable):
    """Calls to the engine at `url` (as in `parse_address`), each bounded by `timeout` seconds.

    Paths begin with `/` and leave the version out; their parts are quoted already.
    Every method raises InventoryError when the engine cannot answer. Connects at the
    first call, and again after a failure. Not thread-safe: a thread has its own.
    """

    def __init__(self, url: str | None = None, timeout: float = 30) -> None:
        self.address = parse_address(url)
        self._timeout = timeout
        self._clients: _Clients | None = None

    def close(self) -> None:
        """Give the connections back; the next call makes new ones."""
        if self._clients is not None:
            self._clients.close()
            self._clients = None

    def connect(self) -> None:
        """Make the connections now, unless they are there."""
        self._connected()

    def get(self, path: str, *, beside: bool = False) -> bytes:
        """Return the answer's body; `beside` takes the second connection, for a second thread."""
        status, content = self._ask("GET", path, beside=beside)
        if status != 200:
            raise self._refused(status, content, "GET", path)
        return content

    def find(self, path: str, method: str = "GET") -> bytes | None:
        """Ask for something that may not exist: None then."""
        status, content = self._ask(method, path)
        if status == 404:
            return None
        if status != 200:
            raise self._refused(status, content, method, path)
        return content

    def find_permitted(self, path: str) -> bytes | None:
        """Ask for something that a proxy may keep back: None then, or where it does not exist."""
        status, content = self._ask("GET", path)
        if status in {401, 403, 404}:
            return None
        if status != 200:
            raise self._refused(status, content, "GET", path)
        return content

    def status_of(self, method: str, path: str) -> int:
        """Tell only with which HTTP status the engine, or a proxy before it, answers."""
        return self._ask(method, path)[0]

    def act(
        self, path: str, body: object = None, *, method: str = "POST", timeout: float | None = None
    ) -> bytes | None:
        """Make the engine do something: its answer, None if that thing does not exist.

        That it is so already (304) counts as done. `timeout` in seconds for what takes long.
        """
        status, content = self._ask(method, path, body, timeout=timeout)
        if status == 404:
            return None
        if status not in {200, 201, 202, 204, 304}:
            raise self._refused(status, content, method, path)
        return content

    @contextmanager
    def stream(self, path: str, silence: float) -> Iterator[Any]:
        """Open an answer that goes on; the body of the `with` gets the library's response.

        Reading it raises one of FAILURES after `silence` seconds without a byte.
        """
        clients = self._connected()
        url = f"{clients.first.base_url}{clients.prefix}{path}"
        try:
            response = clients.first.get(url, stream=True, timeout=(_CONNECT_SECONDS, silence))
        except FAILURES as error:
            raise explain_failure(error, self.address, f"GET {_bare(path)}") from error
        try:
            if response.status_code != 200:
                raise self._refused(response.status_code, response.content, "GET", path)
            yield response
        finally:
            response.close()

    def source(self, path: str) -> str:
        """Name an answer in errors."""
        return f"the answer of {self.address} to GET {_bare(path)}"

    def parsed(self, parse: Callable[[bytes, str], Any], path: str) -> Any:
        """Get and parse; `parse` takes the bytes and their name in errors."""
        return parse(self.get(path), self.source(path))

    def _connected(self) -> _Clients:
        if self._clients is None:
            self._clients = self._connect()
            try:
                version = self.parsed(parse_api_version, "/version")
            except InventoryError:
                self.close()
                raise
            self._clients.prefix = f"/v{version}"
        return self._clients

    def _connect(self) -> _Clients:
        try:
            self._knock()
            secured = {} if self.address.startswith(_UNIX) else kwargs_from_env()
            options = {**secured, "base_url": self.address, "version": DEFAULT_DOCKER_API_VERSION}
            clients = _Clients(docker.APIClient(**options), docker.APIClient(**options))
        except FAILURES as error:
            raise explain_failure(error, self.address, "GET /version") from error
        if self.address.startswith(_UNIX):
            # No proxy stands before a socket: looking for one takes longer than a call.
            clients.first.trust_env = clients.second.trust_env = False
        return clients

    def _knock(self) -> None:
        """Open the socket once by hand: the client library leaves one open that fails."""
        if self.address.startswith(_UNIX):
            with socket.socket(socket.AF_UNIX) as door:
                door.settimeout(self._timeout)
                door.connect(self.address.removeprefix(_UNIX))

    def _ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        beside: bool = False,
        timeout: float | None = None,
    ) -> tuple[int, bytes]:
        # Bytes, not the library's decoded JSON: the parser that checks also decodes.
        clients = self._connected()
        client = clients.second if beside else clients.first
        url = f"{client.base_url}{clients.prefix}{path}"
        sent = {} if body is None else {"data": json.dumps(body), "headers": _JSON}
        try:
            response = client.request(method, url, timeout=timeout or self._timeout, **sent)
        except FAILURES as error:
            raise explain_failure(error, self.address, f"{method} {_bare(path)}") from error
        return response.status_code, response.content

    def _refused(self, status: int, content: bytes, method: str, path: str) -> InventoryError:
        text = content.decode("utf-8", "replace")
        return explain_status(status, text, self.address, f"{method} {_bare(path)}")


def _bare(path: str) -> str:
    return path.partition("?")[0]


_PORTS = {"http": 2375, "https": 2376}
# ValueError: a host name that cannot be one, a port that is no number.
_FAILURES = (OSError, HTTPException, DockerException, ValueError)
_PIECE = 65536
_MOST_TOLD = 4096


class WireCut(Exception):
    """Another thread cut the connection."""


class WireRefused(InventoryError):
    """The engine, or a proxy before it, answered with a status other than success."""

    def __init__(self, told: InventoryError, status: int) -> None:
        super().__init__(told.message, told.hint)
        self.status = status


class WireSilent(InventoryError):
    """Nothing came for as long as silence was allowed."""


class CuttableConnection:
    """One connection to the engine at `url` (as in `parse_address`); one thread uses it.

    `timeout` in seconds bounds each wait for the connection and for an answer to begin.
    Every call raises InventoryError when the engine cannot answer, and WireCut after
    `cut`, which is the one method for other threads.
    """

    def __init__(self, url: str | None, timeout: float) -> None:
        self.address = parse_address(url)
        self._base = _base_of(self.address)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._is_cut = False
        self._socket: socket.socket | None = None
        self._http = _Dialled(self._dial)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._http.close()
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def cut(self) -> None:
        """End whatever the using thread waits for; it raises WireCut, now or at its next call."""
        with self._lock:
            self._is_cut = True
            if self._socket is not None:
                # Not the method of a TLS socket, which would pull its state from under a reader.
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def get(self, path: str) -> bytes:
        """Return the body of a whole answer."""
        try:
            return self._ask(path).read()
        except _FAILURES as error:
            raise self._explained(error, path) from error

    def stream(self, path: str, silence: float) -> Iterator[bytes]:
        """Open an answer that goes on, and give its pieces as they come, none of them empty.

        The stream is open when this returns. The pieces end when the engine ends the
        answer. Reading raises WireSilent after `silence` seconds without a byte.
        """
        try:
            response = self._ask(path)
            if self._socket is not None:
                self._socket.settimeout(silence)
        except _FAILURES as error:
            raise self._explained(error, path) from error
        return self._pieces(response, path)

    def _pieces(self, response: HTTPResponse, path: str) -> Iterator[bytes]:
        try:
            while piece := response.read1(_PIECE):
                yield piece
        except TimeoutError as error:
            told = self._explained(error, path)
            raise WireSilent(told.message, told.hint) from error
        except _FAILURES as error:
            raise self._explained(error, path) from error
        if self._is_cut:
            raise WireCut

    def _ask(self, path: str) -> HTTPResponse:
        self._http.request("GET", self._base + path)
        response = self._http.getresponse()
        if response.status != 200:
            text = response.read(_MOST_TOLD).decode("utf-8", "replace")
            call = f"GET {path.partition('?')[0]}"
            told = explain_status(response.status, text, self.address, call)
            raise WireRefused(told, response.status)
        return response

    def _explained(self, error: BaseException, path: str) -> InventoryError:
        if self._is_cut:
            raise WireCut from error
        return explain_failure(error, self.address, f"GET {path.partition('?')[0]}")

    def _dial(self) -> socket.socket:
        if self.address.startswith(_UNIX):
            return self._connect(socket.AF_UNIX, self.address.removeprefix(_UNIX))
        secure = _tls_context(self.address)
        parts = urlsplit(self.address)
        host, port = parts.hostname or "", parts.port or _PORTS["https" if secure else "http"]
        plain = self._connect_any(host, port)
        return plain if secure is None else self._secure(plain, secure, host)

    def _connect_any(self, host: str, port: int) -> socket.socket:
        """Try each address of a host; the last failure is the one that is told."""
        failure: OSError | None = None
        for family, _, _, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                return self._connect(family, place)
            except OSError as error:
                failure = error
        raise failure or OSError(f"{host} has no address")

    def _connect(self, family: int, place: Any) -> socket.socket:
        made = self._held(socket.socket(family, socket.SOCK_STREAM))
        made.settimeout(self._timeout)
        made.connect(place)
        return made

    def _secure(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> socket.socket:
        # The handshake waits too, so it comes after the socket can be cut.
        secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._held(secured)
        secured.do_handshake()
        return secured

    def _held(self, made: socket.socket) -> socket.socket:
        """Let `cut` know the socket; the one before it is of no use any more."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = made
            if self._is_cut:
                raise WireCut
        return made


class _Dialled(HTTPConnection):
    """The library's connection over a socket of ours."""

    def __init__(self, dial: Any) -> None:
        super().__init__("docker")
        self._dial = dial

    def connect(self) -> None:
        self.sock = self._dial()


def _base_of(address: str) -> str:
    """The path below which a proxy offers the engine, without a slash at its end."""
    place = "" if address.startswith(_UNIX) else address.partition("://")[2]
    _, slash, path = place.partition("/")
    return f"{slash}{path}".rstrip("/")


def _tls_context(address: str) -> ssl.SSLContext | None:
    """Secure a connection as the client library does: by environment, or by `https`."""
    config = kwargs_from_env().get("tls")
    if config is None:
        return _public_context() if address.startswith("https://") else None
    context = ssl.create_default_context(cafile=config.ca_cert if config.verify else None)
    if not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.cert:
        context.load_cert_chain(*config.cert)
    return context


def _public_context() -> ssl.SSLContext:
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return ssl.create_default_context(cafile=named or DEFAULT_CA_BUNDLE_PATH)
