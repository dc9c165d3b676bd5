"""Call Docker: paths in, bytes out, DockerError on failure. The one way to reach it."""

import json
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from docker.errors import APIError, DockerException
from requests import RequestException, Response
from urllib3.exceptions import HTTPError, ReadTimeoutError

from sidecar.docker.api_client import ApiClient
from sidecar.docker.endpoint import Endpoint, find_endpoint
from sidecar.docker.failures import (
    NOT_DOCKER,
    DockerError,
    RequestRefused,
    StreamSilent,
    explain_failure,
    explain_status,
)
from sidecar.lib.errors import InventoryError, UsageError
from sidecar.lib.threads import Closable

# What a call may raise: the client library lets other libraries' exceptions through.
_FAILURES = (DockerException, RequestException, HTTPError, OSError)
_JSON = {"Content-Type": "application/json"}
_PING = "/_ping"
_VERSION_HEADER = "Api-Version"
_VERSION = re.compile(r"\d+\.\d+", re.ASCII)
_ABSENT = frozenset({404})
_DENIED = frozenset({401, 403})
_DONE = frozenset({200, 201, 202, 204, 304})
_PIECE = 65536
# Of an answer that goes on where an event stream should: it may have no end.
_MOST_ERROR = 65536
_PODMAN = "Podman"


class ClientCut(Exception):
    """Another thread has cut the client."""


class EngineVersion(NamedTuple):
    """What is spoken: `api` as in `1.41`; `is_podman`: Podman serves Docker's API."""

    api: str
    is_podman: bool


