"""Parse and render durations as people write them: `90s`, `1h30m`, `7d`."""

import re

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+|\d+(?:\.\d+)?", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "": 1.0}
_SHOWN = ((86400, "d"), (3600, "h"), (60, "min"))
FORMS = "write 30s, 10m, 1h30m, 7d or plain seconds"
"""The hint for a text that is no duration."""


def parse_duration(text: str) -> float:
    """Parse `90s`, `1h30m`, `7d` or plain seconds into seconds; raises ValueError."""
    plain = text.strip()
    if not _DURATION.fullmatch(plain):
        raise ValueError(f"{text!r} is no duration")
    parts = re.findall(r"([\d.]+)(ms|s|m|h|d|w|)", plain)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def render_duration(seconds: float) -> str:
    """Render a duration in its largest unit only: `45 s`, `2 d`."""
    whole = max(0, int(seconds))
    found = ((whole // size, unit) for size, unit in _SHOWN if whole >= size)
    count, unit = next(found, (whole, "s"))
    return f"{count} {unit}"
