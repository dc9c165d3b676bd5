"""The engine's event stream, whose only output is a hint: never data."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Required
from urllib.parse import quote

from pydantic import Field, TypeAdapter, ValidationError

# pydantic wants this one below Python 3.12.
from typing_extensions import TypedDict

from sidecar.docker.answers import parse_api_version
from sidecar.docker.client import (
    CuttableConnection,
    WireCut,
    WireRefused,
    WireSilent,
    parse_address,
)
from sidecar.lib.backoff import Backoff
from sidecar.lib.errors import InventoryError
from sidecar.lib.threads import Worker

ACTIONS = ("create", "start", "die", "destroy", "rename", "update")
"""What containers do that a plan may depend on; health checks and execs are not in it."""

# The engine answers before it listens: what happened in between is replayed.
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


_EVENT = TypeAdapter(_Event)


class EventStream(Worker):
    """Listens to the engine at `url` in a thread of its own, and comes back when it is cut off.

    `on_hint` gets the id of each container that something happened to, and None each time
    when the stream was opened: what happened before is unknown. `on_state` is told whether
    the engine is listened to, and if not, why not; only when that changes. Both are called
    in this thread. An engine that is absent is a state, also at the start.

    `silence` in seconds: a stream that says nothing for so long is opened anew, because a
    stalled one looks the same.
    """

    def __init__(
        self,
        url: str | None,
        label_prefix: str,
        on_hint: Callable[[str | None], None],
        on_state: Callable[[bool, str], None],
        *,
        silence: float = _SILENCE_SECONDS,
        backoff: Backoff | None = None,
    ) -> None:
        self.address = parse_address(url)
        self._filters = render_filters(label_prefix)
        self._on_hint = on_hint
        self._on_state = on_state
        self._silence = silence
        self._backoff = backoff or Backoff()
        self._lock = threading.Lock()
        self._wire: CuttableConnection | None = None
        self._told: tuple[bool, str] | None = None
        self._opened_at: float | None = None
        super().__init__("events")

    def reopen(self) -> None:
        """Open the stream anew: something happened that it did not tell. Does not wait."""
        with self._lock:
            if self._wire is not None:
                self._wire.cut()

    @property
    def is_connected(self) -> bool:
        """Whether the stream is open, as far as is known."""
        return self._told is not None and self._told[0]

    @property
    def _patience(self) -> float | None:
        # Only a look-up of the engine's host name cannot be called off: the thread ends after it.
        return _CLOSE_SECONDS

    def _interrupt(self) -> None:
        self.reopen()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._opened_at = None
            try:
                self._listen()
            except (WireCut, WireSilent):
                if self._opened_at is None:
                    self._closing.wait(self._backoff.next_wait())
            except InventoryError as error:
                self._lost(error)

    def _listen(self) -> None:
        """Hint until the stream ends, which is never good: InventoryError."""
        with CuttableConnection(self.address, _OPEN_SECONDS) as wire:
            try:
                self._know(wire)
                for container_id in parse_events(self._open(wire), self.address):
                    self._on_hint(container_id)
            finally:
                self._know(None)
        raise InventoryError(f"the event stream of {self.address} ended")

    def _know(self, wire: CuttableConnection | None) -> None:
        """Let other threads cut this connection, which they may have wanted a moment ago."""
        with self._lock:
            self._wire = wire
            if wire is not None and self._closing.is_set():
                raise WireCut

    def _open(self, wire: CuttableConnection) -> Iterator[bytes]:
        version = parse_api_version(wire.get("/version"), f"the answer of {self.address}")
        since = f"{time.time() - _REPLAY_SECONDS:.3f}"
        path = f"/v{version}/events?since={since}&filters={self._filters}"
        try:
            pieces = wire.stream(path, self._silence)
        except WireRefused as error:
            raise _not_permitted(error, self.address) from error
        self._opened_at = time.monotonic()
        self._tell(True, "")
        self._on_hint(None)
        return pieces

    def _lost(self, error: InventoryError) -> None:
        self._tell(False, str(error))
        opened = self._opened_at
        well_for = 0.0 if opened is None else time.monotonic() - opened
        self._closing.wait(self._backoff.next_wait(well_for))

    def _tell(self, connected: bool, reason: str) -> None:
        if self._told != (connected, reason):
            self._told = (connected, reason)
            self._on_state(connected, reason)


def render_filters(label_prefix: str) -> str:
    """Render the filters of the stream for its address: only what may change a plan."""
    filters = {"type": ["container"], "event": ACTIONS, "label": [f"{label_prefix}enable"]}
    return quote(json.dumps(filters, separators=(",", ":")))


def parse_events(pieces: Iterable[bytes], source: str) -> Iterator[str]:
    """Take the container ids out of a stream of events, however it is cut into pieces.

    The engine ends each event with a line break. Raises InventoryError for what is no
    event, without saying what it was: labels may hold secrets.
    """
    begun: list[bytes] = []
    size = 0
    for piece in pieces:
        *lines, rest = piece.split(b"\n")
        for line in lines:
            whole = b"".join((*begun, line)).strip()
            begun.clear()
            size = 0
            if whole:
                yield _container_id(whole, source)
        begun.append(rest)
        size += len(rest)
        if size > _LINE_LIMIT:
            raise InventoryError(f"the event stream of {source} holds an event without an end")


def _container_id(line: bytes, source: str) -> str:
    try:
        return _EVENT.validate_json(line)["Actor"]["ID"]
    except ValidationError:
        raise InventoryError(f"the event stream of {source} holds what is no event") from None


def _not_permitted(error: WireRefused, address: str) -> InventoryError:
    if error.status not in {401, 403}:
        return error
    return InventoryError(
        f"the event stream of {address} is refused with status {error.status}",
        "a socket proxy in between must permit EVENTS (GET /events); "
        "until then changes are seen at each resync only",
    )
