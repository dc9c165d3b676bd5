"""Values in messages: readable, short, and without the secrets that people paste."""

import re

_SHOWN = 60
_CREDENTIALS = re.compile(r"(?<=://)[^\s/'\"]*@")
MASK = "********"


def quoted(text: str) -> str:
    """Quote a value for a message: control characters escaped, long values cut.

    An address is not quoted: people paste it into the wrong place, secrets and all.
    """
    if "://" in text:
        return "this address"
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def without_credentials(text: str) -> str:
    """Mask the user part of every address in a text."""
    return _CREDENTIALS.sub(f"{MASK}@", text) if "://" in text else text
