"""Values in messages: readable, short, and without the secrets that people paste.

What parsing a label's value raises when the value cannot be used.
"""

import re

_STEP = 1000.0


_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def render_size(size: float) -> str:
    """Write a number of bytes in the unit that suits it."""
    step = 0
    while size >= _STEP and step < len(_UNITS) - 1:
        size /= _STEP
        step += 1
    return f"{size:.1f} {_UNITS[step]}" if step else f"{size:.0f} B"


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


__all__ = [
    "SpecInvalid",
    "quoted",
]


class SpecInvalid(ValueError):
    """A value outside the grammar: `message` says why, `hint` what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
