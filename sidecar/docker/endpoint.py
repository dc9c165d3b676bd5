"""Where Docker listens: its address, and a first look whether a socket is there."""

import os
import re
import socket

from sidecar.lib.errors import UsageError

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
UNIX = "unix://"
"""How the address of a socket begins."""

_ADDRESS = re.compile(r"unix:///.+|(?:tcp|https?)://[^/@]+(?:/[^@]*)?")


def parse_address(url: str | None) -> str:
    """Return the address of Docker: of a flag's value, else DOCKER_HOST, else the usual socket.

    A bare path such as `/run/docker.sock` is one of a socket. Raises UsageError.
    """
    address = (url or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS).strip()
    if address.startswith("/"):
        address = UNIX + address
    if not _ADDRESS.fullmatch(address):
        shown = re.sub(r"//.*@", "//***@", address)
        raise UsageError(
            f"{shown} is no address of a Docker engine that can be used",
            "write /path/to/docker.sock, unix:///path, tcp://host:port or https://host:port",
        )
    return address


def probe_socket(address: str, timeout: float) -> None:
    """Open and close the socket at an address, if it is one of a socket. Raises OSError.

    Before the client library is used: it would leave a socket open that fails.
    """
    if address.startswith(UNIX):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(timeout)
            probe.connect(address.removeprefix(UNIX))
