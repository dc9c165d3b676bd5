"""Docker's HTTP interface by the standard library alone, used by both sides of a comparison."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import quote, urlsplit

_PIECE = 65536
_PORT = 2375


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class DockerHttp:
    """One kept connection to the engine at `unix://...`, `tcp://...` or `http://...`.

    Not thread-safe. Every call raises RuntimeError for a status of 400 and above.
    """

    def __init__(self, address: str, timeout: float = 600.0) -> None:
        parts = urlsplit(address)
        if parts.scheme == "unix":
            self._http: HTTPConnection = _UnixConnection(parts.path, timeout)
        else:
            host, port = parts.hostname or "127.0.0.1", parts.port or _PORT
            self._http = HTTPConnection(host, port, timeout=timeout)

    def close(self) -> None:
        """Give the connection back; the next call makes a new one."""
        self._http.close()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Make one call; return its answer if that is JSON. `body`: bytes are a tar, else JSON."""
        with self._answer(method, path, body) as response:
            text = response.read()
        is_json = response.headers.get_content_type() == "application/json"
        return json.loads(text) if is_json and text.strip() else None

    def lines(self, path: str) -> Iterator[bytes]:
        """Return the lines of an answer that goes on, until the engine ends it."""
        rest = b""
        with self._answer("GET", path, None) as response:
            while piece := response.read1(_PIECE):
                *whole, rest = (rest + piece).split(b"\n")
                yield from filter(None, whole)

    def _answer(self, method: str, path: str, body: object) -> HTTPResponse:
        is_tar = isinstance(body, bytes)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/x-tar" if is_tar else "application/json"}
        self._http.request(method, path, None if body is None else content, kind)
        response = self._http.getresponse()
        if response.status >= 400:
            text = response.read().decode(errors="replace").strip()
            raise RuntimeError(f"{method} {path.partition('?')[0]}: {response.status} {text}")
        return response


def render_filters(**filters: list[str]) -> str:
    """Render filters for the end of an address, as `filters=...`."""
    return "filters=" + quote(json.dumps(filters, separators=(",", ":")))
