"""A connection to Docker that another thread can cut, also while it is being made.

The client library bounds each wait but cannot be interrupted in between, and the event
stream must end at once when the daemon does.
"""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Self
from urllib.parse import urlsplit

from docker.errors import DockerException
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from sidecar.docker.api_client import PING, VERSION_HEADER, as_version
from sidecar.docker.endpoint import UNIX, Endpoint, find_endpoint
from sidecar.docker.failures import explain_failure, explain_status
from sidecar.lib.errors import InventoryError

# ValueError: a host name that cannot be one, a port that is no number.
_CALL_FAILURES = (OSError, HTTPException, DockerException, ValueError)
_PIECE = 65536
_MAX_EXPLANATION = 4096


class ConnectionCut(Exception):
    """Another thread cut the connection."""


class RequestRefused(InventoryError):
    """Docker, or a proxy before it, answered with a status other than success."""

    def __init__(self, reason: InventoryError, status: int) -> None:
        super().__init__(reason.message, reason.hint)
        self.status = status


class ConnectionSilent(InventoryError):
    """Nothing came for as long as silence was allowed."""


class CuttableConnection:
    """One connection to Docker at `url` (as in `parse_address`); one thread uses it.

    `timeout` in seconds bounds each wait for the connection and for an answer to begin.
    Every call raises InventoryError when Docker cannot answer, and ConnectionCut after
    `cut`, which is the one method for other threads.
    """

    def __init__(self, url: str | None, timeout: float) -> None:
        self._endpoint = find_endpoint(url)
        self.address = self._endpoint.address
        self._base = _base_of(self.address)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._is_cut = False
        self._socket: socket.socket | None = None
        self._http = _DialledConnection(self._dial)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._http.close()
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def cut(self) -> None:
        """End what the using thread waits for.

        ConnectionCut is raised in that thread, now or at its next call.
        """
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
        except _CALL_FAILURES as error:
            raise self._explained(error, path) from error

    def get_version(self) -> bytes:
        """Return the answer to `/version`, or where that fails what `/_ping` tells of it.

        A proxy's refusal is raised: its owner may permit the call.
        """
        try:
            return self.get("/version")
        except RequestRefused as error:
            header = "" if error.status in {401, 403} else self._ping()
            if not header:
                raise
            return as_version(header)

    def _ping(self) -> str:
        try:
            # The refusal before may not have been read to its end.
            self._http.close()
            self._http.request("HEAD", self._base + PING)
            response = self._http.getresponse()
            response.read()
        except _CALL_FAILURES as error:
            raise self._explained(error, PING) from error
        return (response.headers.get(VERSION_HEADER) or "") if response.status == 200 else ""

    def stream(self, path: str, silence: float) -> Iterator[bytes]:
        """Open an answer that goes on, and return its pieces as they come, none of them empty.

        The stream is open when this returns. The pieces end when Docker ends the
        answer. Reading raises ConnectionSilent after `silence` seconds without a byte.
        """
        try:
            response = self._ask(path)
            if self._socket is not None:
                self._socket.settimeout(silence)
        except _CALL_FAILURES as error:
            raise self._explained(error, path) from error
        return self._pieces(response, path)

    def _pieces(self, response: HTTPResponse, path: str) -> Iterator[bytes]:
        try:
            while piece := response.read1(_PIECE):
                yield piece
        except TimeoutError as error:
            reason = self._explained(error, path)
            raise ConnectionSilent(reason.message, reason.hint) from error
        except _CALL_FAILURES as error:
            raise self._explained(error, path) from error
        if self._is_cut:
            raise ConnectionCut

    def _ask(self, path: str) -> HTTPResponse:
        self._http.request("GET", self._base + path)
        response = self._http.getresponse()
        if response.status != 200:
            text = response.read(_MAX_EXPLANATION).decode("utf-8", "replace")
            call = f"GET {path.partition('?')[0]}"
            reason = explain_status(response.status, text, self.address, call)
            raise RequestRefused(reason, response.status)
        return response

    def _explained(self, error: BaseException, path: str) -> InventoryError:
        if self._is_cut:
            raise ConnectionCut from error
        return explain_failure(error, self.address, f"GET {path.partition('?')[0]}")

    def _dial(self) -> socket.socket:
        if self.address.startswith(UNIX):
            return self._connect(socket.AF_UNIX, self.address.removeprefix(UNIX))
        secure = _tls_context(self._endpoint)
        parts = urlsplit(self.address)
        host = parts.hostname or ""
        plain = self._connect_any(host, parts.port or 0)
        return plain if secure is None else self._secure(plain, secure, host)

    def _connect_any(self, host: str, port: int) -> socket.socket:
        """Try each address of a host; the last failure is raised."""
        failure: OSError | None = None
        for family, _, _, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                return self._connect(family, place)
            except OSError as error:
                failure = error
        raise failure or OSError(f"{host} has no address")

    def _connect(self, family: int, place: Any) -> socket.socket:
        made = self._register(socket.socket(family, socket.SOCK_STREAM))
        made.settimeout(self._timeout)
        made.connect(place)
        return made

    def _secure(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> socket.socket:
        # The handshake waits too, so it comes after the socket can be cut.
        secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._register(secured)
        secured.do_handshake()
        return secured

    def _register(self, made: socket.socket) -> socket.socket:
        """Make the socket the one that `cut` ends, and close the one before it."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = made
            if self._is_cut:
                raise ConnectionCut
        return made


class _DialledConnection(HTTPConnection):
    """An HTTP connection over a socket that `dial` opens."""

    def __init__(self, dial: Callable[[], socket.socket]) -> None:
        super().__init__("docker")
        self._dial = dial

    def connect(self) -> None:
        self.sock = self._dial()


def _base_of(address: str) -> str:
    """Return the path below which a proxy offers Docker, without a slash at its end."""
    place = "" if address.startswith(UNIX) else address.partition("://")[2]
    _, slash, path = place.partition("/")
    return f"{slash}{path}".rstrip("/")


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext | None:
    """Return how to secure the connection, as the client library does; None if it is plain.

    Raises InventoryError for certificates that are not there.
    """
    tls = endpoint.tls
    if tls is None:
        return _public_context() if endpoint.address.startswith("https://") else None
    tls.require(endpoint.address)
    if not tls.verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context(cafile=tls.ca) if tls.ca else _public_context()
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key)
    return context


def _public_context() -> ssl.SSLContext:
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return ssl.create_default_context(cafile=named or DEFAULT_CA_BUNDLE_PATH)
