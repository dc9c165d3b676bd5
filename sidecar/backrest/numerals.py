"""Numbers as Backrest reads them: any spelling of a whole number, quoted or not."""

import re
from typing import Final

_NUMBER: Final = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?\Z")
# More digits than any 64-bit number has; Backrest gives up there as well.
_MOST_DIGITS: Final = 20
_MOST_EXPONENT_DIGITS: Final = 11
# Any number this short fits in 32 bits.
_FEW_DIGITS: Final = 10


def parse_integer(text: str, bits: int) -> int | None:
    """Read a whole number that fits in `bits`: `7`, `1.0`, `1e3`; else None.

    As in Backrest the value counts, not the spelling: `3.5`, an overflow, a
    sign `+`, leading zeros and blanks are no whole number.
    """
    if text.isascii() and text.isdigit() and len(text) < _FEW_DIGITS and text[0] != "0":
        return int(text)
    match = _NUMBER.match(text)
    if match is None:
        return None
    sign, whole, fraction, exponent = match.groups()
    digits = _shift(whole.lstrip("0"), (fraction or "").rstrip("0"), exponent or "0")
    if digits is None:
        return None
    value = -int(digits) if sign else int(digits)
    return value if -(1 << bits - 1) <= value < 1 << bits - 1 else None


def _shift(whole: str, fraction: str, exponent: str) -> str | None:
    """Move the decimal point by `exponent`; None if digits stay behind it."""
    if not whole and not fraction:
        return "0"
    if len(exponent) > _MOST_EXPONENT_DIGITS:
        return None
    power = int(exponent)
    if not -(1 << 31) <= power < 1 << 31:
        return None
    if power < 0:
        return _shift_out(whole, fraction, -power)
    if len(fraction) > power or len(whole) + power > _MOST_DIGITS:
        return None
    return whole + fraction + "0" * (power - len(fraction))


def _shift_out(whole: str, fraction: str, places: int) -> str | None:
    if fraction or places > len(whole):
        return None
    kept, gone = whole[: len(whole) - places], whole[len(whole) - places :]
    return None if gone.strip("0") else kept or "0"


def is_double(text: str) -> bool:
    """Whether `text` is a number that a 64-bit float can hold."""
    return _NUMBER.match(text) is not None and abs(float(text)) != float("inf")
