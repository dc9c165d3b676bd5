"""A conversation with a command in a container."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from sidecar.docker.exec_command import converse


def frame(stream: int, content: bytes) -> bytes:
    """Return a piece of output as Docker sends it."""
    return struct.pack(">BxxxL", stream, len(content)) + content


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return both ends of a connection."""
    ours, other = socket.socketpair()
    with ours, other:
        yield ours, other


def test_input_goes_and_both_outputs_come(pair: tuple[socket.socket, socket.socket]) -> None:
    """Of each the end is kept."""
    ours, other = pair
    other.sendall(frame(1, b"first") + frame(2, b"x" * 70000 + b"wrong") + frame(1, b" second"))
    got: list[bytes] = []

    def answer() -> None:
        got.append(other.recv(3, socket.MSG_WAITALL))
        other.shutdown(socket.SHUT_WR)

    server = threading.Thread(target=answer)
    server.start()
    with ours.makefile("rb") as output:
        printed = converse(output, ours, [b"a", b"bc"])
    server.join()

    assert got == [b"abc"]
    assert bytes(printed[0]) == b"first second"
    assert (len(printed[1]), bytes(printed[1][-5:])) == (65536, b"wrong")


def test_a_command_that_reads_no_more_has_ended(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """What it printed tells why."""
    ours, other = pair
    other.sendall(frame(2, b"no"))
    other.shutdown(socket.SHUT_RDWR)
    with ours.makefile("rb") as output:
        printed = converse(output, ours, [b"x" * 1000000])
    assert bytes(printed[1]) == b"no"


def test_what_the_input_raises_is_raised(pair: tuple[socket.socket, socket.socket]) -> None:
    """And the command gets no more."""
    ours, other = pair

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError(5, "it is broken")

    with ours.makefile("rb") as output, pytest.raises(OSError, match="it is broken"):
        converse(output, ours, broken())
    assert other.recv(100, socket.MSG_WAITALL) == b"half"
