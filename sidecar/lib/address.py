"""Parse the addresses on which a program listens, such as `127.0.0.1:9099`."""

import re
from ipaddress import AddressValueError, IPv6Address

ADDRESSES = "write HOST:PORT, as in 127.0.0.1:9099, [::1]:9099 or, for all addresses, :9099"

_FORM = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]*):(\d{1,5})", re.ASCII)
_MAX_PORT = 65535


def parse_listen_address(text: str) -> tuple[str, int]:
    """Parse `HOST:PORT`, `:PORT` or `[IPV6]:PORT`; raises ValueError, see ADDRESSES."""
    match = _FORM.fullmatch(text.strip())
    host, port = (match[1].strip("[]"), int(match[2])) if match else ("", 0)
    try:
        if match and match[1].startswith("["):
            IPv6Address(host)
    except AddressValueError:
        port = 0
    if not 0 < port <= _MAX_PORT:
        raise ValueError(f"{text!r} is no address to listen on")
    return host, port
