"""Listen to Docker's event stream: container ids as hints that something changed, no data."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, NamedTuple, Required
from urllib.parse import quote

from pydantic import Field, TypeAdapter, ValidationError

# pydantic wants this one below Python 3.12.
from typing_extensions import TypedDict

from sidecar.docker.answers import is_podman, parse_api_version
from sidecar.docker.cuttable_connection import (
    ConnectionCut,
    ConnectionSilent,
    CuttableConnection,
    RequestRefused,
)
from sidecar.docker.endpoint import parse_address
from sidecar.lib.backoff import Backoff
from sidecar.lib.errors import InventoryError
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


class _Actor(TypedDict, total=False):
    ID: Required[Annotated[str, Field(min_length=1)]]


class _Event(TypedDict, total=False):
    Actor: Required[_Actor]
    Action: str


_EVENT = TypeAdapter(_Event)


class ContainerEvent(NamedTuple):
    """Which container something happened to; `is_restart`: it started, or its process ended."""

    id: str
    is_restart: bool = False


class EventStream(Worker):
    """Listens to Docker at `url` in a thread of its own, and reconnects when it is cut off.

    `on_hint` gets the id of each container that something happened to, and None each time
    the stream was opened: what happened before is unknown. `on_restart`, if given, gets the
    ids of those that started or ended instead. `on_state` gets whether the
    stream is open, and if not, the reason; only when that changes. Both are called in this
    thread. An absent Docker is a state and no error, also at the start.

    A stream that is silent for `silence` seconds is opened anew, because one that hangs
    looks the same.
    """

    def __init__(
        self,
        url: str | None,
        label_prefix: str,
        on_hint: Callable[[str | None], None],
        on_state: Callable[[bool, str], None],
        *,
        on_restart: Callable[[str], None] | None = None,
        silence: float = _SILENCE_SECONDS,
        backoff: Backoff | None = None,
    ) -> None:
        self.address = parse_address(url)
        self._filters = render_filters(label_prefix)
        self._podman_filters = render_filters(None)
        self._on_hint = on_hint
        self._on_restart = on_restart or on_hint
        self._on_state = on_state
        self._silence = silence
        self._backoff = backoff or Backoff()
        self._lock = threading.Lock()
        self._connection: CuttableConnection | None = None
        self._reported: tuple[bool, str] | None = None
        self._opened_at: float | None = None
        super().__init__("events")

    def reopen(self) -> None:
        """Open the stream anew, because it missed something. Does not wait."""
        with self._lock:
            if self._connection is not None:
                self._connection.cut()

    @property
    def is_connected(self) -> bool:
        """Whether the stream is open, as far as is known."""
        return self._reported is not None and self._reported[0]

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
            except (ConnectionCut, ConnectionSilent):
                if self._opened_at is None:
                    self._closing.wait(self._backoff.next_wait())
            except InventoryError as error:
                self._wait_after(error)

    def _listen(self) -> None:
        """Pass hints on until the stream ends, which always raises InventoryError."""
        with CuttableConnection(self.address, _OPEN_SECONDS) as connection:
            try:
                self._share(connection)
                for event in parse_events(self._open(connection), self.address):
                    (self._on_restart if event.is_restart else self._on_hint)(event.id)
            finally:
                self._share(None)
        raise InventoryError(f"the event stream of {self.address} ended")

    def _share(self, connection: CuttableConnection | None) -> None:
        """Let other threads cut this connection; raises ConnectionCut if `close` came first."""
        with self._lock:
            self._connection = connection
            if connection is not None and self._closing.is_set():
                raise ConnectionCut

    def _open(self, connection: CuttableConnection) -> Iterator[bytes]:
        answer, source = connection.get_version(), f"the answer of {self.address}"
        version = parse_api_version(answer, source)
        filters = self._podman_filters if is_podman(answer, source) else self._filters
        since = f"{time.time() - _REPLAY_SECONDS:.3f}"
        path = f"/v{version}/events?since={since}&filters={filters}"
        try:
            pieces = connection.stream(path, self._silence)
        except RequestRefused as error:
            raise _not_permitted(error, self.address) from error
        self._opened_at = time.monotonic()
        self._report_state(True, "")
        self._on_hint(None)
        return pieces

    def _wait_after(self, error: InventoryError) -> None:
        self._report_state(False, str(error))
        opened = self._opened_at
        well_for = 0.0 if opened is None else time.monotonic() - opened
        self._closing.wait(self._backoff.next_wait(well_for))

    def _report_state(self, connected: bool, reason: str) -> None:
        if self._reported != (connected, reason):
            self._reported = (connected, reason)
            self._on_state(connected, reason)


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

    Docker ends each event with a line break. Raises InventoryError for what is no
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
            raise InventoryError(f"the event stream of {source} holds an event without an end")


def _parse_event(line: bytes, source: str) -> ContainerEvent:
    try:
        event = _EVENT.validate_json(line)
    except ValidationError:
        raise InventoryError(f"the event stream of {source} holds what is no event") from None
    return ContainerEvent(event["Actor"]["ID"], event.get("Action") in _RESTARTS)


def _not_permitted(error: RequestRefused, address: str) -> InventoryError:
    if error.status not in {401, 403}:
        return error
    return InventoryError(
        f"the event stream of {address} is refused with status {error.status}",
        "a socket proxy in between must permit EVENTS (GET /events); "
        "until then changes are seen at each resync only",
    )
