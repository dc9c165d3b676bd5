"""A socket proxy before a real engine: it forwards what it grants, and answers 403 otherwise.

It knows the permissions by the names that such proxies give them, or takes rules of its own.
A stream that it forwards ends with it.
"""

import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import BaseServer, ThreadingTCPServer, ThreadingUnixStreamServer
from typing import Any, Self
from urllib.parse import unquote

_READ, _WRITE = frozenset({"GET", "HEAD"}), frozenset({"POST", "PUT", "DELETE"})
_VERSION = re.compile(r"^/v[\d.]+(?=/)")
_POLL_SECONDS = 0.01
_PIECE = 65536

PERMISSIONS: dict[str, tuple[frozenset[str], str]] = {
    "VERSION": (_READ, r"/version"),
    "CONTAINERS": (_READ, r"/containers/"),
    "VOLUMES": (_READ, r"/volumes"),
    "IMAGES": (_READ, r"/images/"),
    "INFO": (_READ, r"/info"),
    "EVENTS": (_READ, r"/events"),
    "SERVICES": (_READ | _WRITE, r"/services"),
    "POST": (_WRITE, r"/"),
    "ALLOW_RESTARTS": (_WRITE, r"/containers/[^/]+/(?:stop|restart|kill)"),
    "ALLOW_START": (_WRITE, r"/containers/[^/]+/start"),
    "ALLOW_UNPAUSE": (_WRITE, r"/containers/[^/]+/unpause"),
}
"""Methods, and how paths without their version begin, by the permission that grants them."""


class SocketProxy:
    """Stands before the engine at the unix socket `engine` while its `with` lasts.

    `denied` names the PERMISSIONS that it does not grant; it may be changed at any time.
    `allowed` gives, by method, regular expressions of whole paths: nothing else is granted
    then. `listen`: a host and port to answer at instead of a unix socket. `refused` lists
    the calls that got a 403.
    """

    def __init__(
        self,
        engine: Path,
        denied: Collection[str] = (),
        *,
        allowed: Mapping[str, Sequence[str]] | None = None,
        listen: tuple[str, int] | None = None,
    ) -> None:
        self.engine = engine
        self.denied = set(denied)
        self.allowed = allowed
        self.refused: list[str] = []
        # Not pytest's folder: a unix socket's path has to be short.
        self.folder = None if listen else Path(tempfile.mkdtemp(prefix="proxy-", dir="/tmp"))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        proxy = self

        class Forwarding(_Forwarding):
            owner = proxy

        self._server = _server(listen or str(self.place), Forwarding)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="socket-proxy"
        )

    @property
    def place(self) -> Path:
        """The unix socket on which it answers."""
        assert self.folder is not None, "it answers at a port"
        return self.folder / "docker.sock"

    @property
    def address(self) -> str:
        """Where it answers, as `DOCKER_HOST` spells it."""
        if isinstance(self._server.server_address, tuple):
            host, port = self._server.server_address[:2]
            return f"tcp://{host!s}:{port}"
        return f"unix://{self.place}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        if self.folder is not None:
            shutil.rmtree(self.folder)

    def grants(self, method: str, path: str) -> bool:
        """Tell whether a call is let through."""
        if self.allowed is not None:
            bare = unquote(path.partition("?")[0])
            return any(re.fullmatch(rule, bare) for rule in self.allowed.get(method, ()))
        plain = _VERSION.sub("", path)
        rules = (PERMISSIONS[name] for name in self.denied)
        return not any(method in methods and re.match(start, plain) for methods, start in rules)

    def hold(self, connection: socket.socket) -> None:
        """Know a connection that has to end with us."""
        with self._lock:
            self._open.add(connection)

    def drop(self, connection: socket.socket) -> None:
        """Forget a connection that has ended."""
        with self._lock:
            self._open.discard(connection)


def _server(place: str | tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> BaseServer:
    if isinstance(place, str):
        unix = ThreadingUnixStreamServer(place, handler)
        unix.daemon_threads = False
        return unix
    tcp = ThreadingTCPServer(place, handler)
    tcp.daemon_threads = False
    return tcp


class _Forwarding(BaseHTTPRequestHandler):
    """One call a connection: the end of the answer is the end of the connection."""

    owner: SocketProxy

    def setup(self) -> None:
        super().setup()
        self.owner.hold(self.connection)

    def finish(self) -> None:
        self.owner.drop(self.connection)
        super().finish()

    def do_HEAD(self) -> None:
        """Forward or refuse."""
        self._answer_call()

    def do_GET(self) -> None:
        """Forward or refuse."""
        self._answer_call()

    def do_POST(self) -> None:
        """Forward or refuse."""
        self._answer_call()

    def do_PUT(self) -> None:
        """Forward or refuse."""
        self._answer_call()

    def do_DELETE(self) -> None:
        """Forward or refuse."""
        self._answer_call()

    def _answer_call(self) -> None:
        if not self.owner.grants(self.command, self.path):
            self.owner.refused.append(f"{self.command} {self.path}")
            self.send_error(403)
            return
        with suppress(OSError):
            self._forward()

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = _Upstream(self.owner.engine)
        upstream.connect()
        self.owner.hold(upstream.sock)
        try:
            if self.headers.get("Upgrade"):
                self._tunnel(upstream.sock, body)
            else:
                upstream.request(self.command, self.path, body or None, dict(self.headers))
                self._answer(upstream)
        finally:
            self.owner.drop(upstream.sock)
            upstream.close()

    def _tunnel(self, upstream: socket.socket, body: bytes) -> None:
        """Let both ends talk as they like, as an exec does, until the engine ends it."""
        lines = [f"{self.command} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        upstream.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        inwards = threading.Thread(target=self._pass_on, args=(upstream,), name="tunnel")
        inwards.start()
        while piece := upstream.recv(_PIECE):
            self.wfile.write(piece)
        self.connection.shutdown(socket.SHUT_RDWR)
        inwards.join()

    def _pass_on(self, upstream: socket.socket) -> None:
        with suppress(OSError):
            while piece := self.rfile.read1(_PIECE):
                upstream.sendall(piece)
            upstream.shutdown(socket.SHUT_WR)

    def _answer(self, upstream: "_Upstream") -> None:
        answer = upstream.getresponse()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        while piece := answer.read1(_PIECE):
            self.wfile.write(piece)

    def address_string(self) -> str:
        """A unix socket has no address to tell."""
        return "unix"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Upstream(HTTPConnection):
    """A connection to the engine's unix socket."""

    sock: socket.socket

    def __init__(self, engine: Path) -> None:
        super().__init__("docker")
        self._engine = engine

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._engine))
