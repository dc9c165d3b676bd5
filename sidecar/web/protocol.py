"""One connection: uvicorn's HTTP protocol, bounded in every direction.

As it comes it takes heads of any size, keeps silent clients for ever, and counts the connections
of all listeners together. Here each connection is one request and its answer. A client has some
seconds to send its request, and again to take each part of the answer.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from sidecar.web.app import text_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp

MOST_SERVED = 16
"""Clients of a listener served at a time; as many more get status 503, and the rest are cut off."""
SECONDS = 5.0
"""How long a client may take to send its request, and again to take a part of the answer."""
MOST_HEAD = 8 * 1024
_MOST_DRAINED = 64 * 1024
_DRAIN_SECONDS = 1.0
_TOO_MANY = text_page(HTTPStatus.SERVICE_UNAVAILABLE, "too many clients")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the clients of one listener may take: how many are served, and how long each may be."""

    clients: int = MOST_SERVED
    seconds: float = SECONDS


class ListenerState(ServerState):
    """The connections of one listener, the tasks that answer them, and what they share."""

    def __init__(self, app: "ASGIApp", bounds: Bounds) -> None:
        super().__init__()
        self.bounds = bounds
        # "critical": uvicorn would log what each hostile client does, and errors with their text.
        self.config = Config(
            cast("Any", app),
            http=H11Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=MOST_HEAD,
        )
        self.config.load()

    def disconnect(self, *, all_of_them: bool = False) -> None:
        """Hang up on those that are not being answered, or on all."""
        for connection in cast("Iterable[BoundedProtocol]", tuple(self.connections)):
            if all_of_them or not connection.is_asked:
                connection.transport.abort()


class BoundedProtocol(H11Protocol):
    """Reads one request of at most 8 KiB of head, has the app answer it, and hangs up."""

    def __init__(self, state: ListenerState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(state.config, state, {}, loop)
        self._bounds = state.bounds
        self._head_left = MOST_HEAD
        self._drain_left = _MOST_DRAINED
        self._is_draining = False
        self._has_ended = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_asked(self) -> bool:
        """Whether a whole request has come, and is not answered yet."""
        cycle = self._request
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    @property
    def _request(self) -> RequestResponseCycle | None:
        """The request and its answer, as soon as the head has come."""
        return self.cycle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a client, or tell it that there are too many; a crowd beyond that is cut off."""
        others = len(self.connections)
        super().connection_made(cast("asyncio.Transport", _Lingering(transport, self._linger)))
        if others >= 2 * self._bounds.clients:
            transport.abort()
            return
        if others >= self._bounds.clients:
            self.app = cast("Any", _TOO_MANY)
        # So `pause_writing` is called whenever a client has not taken all that was sent.
        transport.set_write_buffer_limits(0)
        self._start_timer(self._bounds.seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._is_draining = True
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of the request, or throw away what comes after it."""
        if not self._is_draining and self._request is None:
            data = self._read_head(data)
        if self._is_draining:
            self._drain_left -= len(data)
            if self._drain_left < 0:
                self.transport.abort()
        elif data:
            super().data_received(data)
        if self.is_asked and not self.flow.write_paused:
            self._stop_timer()

    def _read_head(self, data: bytes) -> bytes:
        """Read up to the end of the head; return what is left."""
        self.server_state.default_headers = _common_headers()
        # h11 counts only what it could not read yet: a large head that comes at once passes.
        head, rest = data[: self._head_left], data[self._head_left :]
        self._head_left -= len(head)
        super().data_received(head)
        if self._request is None and rest:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return rest

    def eof_received(self) -> bool:  # type: ignore[override]
        """Let a client that sends nothing more wait for its answer; of a stream it has gone."""
        self._has_ended = True
        return self.is_asked and not self.cycle.response_started

    def pause_writing(self) -> None:
        """Give the client its time to take what was sent."""
        super().pause_writing()
        self._start_timer(self._bounds.seconds)

    def resume_writing(self) -> None:
        """Go on: the client has taken all."""
        super().resume_writing()
        self._stop_timer()
        if self._is_draining:
            self._start_timer(_DRAIN_SECONDS)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer what is no request."""
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _refuse(self, status: HTTPStatus) -> None:
        cycle = self._request
        if cycle is not None:
            # The app has the request already, and learns that nobody waits for its answer.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.abort()
                return
        page = text_page(status)
        headers = [*self.server_state.default_headers, *page.raw_headers]
        is_head = cycle is not None and cycle.scope["method"] == "HEAD"
        answer = (
            h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
            h11.Data(data=b"" if is_head else bytes(page.body)),
            h11.EndOfMessage(),
        )
        for event in answer:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _linger(self, transport: asyncio.Transport) -> None:
        """Send what is left, and read what comes for a moment: else the answer could be lost."""
        if self._is_draining:
            return
        self._is_draining = True
        if self._has_ended or transport.is_closing():
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:
            # The client has reset the connection meanwhile.
            transport.abort()
            return
        transport.resume_reading()
        if not self.flow.write_paused:
            self._start_timer(_DRAIN_SECONDS)

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Lingering:
    """A transport that calls `linger` instead of closing at once; all else as the real one."""

    def __init__(
        self, transport: asyncio.Transport, linger: Callable[[asyncio.Transport], None]
    ) -> None:
        self._transport = transport
        self._linger = linger
        self._is_closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Begin to close."""
        self._is_closing = True
        self._linger(self._transport)

    def is_closing(self) -> bool:
        """Return whether it was closed, or is being closed."""
        return self._is_closing or self._transport.is_closing()


def _common_headers() -> list[tuple[bytes, bytes]]:
    """Return the headers of every answer."""
    return [
        (b"date", formatdate(usegmt=True).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
