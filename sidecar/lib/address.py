"""Parse the addresses on which a program listens, such as `127.0.0.1:9099`, and names of hosts."""

import re
from ipaddress import AddressValueError, IPv6Address, ip_address

ADDRESSES = "write HOST:PORT, as in 127.0.0.1:9099, [::1]:9099 or, for all addresses, :9099"

_FORM = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]*):(\d{1,5})", re.ASCII)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::\d{0,5})?", re.ASCII)
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


def parse_host(text: str) -> str:
    """Return the host of `HOST`, `HOST:PORT` or `[IPV6]:PORT`, in one spelling; empty: none.

    `NAS.local.:80` is `nas.local`, `[0::1]` is `::1`.
    """
    match = _HOST.fullmatch(text.strip())
    return normal_host(match[1]) if match else ""


def normal_host(host: str) -> str:
    """Return a name in lower case without the root's dot, an address in its shortest spelling."""
    bare = host.strip("[]").lower().removesuffix(".")
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return bare
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def is_loopback(host: str) -> bool:
    """Return whether a host in its normal spelling means this machine and no other."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_any(host: str) -> bool:
    """Return whether a host to listen on means all addresses of this machine."""
    try:
        return not host or ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


def is_literal(host: str) -> bool:
    """Return whether a host in its normal spelling is an address and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
