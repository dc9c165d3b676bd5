"""The control socket: its two ends, for the daemon that answers and the command that asks.

A connection is one request and its answers, each a line of JSON. The last answer says so, or is
an error. The socket lies in the state folder, and only its owner can open it.
"""

import json
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sidecar.lib.errors import SidecarError
from sidecar.lib.threads import Closable
from sidecar.web.messages import Message

FILE = "control.sock"
_MOST_LINE = 64 * 1024
_MOST_CLIENTS = 32
_SECONDS = 10.0

Answer = Callable[[Message], Iterator[Message]]


class NoDaemon(SidecarError):
    """Nobody listens on the socket."""


class ControlServer(Closable):
    """Answers requests by `answer`, each in a thread of its own, until it is closed.

    `answer` yields the answers to one request; it is closed early if the client hangs up. A
    SidecarError that it raises is sent as an error. Raises OSError if it cannot listen.
    """

    def __init__(self, directory: Path, answer: Answer) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._wake, self._woken = socket.socketpair()
        self._path = directory / FILE
        self._listener = _listen(directory)
        self._thread = threading.Thread(target=self._run, name="control")
        self._thread.start()

    def close(self) -> None:
        """Hang up on everyone and end all threads.

        A thread that follows a run ends when the run's events do: close the `ProgressHub` before.
        """
        self._wake.close()
        self._thread.join()
        with self._lock:
            clients = dict(self._clients)
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RD)
        for thread in clients.values():
            thread.join()
        self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        with self._listener, self._woken, selectors.DefaultSelector() as waiting:
            waiting.register(self._listener, selectors.EVENT_READ)
            waiting.register(self._woken, selectors.EVENT_READ, "stop")
            while all(key.data is None for key, _ in waiting.select()):
                with suppress(OSError):
                    self._admit(self._listener.accept()[0])

    def _admit(self, client: socket.socket) -> None:
        with self._lock:
            if len(self._clients) >= _MOST_CLIENTS:
                client.close()
                return
            thread = threading.Thread(target=self._serve, args=(client,), name="control-client")
            self._clients[client] = thread
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            client.settimeout(_SECONDS)
            # A client that is late or gone needs no answer.
            with suppress(OSError):
                self._respond(client)
        finally:
            with self._lock:
                del self._clients[client]
            client.close()

    def _respond(self, client: socket.socket) -> None:
        try:
            request = _parse(_read_line(client))
            for answer in self._answer(request):
                client.sendall(_render(answer))
        except SidecarError as error:
            client.sendall(_render({"error": error.message, "hint": error.hint}))


def ask(directory: Path, request: Message, seconds: float | None = None) -> Iterator[Message]:
    """Send a request to the daemon of a state folder, and yield its answers as they come.

    Each may take so many `seconds`; None: as long as it takes. Raises NoDaemon if nobody
    listens, SidecarError for what the daemon answers as an error, or if it hangs up.
    """
    with _connect(directory) as connection, suppress(OSError):
        connection.settimeout(seconds)
        connection.sendall(_render(request))
        with connection.makefile("rb") as lines:
            for line in lines:
                answer = _parse(line)
                if "error" in answer:
                    raise SidecarError(str(answer["error"]), str(answer.get("hint", "")))
                yield answer
                if answer.get("last"):
                    return
    raise SidecarError("the daemon hung up", "see its log")


def _connect(directory: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        with _short_path(directory) as path:
            connection.connect(path)
    except OSError as error:
        connection.close()
        if isinstance(error, PermissionError):
            raise NoDaemon(
                f"{directory / FILE} may not be opened", "be the user as whom the daemon runs"
            ) from None
        raise NoDaemon(
            f"no daemon listens at {directory / FILE}",
            "start one, or run the plan without one by `backrest-runner run PLAN`",
        ) from None
    return connection


def _listen(directory: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        with _short_path(directory) as path:
            # Left by a daemon that died: whoever holds the scheduler's lock may remove it.
            Path(path).unlink(missing_ok=True)
            listener.bind(path)
            Path(path).chmod(0o600)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def _short_path(directory: Path) -> Iterator[str]:
    """Return a path of the socket that fits into the system's 108 bytes, wherever it lies."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{FILE}"
    finally:
        os.close(descriptor)


def _read_line(client: socket.socket) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = client.recv(4096)
        if not piece or len(line) > _MOST_LINE:
            raise ConnectionResetError
        line += piece
    return bytes(line)


def _parse(line: bytes) -> Message:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SidecarError("this is no line of JSON with an object")
    return found


def _render(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"
