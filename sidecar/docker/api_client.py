"""The client library's client of one endpoint, whose connections another thread can cut.

What the library gets wrong is put right here: which authorities are trusted, that each path
had a connection of its own, that answers may come compressed, and may be fetched elsewhere.
"""

import socket
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import docker
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.tls import TLSConfig
from docker.transport import UnixHTTPAdapter
from requests import Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool

from sidecar.docker.endpoint import UNIX, Endpoint

if TYPE_CHECKING:
    from io import BufferedReader

# One, but for a call within an answer that goes on.
_MOST_KEPT = 2


class Sockets:
    """The socket of a client's newest connection; safe for threads.

    It is a duplicate: the original is out of reach while TLS is being agreed on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copy: socket.socket | None = None
        self._is_cut = False

    def add(self, made: socket.socket) -> socket.socket:
        """Take the socket of a new connection."""
        with self._lock:
            self._forget()
            if self._is_cut:
                made.close()
                raise ConnectionAbortedError
            self._copy = made.dup()
        return made

    def cut(self) -> None:
        """End what is waited for, and refuse new connections."""
        with self._lock:
            self._is_cut = True
            if self._copy is not None:
                with suppress(OSError):
                    self._copy.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the duplicate back."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._copy is not None:
            self._copy.close()
            self._copy = None


class _KnownConnection(HTTPConnection):
    """A connection whose socket is known to `sockets`; `path` is that of a Unix socket."""

    def __init__(self, *args: Any, sockets: Sockets, path: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self._sockets = sockets
        self._path = path

    def _new_conn(self) -> socket.socket:
        return self._sockets.add(self._dial() if self._path else super()._new_conn())

    def _dial(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(self.timeout)
            made.connect(self._path)
        except OSError:
            made.close()
            raise
        return made


class _KnownTlsConnection(HTTPSConnection):
    """The same by TLS."""

    def __init__(self, *args: Any, sockets: Sockets, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sockets = sockets

    def _new_conn(self) -> socket.socket:
        return self._sockets.add(super()._new_conn())


class _UnixAdapter(UnixHTTPAdapter):  # type: ignore[misc]
    """One connection for all paths: the library's would make a pool for each."""

    def __init__(self, place: str, sockets: Sockets) -> None:
        super().__init__(place)
        self._pool = HTTPConnectionPool("localhost", maxsize=_MOST_KEPT)
        self._pool.ConnectionCls = partial(_KnownConnection, sockets=sockets, path=place)  # type: ignore[assignment]

    def get_connection(self, url: object, proxies: object = None) -> HTTPConnectionPool:
        """Return that connection."""
        del url, proxies
        return self._pool

    def close(self) -> None:
        """Close it."""
        self._pool.close()


class _TcpAdapter(HTTPAdapter):
    """The adapter of requests, with connections whose sockets are known."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        super().__init__(pool_maxsize=_MOST_KEPT)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Make what it returns open our connections."""
        return self._known(super().get_connection_with_tls_context(*args, **options))

    def get_connection(self, *args: Any, **options: Any) -> Any:
        """Do the same for requests before 2.32."""
        return self._known(super().get_connection(*args, **options))

    def _known(self, pool: Any) -> Any:
        # A proxy of SOCKS has connections of its own.
        ours = {HTTPConnection: _KnownConnection, HTTPSConnection: _KnownTlsConnection}
        if (kind := ours.get(pool.ConnectionCls)) is not None:
            pool.ConnectionCls = partial(kind, sockets=self._sockets)
        return pool


class ExecStream:
    """A connection with a command: its output, and where its input goes; waits without an end."""

    def __init__(self, response: Response) -> None:
        # Without it the connection is closed.
        self._response = response
        self.output: BufferedReader = response.raw._fp.fp  # noqa: SLF001 - as the library does
        self.input: socket.socket = self.output.raw._sock  # noqa: SLF001
        self.input.settimeout(None)

    def close(self) -> None:
        """End it: a command that goes on gets no more input, and nobody reads what it prints."""
        with suppress(OSError):
            self.input.shutdown(socket.SHUT_RDWR)
        self._response.close()
        self.output.close()
        self.input.close()


class ApiClient(docker.APIClient):  # type: ignore[misc]
    """A client with one connection, for one thread at a time; any may `cut` it.

    Raises InventoryError for certificates that are not there.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        options: dict[str, Any] = {}
        if (tls := endpoint.tls) is not None:
            tls.require(endpoint.address)
            pair = (tls.cert, tls.key) if tls.cert else None
            options["tls"] = TLSConfig(client_cert=pair, ca_cert=tls.ca or None, verify=tls.verify)
        super().__init__(endpoint.address, version=DEFAULT_DOCKER_API_VERSION, **options)
        # A proxy that compresses would hold back the events of a stream.
        self.headers["Accept-Encoding"] = "identity"
        self._sockets = Sockets()
        is_unix = endpoint.address.startswith(UNIX)
        # No proxy stands before a socket: looking for one takes longer than a call.
        self.trust_env = not is_unix
        if is_unix:
            path = endpoint.address.removeprefix(UNIX)
            self.mount("http+docker://", _UnixAdapter(path, self._sockets))
        else:
            for scheme in ("http://", "https://"):
                self.mount(scheme, _TcpAdapter(self._sockets))

    def speak(self, version: str) -> None:
        """Use this version of the API in the library's own calls."""
        self._version = version

    def bound_silence(self, response: Response, seconds: float) -> None:
        """Set how long reading an answer that goes on may wait for the next byte."""
        stream = self._get_raw_response_socket(response)
        getattr(stream, "_sock", stream).settimeout(seconds)

    def start_exec(self, identity: str) -> "ExecStream":
        """Start a command that `exec_create` made, and return the connection with it.

        The library's own call reads past what came together with the answer's head.
        """
        upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
        url, body = self._url("/exec/{0}/start", identity), {"Tty": False, "Detach": False}
        response = self._post_json(url, headers=upgrade, data=body, stream=True)
        self._raise_for_status(response)
        return ExecStream(response)

    def cut(self) -> None:
        """End what another thread waits for here, now and from now on."""
        self._sockets.cut()

    def close(self) -> None:
        """Close the connection."""
        super().close()
        self._sockets.close()

    def get_redirect_target(self, resp: Response) -> str | None:
        """Follow nobody elsewhere: a POST would become a GET there, and seem to be done."""
        del resp
        return None

    def merge_environment_settings(
        self,
        url: str | bytes,
        proxies: MutableMapping[str, str] | None,
        stream: bool | None,
        verify: bool | str | None,
        cert: Any,
    ) -> dict[str, Any]:
        """Keep the certificates of the endpoint.

        REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE name authorities of public servers; left
        alone they take the place of the one that signed the engine's certificate.
        """
        own = self.verify if verify is None else verify
        merged: dict[str, Any] = super().merge_environment_settings(url, proxies, stream, own, cert)
        return merged
