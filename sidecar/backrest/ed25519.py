"""The public half of an Ed25519 key (RFC 8032), to see whether a pair belongs together.

Only that check is made here: nothing is signed, so timing tells nobody anything.
"""

import hashlib
from functools import lru_cache
from typing import Final

_Point = tuple[int, int, int, int]

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_BASE_Y: Final = 4 * pow(5, -1, _P) % _P
_BASE_X: Final = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE: Final[_Point] = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)
_ZERO: Final[_Point] = (0, 1, 1, 0)


@lru_cache(maxsize=4)
def public_key(seed: bytes) -> bytes:
    """Derive the public key (32 bytes) from the seed (32 bytes); some milliseconds."""
    scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    scalar = scalar & ((1 << 254) - 8) | 1 << 254
    x, y, z, _ = _multiply(scalar)
    inverse = pow(z, -1, _P)
    x, y = x * inverse % _P, y * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _multiply(scalar: int) -> _Point:
    total, power = _ZERO, _BASE
    while scalar:
        if scalar & 1:
            total = _add(total, power)
        power = _add(power, power)
        scalar >>= 1
    return total


def _add(one: _Point, other: _Point) -> _Point:
    """Add two points in extended coordinates (x, y, z, x*y/z)."""
    low = (one[1] - one[0]) * (other[1] - other[0]) % _P
    high = (one[1] + one[0]) * (other[1] + other[0]) % _P
    twist = 2 * one[3] * other[3] * _D % _P
    scale = 2 * one[2] * other[2] % _P
    e, f, g, h = high - low, scale - twist, scale + twist, high + low
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)
