"""Listen to Docker's event stream: container ids as hints that something changed, no data."""

import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol
from urllib.parse import quote

from sidecar.docker.client import ClientCut, DockerClient
from sidecar.docker.endpoint import parse_address
from sidecar.docker.failures import DockerError, RequestRefused, StreamSilent
from sidecar.lib.backoff import Backoff
from sidecar.lib.log import log_event
from sidecar.lib.threads import Worker

ACTIONS = ("create", "start", "die", "destroy", "rename", "update")
"""What containers do that a plan may depend on; health checks and execs are left out."""

# What happens again and again to a container that does not stay up; `died` on Podman.
_RESTARTS = frozenset({"start", "die", "died"})

_PODMAN_ACTIONS = ("died", "remove")
# Docker answers before it listens: what happened in between is replayed.
_REPLAY_SECONDS = 2.0
_OPEN_SECONDS = 10.0
_SILENCE_SECONDS = 300.0
_CLOSE_SECONDS = 1.0
# An event carries all labels of its container; more than this is no event.
_LINE_LIMIT = 16 * 1024 * 1024

_log = logging.getLogger(__name__)


class ContainerEvent(NamedTuple):
    """Which container something happened to; `is_restart`: it started, or its process ended."""

    id: str
    is_restart: bool = False


class HintTaker(Protocol):
    """Takes the hints of a stream, in its thread."""

    def hint(self, container_id: str | None = None) -> None:
        """Take that something happened to a container; None: to any, for it is not known."""

    def hint_restart(self, container_id: str) -> None:
        """Take that a container started or ended."""


class EventStream(Worker):
    """Listens to Docker at `url` in a thread of its own, and reconnects when it is cut off.

    `taker` gets a hint for each event, and one for everything each time that the stream was
    opened or lost: what happened meanwhile is unknown. Both are logged, once for each change.
    An absent Docker is a state and no error, also at the start.

    A stream that is silent for `silence` seconds is opened anew, because one that hangs
    looks the same.
    """

    def __init__(
        self,
        url: str | None,
        label_prefix: str,
        taker: HintTaker,
        *,
        silence: float = _SILENCE_SECONDS,
        backoff: Backoff | None = None,
    ) -> None:
        self.address = parse_address(url)
        self._url = url
        self._filters = render_filters(label_prefix)
        self._podman_filters = render_filters(None)
        self._taker = taker
        self._silence = silence
        self._backoff = backoff or Backoff()
        self._lock = threading.Lock()
        self._client: DockerClient | None = None
        self._lost: str | None = None
        self._is_connected = False
        self._opened_at: float | None = None
        super().__init__("events")

    def reopen(self) -> None:
        """Open the stream anew, because it missed something. Does not wait."""
        with self._lock:
            if self._client is not None:
                self._client.cut()

    @property
    def is_connected(self) -> bool:
        """Whether the stream is open, as far as is known."""
        return self._is_connected

    @property
    def _join_seconds(self) -> float | None:
        # Only the resolving of Docker's host name cannot be cut: the thread ends after it.
        return _CLOSE_SECONDS

    def _interrupt(self) -> None:
        self.reopen()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._opened_at = None
            try:
                self._listen()
            except (ClientCut, StreamSilent):
                if self._opened_at is None:
                    self._closing.wait(self._backoff.next_wait())
            except DockerError as error:
                self._wait_after(error)

    def _listen(self) -> None:
        """Pass hints on until the stream ends, which always raises DockerError."""
        with DockerClient(self._url, _OPEN_SECONDS) as client:
            try:
                self._share(client)
                with self._opened(client) as pieces:
                    for event in parse_events(pieces, self.address):
                        if event.is_restart:
                            self._taker.hint_restart(event.id)
                        else:
                            self._taker.hint(event.id)
            finally:
                self._share(None)
        raise DockerError(f"the event stream of {self.address} ended")

    def _share(self, client: DockerClient | None) -> None:
        """Let other threads cut this client; raises ClientCut if `close` came first."""
        with self._lock:
            self._client = client
            if client is not None and self._closing.is_set():
                raise ClientCut

    @contextmanager
    def _opened(self, client: DockerClient) -> Iterator[Iterator[bytes]]:
        filters = self._podman_filters if client.spoken().is_podman else self._filters
        since = f"{time.time() - _REPLAY_SECONDS:.3f}"
        try:
            with client.stream(f"/events?since={since}&filters={filters}", self._silence) as pieces:
                self._opened_at = time.monotonic()
                self._report_open()
                self._taker.hint()
                yield pieces
        except RequestRefused as error:
            raise _not_permitted(error, self.address) from error

    def _wait_after(self, error: DockerError) -> None:
        self._report_lost(str(error))
        opened = self._opened_at
        well_for = 0.0 if opened is None else time.monotonic() - opened
        self._closing.wait(self._backoff.next_wait(well_for))

    def _report_open(self) -> None:
        if not self._is_connected:
            self._is_connected, self._lost = True, None
            log_event(_log, logging.INFO, "events.connected")

    def _report_lost(self, reason: str) -> None:
        self._is_connected = False
        if reason != self._lost:
            self._lost = reason
            log_event(_log, logging.WARNING, "events.lost", reason=reason)
            self._taker.hint()


def render_filters(label_prefix: str | None) -> str:
    """Render the filters of the stream for its address: only what may change a plan.

    None for Podman: a label that is asked for by name only passes nothing there (4.3), and
    two events have names of its own.
    """
    if label_prefix is None:
        filters = {"type": ["container"], "event": [*ACTIONS, *_PODMAN_ACTIONS]}
    else:
        filters = {"type": ["container"], "event": [*ACTIONS], "label": [f"{label_prefix}enable"]}
    return quote(json.dumps(filters, separators=(",", ":")))


def parse_events(pieces: Iterable[bytes], source: str) -> Iterator[ContainerEvent]:
    """Yield the events of a stream, however it is cut into pieces.

    Docker ends each event with a line break. Raises DockerError for what is no
    event, without saying what it was: labels may hold secrets.
    """
    unfinished: list[bytes] = []
    size = 0
    for piece in pieces:
        *lines, rest = piece.split(b"\n")
        for line in lines:
            whole = b"".join((*unfinished, line)).strip()
            unfinished.clear()
            size = 0
            if whole:
                yield _parse_event(whole, source)
        unfinished.append(rest)
        size += len(rest)
        if size > _LINE_LIMIT:
            raise DockerError(f"the event stream of {source} holds an event without an end")


def _parse_event(line: bytes, source: str) -> ContainerEvent:
    try:
        event = json.loads(line)
        identity, action = event["Actor"]["ID"], event.get("Action")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        identity = action = None
    if not isinstance(identity, str) or not identity:
        raise DockerError(f"the event stream of {source} holds what is no event")
    return ContainerEvent(identity, action in _RESTARTS)


def _not_permitted(error: RequestRefused, address: str) -> DockerError:
    if error.status not in {401, 403}:
        return error
    return DockerError(
        f"the event stream of {address} is refused with status {error.status}",
        "a socket proxy in between must permit EVENTS (GET /events); "
        "until then changes are seen at each resync only",
    )
