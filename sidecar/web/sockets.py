"""The sockets on which a daemon listens, and the way to the control socket.

The control socket lies in the state folder, and only its owner can open it.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidecar.lib.errors import SidecarError, UsageError

CONTROL = "control.sock"


class NoDaemon(SidecarError):
    """Nobody listens on the socket."""


def listen_on_address(host: str, port: int) -> socket.socket:
    """Listen on a host and a port; raises UsageError. An empty host means all addresses."""
    try:
        return _listen(host, port)
    except OSError as error:
        raise UsageError(
            f"--listen: cannot listen on port {port} of {host or 'all addresses'}: "
            f"{error.strerror or error}",
            "choose an address of this machine and a free port",
        ) from None


def listen_in_folder(directory: Path) -> socket.socket:
    """Listen on the control socket of a state folder; raises SidecarError."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        with _short_path(directory) as path:
            # Left by a daemon that died: whoever holds the scheduler's lock may remove it.
            Path(path).unlink(missing_ok=True)
            listener.bind(path)
            Path(path).chmod(0o600)
        listener.listen()
    except OSError as error:
        listener.close()
        raise SidecarError(
            f"cannot listen on {directory / CONTROL}: {error.strerror or error}",
            "choose by --state-dir a folder of a local disk, where sockets can be made",
        ) from None
    return listener


def connect_to_folder(directory: Path, seconds: float | None) -> socket.socket:
    """Connect to the control socket of a state folder; raises NoDaemon."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    try:
        with _short_path(directory) as path:
            connection.connect(path)
    except OSError as error:
        connection.close()
        if isinstance(error, PermissionError):
            raise NoDaemon(
                f"{directory / CONTROL} may not be opened", "be the user as whom the daemon runs"
            ) from None
        raise NoDaemon(
            f"no daemon listens at {directory / CONTROL}",
            "start one, or run the plan without one by `backrest-runner run PLAN`",
        ) from None
    return connection


def _listen(host: str, port: int) -> socket.socket:
    if host in ("", "::") and socket.has_dualstack_ipv6():
        try:
            return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError:
            # The kernel knows IPv6, but this network namespace has none.
            if host:
                raise
    family = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)[0][0]  # noqa: S104
    return socket.create_server((host, port), family=family)


@contextmanager
def _short_path(directory: Path) -> Iterator[str]:
    """Return a path of the socket that fits into the system's 108 bytes, wherever it lies."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{CONTROL}"
    finally:
        os.close(descriptor)
