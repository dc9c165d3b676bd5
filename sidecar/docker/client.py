"""One process's way to a Docker engine: bytes in, bytes out, and failures in plain words."""

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import docker
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import DockerException
from docker.utils import kwargs_from_env
from requests import RequestException
from urllib3.exceptions import HTTPError

from sidecar.docker.faults import explain_failure, explain_status
from sidecar.docker.listing import parse_api_version
from sidecar.lib.closing import Closable
from sidecar.lib.errors import InventoryError, UsageError

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
        """Give the answer's body; `beside` takes the second connection, for a second thread."""
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
