"""Values in messages: readable, short, and without the secrets that people paste."""

import difflib
import re
from collections.abc import Iterable

MASK = "********"

_SIZE_STEP = 1000.0
_SIZE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_MAX_QUOTED = 60
_SHORTEST_PART = 3
_SHORT_ID = 8
_HASH = re.compile(r"[0-9a-f]{8,}")
_CREDENTIALS = re.compile(r"(?<=://)[^\s/'\"]*@")

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^\s\"'<>\\]*)")


class SpecInvalid(ValueError):
    """A value that cannot be parsed: `message` says why, `hint` what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def render_size(size: float) -> str:
    """Render a number of bytes in the unit that suits it: `512 B`, `1.5 GB`."""
    step = 0
    while size >= _SIZE_STEP and step < len(_SIZE_UNITS) - 1:
        size /= _SIZE_STEP
        step += 1
    return f"{size:.1f} {_SIZE_UNITS[step]}" if step else f"{size:.0f} B"


def counted(number: int, one: str, many: str = "") -> str:
    """Write a number of things, as in `1 plan`, `2 plans`; `many` where that is not one with s."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def is_hash(name: str) -> bool:
    """Return whether a name is a hash, or eight or more digits of one."""
    return _HASH.fullmatch(name) is not None


def short_id(name: str) -> str:
    """Return the first eight digits of a hash, `4bba301e`; any other name whole."""
    return name[:_SHORT_ID] if is_hash(name) else name


def is_utf8(text: str) -> bool:
    """Return whether a text can be written: no byte of it was none of UTF-8's."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quoted(text: str) -> str:
    """Quote a value for a message: control characters escaped, long values cut.

    An address is not shown: people paste it into the wrong place, secrets and all.
    """
    if "://" in text:
        return "this address"
    return repr(text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}...")


def closest(word: str, known: Iterable[str]) -> str:
    """Return the one of `known` that a word probably means, the empty string if none is near.

    One that holds the word (`postgres`, `postgres-dump`) or is held by it counts as near.
    """
    names = list(known)
    plain = word.strip().lower().replace("_", "-")
    if not plain:
        return ""
    near = difflib.get_close_matches(plain, names, n=1)
    near = near or [name for name in names if name.startswith(plain) or plain.startswith(name)]
    near = near or [name for name in names if len(plain) > _SHORTEST_PART and plain in name]
    return near[0] if near else ""


def without_credentials(text: str) -> str:
    """Mask the user part of every address in a text."""
    return _CREDENTIALS.sub(f"{MASK}@", text) if "://" in text else text


def hosts_only(text: str) -> str:
    """Leave of each address in a text its scheme, and of one of the web the server too.

    Whoever has the path of a webhook can post there; of others, as Shoutrrr's, any part may
    be a token.
    """
    return _ADDRESS.sub(_without_path, text) if "://" in text else text


def _without_path(address: re.Match[str]) -> str:
    scheme, rest = address[1], address[2]
    if scheme.lower() not in {"http", "https"}:
        return f"{scheme}://{MASK}"
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    user, _, host = place.rpartition("@")
    server = f"{MASK}@{host}" if user else host
    return f"{scheme}://{server}" + ("" if rest in {place, f"{place}/"} else f"/{MASK}")
