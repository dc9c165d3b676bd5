"""A small HTTP server for the few pages of a daemon, bounded in every direction.

Of the standard library's server only the threads are used: the rest looks its own name
up in DNS when it starts, takes any number of clients, 100 headers of 64 KiB from each for
as long as they like, and quotes requests in its errors. This one reads one head of at
most 8 KiB, answers it, hangs up, and never shows a client what a client has sent.

The Host header has to be one that is meant: else the page of a stranger, whose name comes to point
at this machine (DNS rebinding), could read ours in the browser of somebody who may reach it.
"""

import re
import selectors
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from socketserver import BaseRequestHandler, ThreadingTCPServer
from time import monotonic, sleep
from typing import Any

from sidecar.lib.address import is_any, is_literal, is_loopback, normal_host, parse_host
from sidecar.lib.errors import UsageError
from sidecar.lib.threads import Closable

MOST_SERVED = 16
"""Clients served at a time; as many more get status 503, and the rest are hung up on."""
SECONDS = 5.0
"""How long a client may take to send its request, and again to take the answer."""

_MOST_HEAD = 8 * 1024
_MOST_DRAINED = 64 * 1024
_PIECE = 4096
_ACCEPT_PAUSE = 0.25
_END = re.compile(rb"\r?\n\r?\n")
_HOSTS = re.compile(rb"^host[ \t]*:[ \t]*(.*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_REQUEST = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.[0-9]")


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: its status, its body and the media type of that."""

    status: HTTPStatus
    content: bytes
    media_type: str = "text/plain; charset=utf-8"


def text_page(status: HTTPStatus, text: str = "") -> Page:
    """Return a page of a line of text, by default the phrase of its status."""
    return Page(status, f"{text or status.phrase}\n".encode())


_MISDIRECTED = text_page(
    HTTPStatus.MISDIRECTED_REQUEST, "this host name is not allowed: start with --allowed-host NAME"
)
_BUSY = text_page(HTTPStatus.SERVICE_UNAVAILABLE, "too many clients")


def health_page(reasons: tuple[str, ...], well: str) -> Page:
    """Return a page of all that is wrong, status 503; of the text `well` if nothing is."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return text_page(status, "\n".join(reasons) or well)


