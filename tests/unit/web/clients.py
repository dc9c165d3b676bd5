"""Clients of the tests: one that behaves, and several that do not."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse

LOOPBACK = "127.0.0.1"
Connect = Callable[[], socket.socket]


def ask(port: int, method: str, path: str, host: str = LOOPBACK) -> tuple[HTTPResponse, str]:
    """Send one request; give the answer and its body."""
    connection = HTTPConnection(host, port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response, body


def to_port(port: int) -> Connect:
    """Return what connects to a port."""
    return lambda: socket.create_connection((LOOPBACK, port), timeout=10)


def send(connect: Connect, request: bytes) -> bytes:
    """Send bytes as they are; give all that comes until the server hangs up."""
    with connect() as connection:
        # Of a crowd the server may hang up on one before it has said a word.
        with suppress(ConnectionError):
            connection.sendall(request)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side hangs up, however it does."""
    parts: list[bytes] = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def status_of(answer: bytes) -> int:
    """Return the status of an answer; 0 for none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


def body_of(answer: bytes) -> bytes:
    """Return what follows the head of an answer."""
    return answer.partition(b"\r\n\r\n")[2]


def request_of(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """Return a request with these headers."""
    head = (f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", "")
    return "\r\n".join(head).encode() + body


def waiting(connect: Connect) -> socket.socket:
    """Connect and send all of a request but its end."""
    connection = connect()
    with suppress(ConnectionError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
    return connection


def trickle(connection: socket.socket, until: float) -> bool:
    """Send a byte whenever nothing comes, until the server hangs up; whether it did."""
    while time.monotonic() < until:
        try:
            connection.send(b"x")
            if connection.recv(1) == b"":
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def eventually(holds: Callable[[], bool]) -> bool:
    """Ask again for ten seconds at most."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if holds():
            return True
    return False
