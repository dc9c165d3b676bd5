"""Check the addresses of --notify-url: their form here, what they mean by whoever sends. Pure."""

import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

ENCODING = (
    "in users, passwords and tokens write %2F for /, %40 for @, %23 for #, %3F for ?, %25 for %"
)
"""What to write instead of signs that mean something in an address."""

_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PORT = re.compile(r"(?:[^:]*|\[[^]]*\])(?::[0-9]{0,5})?")
# The token of a bot stands where other services have a host and a port.
_WITH_COLON = frozenset({"tgram"})


def name_address(url: str, number: int) -> str:
    """Return what an address of `--notify-url` is called where it must not be shown."""
    try:
        scheme = urlsplit(url.strip()).scheme
    except ValueError:
        scheme = ""
    return f"--notify-url {number} ({scheme})" if scheme else f"--notify-url {number}"


def fault_of_form(url: str) -> str:
    """Return what is wrong with the form of an address, without any part of it; empty: nothing."""
    text = url.strip()
    scheme, separator, rest = text.partition("://")
    if not separator or not scheme:
        return "it is no address: write SERVICE://..."
    if _BARE_PERCENT.search(text):
        return f"a % in it is not the begin of an encoded sign: {ENCODING}"
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    is_cut = "@" not in place and not _PORT.fullmatch(place)
    if is_cut and scheme.lower() not in _WITH_COLON:
        return f"a sign in its user or password ends it: {ENCODING}"
    try:
        urlsplit(text)
    except ValueError:
        return "it is no address: its brackets do not match"
    return ""


def check_addresses(
    urls: Sequence[str], check: Callable[[Sequence[str]], Sequence[str]]
) -> tuple[str, ...]:
    """Return a sentence for each address that cannot be used; none of them holds a secret.

    `check` says of each address whose form is right what else is wrong with it.
    """
    faults = [fault_of_form(url) for url in urls]
    rest = [number for number, fault in enumerate(faults) if not fault]
    if rest:
        for number, fault in zip(rest, check([urls[number] for number in rest]), strict=True):
            faults[number] = fault
    return tuple(
        f"{name_address(url, number)} cannot be used: {fault}"
        for number, (url, fault) in enumerate(zip(urls, faults, strict=True), 1)
        if fault
    )