class StatusPages(Closable):
    """Serves pages on `listen`, a host and a port, until it is closed.

    `answer` returns the page of a path, None for one that does not exist; it is called in many
    threads. `allowed` are further names by which clients may call this machine. Raises UsageError
    if it cannot listen.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        answer: Callable[[str], Page | None],
        allowed: Iterable[str] = (),
    ) -> None:
        host, port = listen
        try:
            self._server = PageServer(host, port, answer, allowed=allowed)
        except OSError as error:
            raise UsageError(
                f"--listen: cannot listen on port {port} of {host or 'all addresses'}: "
                f"{error.strerror or error}",
                "choose an address of this machine and a free port",
            ) from None

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return self._server.port

    def close(self) -> None:
        """Hang up on everyone and end all threads, within a second."""
        self._server.close()


class PageServer(Closable, ThreadingTCPServer):
    """Answers GET and HEAD by `answer(path)`, which gets the path without its query.

    Listens once it is made; raises OSError if it cannot. `answer` is called in many
    threads and returns None for a page that does not exist. An empty host means all
    addresses of this machine. `close` ends all threads, within a second.

    A request that names another host gets status 421: allowed are names of the loopback, the host
    itself, where it means all addresses any address (which no name can be made to), and `allowed`.
    """

    daemon_threads = False
    block_on_close = True
    # A client that became ready may be gone again: accepting it must not wait.
    timeout = 0

    def __init__(
        self,
        host: str,
        port: int,
        answer: Callable[[str], Page | None],
        seconds: float = SECONDS,
        allowed: Iterable[str] = (),
    ) -> None:
        super().__init__((host, port), BaseRequestHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = _listen(host, port)
        self.server_address = self.socket.getsockname()
        self._answer = answer
        self._seconds = seconds
        self._is_any = is_any(host)
        self._hosts = frozenset(map(normal_host, (host, *allowed))) - {""}
        self._lock = threading.Lock()
        self._served = threading.BoundedSemaphore(MOST_SERVED)
        self._open: set[Any] = set()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="http")
        self._thread.start()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        number: int = self.socket.getsockname()[1]
        return number

    def close(self) -> None:
        """Hang up on everyone and end all threads."""
        self._stop()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; wait a moment before a failure is raised."""
        try:
            return super().get_request()
        except OSError:
            # Without a free descriptor the listener stays ready all the time.
            sleep(_ACCEPT_PAUSE)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Return whether there are not too many connections yet."""
        with self._lock:
            if len(self._open) >= 2 * MOST_SERVED:
                return False
            self._open.add(request)
            return True

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Serve one connection, in a thread of its own."""
        is_served = self._served.acquire(blocking=False)
        try:
            # A client that is late or gone needs no answer.
            with suppress(OSError):
                self._serve(request, is_served=is_served)
        finally:
            if is_served:
                self._served.release()

    def shutdown_request(self, request: Any) -> None:
        """Forget and close a connection."""
        with self._lock:
            self._open.discard(request)
            super().shutdown_request(request)

    def _run(self) -> None:
        """Accept clients until woken; `serve_forever` would poll for its end twice a second."""
        with selectors.DefaultSelector() as waiting, self._woken:
            waiting.register(self, selectors.EVENT_READ)
            waiting.register(self._woken, selectors.EVENT_READ, "stop")
            while all(key.data is None for key, _ in waiting.select()):
                self.handle_request()

    def _stop(self) -> None:
        self._wake.close()
        self._thread.join()

    def _serve(self, connection: socket.socket, *, is_served: bool) -> None:
        head = _read_head(connection, monotonic() + self._seconds)
        method, page = self._respond(head) if is_served else ("GET", _BUSY)
        connection.settimeout(self._seconds)
        connection.sendall(_render(page, with_body=method != "HEAD"))
        connection.shutdown(socket.SHUT_WR)
        _drain(connection, monotonic() + min(1.0, self._seconds))

    def _respond(self, head: bytes | None) -> tuple[str, Page]:
        """Return the method of a request and its page; `head` is None if it is too long."""
        if head is None:
            return "", text_page(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        request = _REQUEST.fullmatch(head.partition(b"\n")[0].rstrip(b"\r"))
        if request is None:
            return "", text_page(HTTPStatus.BAD_REQUEST)
        method, target = (part.decode("ascii") for part in request.groups())
        if method not in ("GET", "HEAD"):
            return method, text_page(HTTPStatus.METHOD_NOT_ALLOWED)
        hosts = _HOSTS.findall(head)
        if len(hosts) > 1:
            return method, text_page(HTTPStatus.BAD_REQUEST)
        if hosts and not self._is_meant(parse_host(hosts[0].decode("latin-1"))):
            return method, _MISDIRECTED
        return method, self._answer(target.partition("?")[0]) or text_page(HTTPStatus.NOT_FOUND)

    def _is_meant(self, host: str) -> bool:
        """Return whether a client may call this machine so. Only browsers are sure to say it."""
        if host in self._hosts or is_loopback(host):
            return True
        return self._is_any and is_literal(host)


def _listen(host: str, port: int) -> socket.socket:
    if host in ("", "::") and socket.has_dualstack_ipv6():
        try:
            return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError:
            # The kernel knows IPv6, but this network namespace has none.
            if host:
                raise
    family = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)[0][0]  # noqa: S104
    return socket.create_server((host, port), family=family)


def _read_head(connection: socket.socket, deadline: float) -> bytes | None:
    """Read up to the empty line; None if it does not come in 8 KiB. Raises OSError if too late."""
    head = bytearray()
    while len(head) <= _MOST_HEAD:
        if _END.search(head):
            return bytes(head)
        _wait_until(connection, deadline)
        piece = connection.recv(_PIECE)
        if not piece:
            raise ConnectionResetError
        head += piece
    return None


def _drain(connection: socket.socket, deadline: float) -> None:
    """Read what else the client sends: closing before would make it lose the answer."""
    left = _MOST_DRAINED
    while left > 0:
        _wait_until(connection, deadline)
        piece = connection.recv(_PIECE)
        left = left - len(piece) if piece else 0


def _wait_until(connection: socket.socket, deadline: float) -> None:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)


def _render(page: Page, *, with_body: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Type: {page.media_type}",
        f"Content-Length: {len(page.content)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if page.status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    head = "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")
    return head + page.content if with_body else head
