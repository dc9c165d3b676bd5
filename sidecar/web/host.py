"""One event loop in one thread that serves apps on all sockets of a daemon."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from sidecar.lib.threads import Closable
from sidecar.web.app import log_failure
from sidecar.web.protocol import BoundedProtocol, Bounds, ListenerState

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_THREADS = 4
"""Pages that are rendered at a time."""
_LAST_SECONDS = 0.5
"""How long answers under way have to end, streams of jobs above all."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens, the app that answers there, and what its clients may take."""

    socket: socket.socket
    app: "ASGIApp"
    bounds: Bounds = field(default_factory=Bounds)


class HttpHost(Closable):
    """Serves apps on sockets until it is closed, which closes the sockets too.

    Each socket has bounds of its own: a crowd at one does not keep the clients of another waiting.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners
        self._closing = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_note_failure)
        self._loop.set_default_executor(ThreadPoolExecutor(_THREADS, "http-page"))
        self._thread = threading.Thread(target=self._run, name="http")
        self._thread.start()

    @property
    def port(self) -> int:
        """The port of the first socket."""
        number: int = self._listeners[0].socket.getsockname()[1]
        return number

    def close(self) -> None:
        """Let answers end for half a second, hang up on everyone, and end all threads."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def _run(self) -> None:
        # It cancels the tasks that are left, and waits for the threads that render pages.
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        states = [ListenerState(listener.app, listener.bounds) for listener in self._listeners]
        servers = [
            await self._loop.create_server(
                partial(BoundedProtocol, state, self._loop), sock=listener.socket
            )
            for listener, state in zip(self._listeners, states, strict=True)
        ]
        await self._closing.wait()
        for server in servers:
            server.close()
        for state in states:
            state.disconnect()
        await _wait_for_answers(states)
        for state in states:
            state.disconnect(all_of_them=True)
        await _wait_for_answers(states)


async def _wait_for_answers(states: Sequence[ListenerState]) -> None:
    answers = {answer for state in states for answer in state.tasks}
    if answers:
        await asyncio.wait(answers, timeout=_LAST_SECONDS)


def _note_failure(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what went wrong in the loop; no error of a connection, nor that it cannot accept one."""
    error = context.get("exception")
    if error is not None and not isinstance(error, OSError):
        log_failure(error)