class DockerClient(Closable):
    """Docker at `url` (as in `parse_address`), else where `find_endpoint` finds it.

    Each wait is bounded by `timeout` seconds. Paths begin with `/` and leave the version out;
    their parts are quoted already. Every method raises DockerError when Docker cannot answer,
    also where its address cannot be used, and ClientCut after `cut`. Connects at the first
    call, and again after a failure: Docker may come back as another version. Safe for threads:
    calls at the same time have a connection each.
    """

    def __init__(
        self,
        url: str | None = None,
        timeout: float = 30,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._endpoint = _find_endpoint(url, environ)
        self.address = self._endpoint.address if isinstance(self._endpoint, Endpoint) else ""
        """Where Docker listens; empty where that cannot be known."""
        self.timeout = timeout
        self._lock = threading.Lock()
        self._idle: list[ApiClient] = []
        self._used: dict[ApiClient, list[ApiClient]] = {}
        self._spoken: EngineVersion | None = None
        self._is_cut = False

    def close(self) -> None:
        """Close the connections that no call uses; the next call makes a new one."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._spoken = None
        for client in idle:
            client.close()

    def cut(self) -> None:
        """End what other threads wait for here: ClientCut is raised there, now or at the next call.

        The one thing that ends at once a connection that is still being made.
        """
        with self._lock:
            self._is_cut = True
            for client in self._used:
                client.cut()

    def get(self, path: str) -> bytes:
        """Return the answer's body."""
        return self._answer("GET", path).content

    def find(self, path: str, method: str = "GET") -> bytes | None:
        """Return the answer's body; None if there is no such thing (404)."""
        answer = self._answer(method, path, also=_ABSENT)
        return None if answer.status_code in _ABSENT else answer.content

    def header_of(self, path: str, name: str) -> str:
        """Return a header of the answer to HEAD; empty if there is none, or no such thing."""
        answer = self._answer("HEAD", path, also=_ABSENT)
        return "" if answer.status_code in _ABSENT else str(answer.headers.get(name, ""))

    def find_permitted(self, path: str) -> bytes | None:
        """Return the answer's body; None also if a proxy does not permit the call.

        Nor does a node that is no manager of its Swarm tell of services (503).
        """
        hidden = _ABSENT | _DENIED | ({503} if path.startswith("/services") else set())
        answer = self._answer("GET", path, also=hidden)
        return None if answer.status_code in hidden else answer.content

    def status_of(self, method: str, path: str) -> int:
        """Return the HTTP status with which Docker, or a proxy before it, answers."""
        return self._request(method, path).status_code

    def act(
        self, path: str, body: object = None, *, method: str = "POST", timeout: float | None = None
    ) -> bytes | None:
        """Make Docker do something and return the answer's body; None if there is no such thing.

        No error if it is so already (304). `timeout` in seconds is for what takes long.
        """
        answer = self._answer(method, path, body, timeout=timeout, also=_DONE | _ABSENT)
        return None if answer.status_code in _ABSENT else answer.content

    @contextmanager
    def stream(self, path: str, silence: float) -> Iterator[Iterator[bytes]]:
        """Open an answer that goes on; the `with` block gets its pieces, none of them empty.

        They end when Docker ends the answer. Reading raises StreamSilent after `silence`
        seconds without a byte.
        """
        call, prefix = f"GET {_bare(path)}", self._prefix()
        client = self._take(call)
        try:
            with self._explaining(call):
                response: Response = client.get(
                    f"{client.base_url}{prefix}{path}", stream=True, timeout=self.timeout
                )
            with closing(response):
                if response.status_code != HTTPStatus.OK:
                    with self._explaining(call):
                        words = response.raw.read(_MOST_ERROR)
                    raise self._refused(response.status_code, words, call)
                client.bound_silence(response, silence)
                # What the block raises is its own affair.
                yield self._pieces(response, call)
        finally:
            self._give_back(client, again=False)

    @contextmanager
    def library(self, call: str, *, again: bool = True) -> Iterator[ApiClient]:
        """Lend the client library's client, for what it does better than `act`.

        What it raises in the block becomes DockerError; `call` is for its words, as in
        `POST /images/create`. Without `again` its connection is given up afterwards.
        """
        version = self.spoken().api
        with self._lent(call, again=again) as client:
            client.speak(version)
            yield client

    def version(self) -> bytes:
        """Return the answer to `/version`, or where that fails what `/_ping` tells of it.

        A proxy's refusal is raised: its owner may permit the call.
        """
        answer = self._send("GET", "/version")
        if answer.status_code == HTTPStatus.OK:
            return answer.content
        refused = self._refused(answer.status_code, answer.content, "GET /version")
        if answer.status_code in _DENIED:
            raise refused
        # A rootless engine may fail to tell more than the API's version.
        pinged = self._send("HEAD", _PING)
        if pinged.status_code != HTTPStatus.OK or _VERSION_HEADER not in pinged.headers:
            raise refused
        return json.dumps({"ApiVersion": pinged.headers[_VERSION_HEADER]}).encode()

    def spoken(self) -> EngineVersion:
        """Return what is spoken with Docker, which is asked once."""
        if (spoken := self._spoken) is None:
            self._spoken = spoken = parse_version(self.version(), self.source("/version"))
        return spoken

    def source(self, path: str) -> str:
        """Return the name of an answer for error messages."""
        return f"the answer of {self.address} to GET {_bare(path)}"

    def _prefix(self) -> str:
        return f"/v{self.spoken().api}"

    def _answer(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout: float | None = None,
        also: Collection[int] = (),
    ) -> Response:
        """Return an answer whose status is 200 or one of `also`."""
        answer = self._request(method, path, body, timeout)
        if answer.status_code != HTTPStatus.OK and answer.status_code not in also:
            raise self._refused(answer.status_code, answer.content, f"{method} {_bare(path)}")
        return answer

    def _request(
        self, method: str, path: str, body: object = None, timeout: float | None = None
    ) -> Response:
        return self._send(method, f"{self._prefix()}{path}", body, timeout, _bare(path))

    def _send(
        self,
        method: str,
        path: str,
        body: object = None,
        timeout: float | None = None,
        named: str = "",
    ) -> Response:
        sent = {} if body is None else {"data": json.dumps(body), "headers": _JSON}
        with self._lent(f"{method} {named or path}") as client:
            answer: Response = client.request(
                method, f"{client.base_url}{path}", timeout=timeout or self.timeout, **sent
            )
        return answer

    def _pieces(self, response: Response, call: str) -> Iterator[bytes]:
        with self._explaining(call):
            try:
                # Its `stream` waits for a full piece where a proxy sends the answer without chunks.
                yield from iter(partial(response.raw.read1, _PIECE), b"")
            except ReadTimeoutError as error:
                told = self._explained(error, call)
                raise StreamSilent(told.message, told.hint) from error
        if self._is_cut:
            raise ClientCut

    @contextmanager
    def _lent(self, call: str, *, again: bool = True) -> Iterator[ApiClient]:
        """Lend a client that nobody else uses meanwhile: the library's is made for one thread.

        After a failure it is not used again, without `again` never.
        """
        client = self._take(call)
        is_good = False
        try:
            with self._explaining(call):
                yield client
            is_good = again
        except RequestRefused:
            is_good = again
            raise
        finally:
            self._give_back(client, again=is_good)

    def _take(self, call: str) -> ApiClient:
        with self._lock, self._explaining(call):
            if self._is_cut:
                raise ClientCut
            client = self._idle.pop() if self._idle else self._new()
            self._used[client] = self._idle
        return client

    def _new(self) -> ApiClient:
        if isinstance(self._endpoint, UsageError):
            raise DockerError(self._endpoint.message, self._endpoint.hint)
        try:
            return ApiClient(self._endpoint)
        except InventoryError as error:
            raise DockerError(error.message, error.hint) from error

    def _give_back(self, client: ApiClient, *, again: bool) -> None:
        """Keep it for the next call, unless `close` came meanwhile."""
        with self._lock:
            kept = self._used.pop(client)
            if again and kept is self._idle:
                kept.append(client)
                return
        client.close()

    @contextmanager
    def _explaining(self, call: str) -> Iterator[None]:
        """Turn what the client library raises into DockerError."""
        try:
            yield
        except APIError as error:
            words = (error.explanation or str(error)).encode()
            raise explain_status(error.status_code or 0, words, self.address, call) from error
        except _FAILURES as error:
            raise self._explained(error, call) from error

    def _explained(self, error: Exception, call: str) -> DockerError:
        if self._is_cut:
            raise ClientCut from error
        # Docker may come back as another version.
        self._spoken = None
        return explain_failure(error, self.address, call)

    def _refused(self, status: int, words: bytes, call: str) -> RequestRefused:
        if status not in _DENIED:
            # Perhaps it is another engine by now, which speaks another version.
            self._spoken = None
        return explain_status(status, words, self.address, call)


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn what parsing an answer of another shape raises into DockerError.

    It quotes no value of the answer, which may be secret.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        place = f": field {error.args[0]}" if isinstance(error, KeyError) else ""
        raise DockerError(f"{source} is no answer of an engine{place}", NOT_DOCKER) from None


def parse_version(data: bytes, source: str) -> EngineVersion:
    """Parse the answer of `GET /version`; `source` names it in errors."""
    with reading(source):
        answer = json.loads(data)
        if not _VERSION.fullmatch(api := answer["ApiVersion"]):
            raise KeyError("ApiVersion")
        names = [one.get("Name") or "" for one in answer.get("Components") or ()]
        return EngineVersion(api, any(name.startswith(_PODMAN) for name in names))


def _find_endpoint(url: str | None, environ: Mapping[str, str] | None) -> Endpoint | UsageError:
    """Find it now, for the environment may change; what is wrong is told when it is used."""
    try:
        return find_endpoint(url, environ)
    except UsageError as error:
        return error


def _bare(path: str) -> str:
    return path.partition("?")[0]
