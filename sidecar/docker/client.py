"""Call Docker's HTTP API: paths in, bytes out, and InventoryError on failure."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sidecar.docker.answers import parse_api_version
from sidecar.docker.api_client import PING, VERSION_HEADER, as_version, open_client
from sidecar.docker.endpoint import find_endpoint, probe_socket
from sidecar.docker.failures import FAILURES, explain_failure, explain_status
from sidecar.lib.errors import InventoryError
from sidecar.lib.threads import Closable

_JSON = {"Content-Type": "application/json"}
_CONNECT_SECONDS = 10.0


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
    """Calls to Docker at `url` (as in `parse_address`), each bounded by `timeout` seconds.

    Without `url` it is where `find_endpoint` finds it by the variables.

    Paths begin with `/` and leave the version out; their parts are quoted already.
    Every method raises InventoryError when Docker cannot answer. Connects at the
    first call, and again after a failure. Not thread-safe: a thread has its own.
    """

    def __init__(
        self,
        url: str | None = None,
        timeout: float = 30,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._endpoint = find_endpoint(url, environ)
        self.address = self._endpoint.address
        self._timeout = timeout
        self._clients: _Clients | None = None

    def close(self) -> None:
        """Close the connections; the next call makes new ones."""
        if self._clients is not None:
            self._clients.close()
            self._clients = None

    def connect(self) -> None:
        """Connect now, unless connected."""
        self._connected()

    def get(self, path: str, *, beside: bool = False) -> bytes:
        """Return the answer's body; `beside` takes the second connection, for a second thread."""
        status, content = self._ask("GET", path, beside=beside)
        if status != 200:
            raise self._refused(status, content, "GET", path)
        return content

    def find(self, path: str, method: str = "GET") -> bytes | None:
        """Return the answer's body; None if there is no such thing (404)."""
        status, content = self._ask(method, path)
        if status == 404:
            return None
        if status != 200:
            raise self._refused(status, content, method, path)
        return content

    def header_of(self, path: str, name: str) -> str:
        """Return a header of the answer to HEAD; empty if there is none, or no such thing."""
        answer = self._request("HEAD", path)
        if answer.status_code == 404:
            return ""
        if answer.status_code != 200:
            raise self._refused(answer.status_code, answer.content, "HEAD", path)
        return str(answer.headers.get(name, ""))

    def find_permitted(self, path: str) -> bytes | None:
        """Return the answer's body; None also if a proxy does not permit the call.

        Nor does a node that is no manager of its Swarm tell of services (503).
        """
        status, content = self._ask("GET", path)
        if status in {401, 403, 404} or (status == 503 and path.startswith("/services")):
            return None
        if status != 200:
            raise self._refused(status, content, "GET", path)
        return content

    def status_of(self, method: str, path: str) -> int:
        """Return the HTTP status with which Docker, or a proxy before it, answers."""
        return self._ask(method, path)[0]

    def act(
        self, path: str, body: object = None, *, method: str = "POST", timeout: float | None = None
    ) -> bytes | None:
        """Make Docker do something and return the answer's body; None if there is no such thing.

        No error if it is so already (304). `timeout` in seconds is for what takes long.
        """
        status, content = self._ask(method, path, body, timeout=timeout)
        if status == 404:
            return None
        if status not in {200, 201, 202, 204, 304}:
            raise self._refused(status, content, method, path)
        return content

    @contextmanager
    def stream(self, path: str, silence: float) -> Iterator[Any]:
        """Open an answer that goes on; the `with` block gets the library's response.

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
        """Return the name of an answer for error messages."""
        return f"the answer of {self.address} to GET {_bare(path)}"

    def parsed(self, parse: Callable[[bytes, str], Any], path: str) -> Any:
        """Return the parsed answer; `parse` takes the bytes and their name for errors."""
        return parse(self.get(path), self.source(path))

    def _connected(self) -> _Clients:
        if self._clients is None:
            self._clients = self._connect()
            try:
                version = self._ask_version()
            except InventoryError:
                self.close()
                raise
            self._clients.prefix = f"/v{version}"
        return self._clients

    def _ask_version(self) -> str:
        status, content = self._ask("GET", "/version")
        if status == 200:
            return parse_api_version(content, self.source("/version"))
        # A proxy that refuses the call is told by its name: its owner may permit it.
        answer = None if status in {401, 403} else self._request("HEAD", PING)
        if answer is None or answer.status_code != 200 or VERSION_HEADER not in answer.headers:
            raise self._refused(status, content, "GET", "/version")
        return parse_api_version(as_version(answer.headers[VERSION_HEADER]), self.source(PING))

    def _connect(self) -> _Clients:
        try:
            probe_socket(self.address, self._timeout)
            clients = _Clients(open_client(self._endpoint), open_client(self._endpoint))
        except FAILURES as error:
            raise explain_failure(error, self.address, "GET /version") from error
        return clients

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
        answer = self._request(method, path, body, beside=beside, timeout=timeout)
        return answer.status_code, answer.content

    def _request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        beside: bool = False,
        timeout: float | None = None,
    ) -> Any:
        clients = self._connected()
        client = clients.second if beside else clients.first
        url = f"{client.base_url}{clients.prefix}{path}"
        sent = {} if body is None else {"data": json.dumps(body), "headers": _JSON}
        try:
            return client.request(method, url, timeout=timeout or self._timeout, **sent)
        except FAILURES as error:
            raise explain_failure(error, self.address, f"{method} {_bare(path)}") from error

    def _refused(self, status: int, content: bytes, method: str, path: str) -> InventoryError:
        text = content.decode("utf-8", "replace")
        return explain_status(status, text, self.address, f"{method} {_bare(path)}")


def _bare(path: str) -> str:
    return path.partition("?")[0]
