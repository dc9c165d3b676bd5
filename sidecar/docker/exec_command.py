"""Run a command in a container that runs, with an input that is streamed to it."""

import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader

from sidecar.docker.containers import Containers
from sidecar.docker.failures import DockerError

_HEAD = struct.Struct(">BxxxL")
_OF_ERRORS = 2
_MOST_KEPT = 64 << 10


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command in a container ended: exit status, and the end of what it printed."""

    status: int
    output: bytes
    errors: bytes


def run_in_container(
    docker: Containers,
    container: str,
    argv: Iterable[str],
    content: Iterable[bytes] = (),
    user: str = "",
) -> ExecResult:
    """Run a command with that input in a container, and wait for its end.

    The input has no end that the command could see: it has to know how much to read. If this
    raises, the command gets no more of it, and nobody knows its end. Raises DockerError, and what
    `content` raises.
    """
    with docker.client.library(f"the exec in {container}", again=False) as library:
        made = library.exec_create(container, list(argv), stdin=True, user=user)["Id"]
        stream = library.start_exec(made)
        try:
            printed = converse(stream.output, stream.input, content)
        finally:
            stream.close()
        status = library.exec_inspect(made)["ExitCode"]
    if status is None:
        raise DockerError(f"the connection ended before the command in {container}")
    return ExecResult(int(status), bytes(printed[0]), bytes(printed[1]))


def converse(
    output: BufferedReader, connection: socket.socket, content: Iterable[bytes]
) -> tuple[bytearray, bytearray]:
    """Send the input, and return the ends of both outputs; raises what `content` raises."""
    sender = _Sender(connection, content)
    sender.start()
    printed = (bytearray(), bytearray())
    try:
        for stream, piece in _frames(output):
            kept = printed[stream == _OF_ERRORS]
            kept += piece
            del kept[:-_MOST_KEPT]
    finally:
        # It may wait for a command that has ended, and reads no more.
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        sender.join()
    if sender.error is not None:
        raise sender.error
    return printed


class _Sender(threading.Thread):
    """Sends the input while the output is read: either may have to wait for the other."""

    def __init__(self, connection: socket.socket, content: Iterable[bytes]) -> None:
        super().__init__(name="exec-input", daemon=True)
        self._connection = connection
        self._content = content
        self.error: Exception | None = None

    def run(self) -> None:
        """Send it all. A command that ends before has reasons, which it tells."""
        try:
            for piece in self._content:
                self._connection.sendall(piece)
        except (BrokenPipeError, ConnectionError):
            return
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            self.error = error
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)


def _frames(output: BufferedReader) -> Iterator[tuple[int, bytes]]:
    """Yield pieces of output, each with the number of its stream, until Docker ends them."""
    while len(head := output.read(_HEAD.size)) == _HEAD.size:
        stream, size = _HEAD.unpack(head)
        yield stream, output.read(size)
