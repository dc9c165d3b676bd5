"""Format values as Go prints them. Pure."""

import json
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from urllib.parse import quote_plus

from sidecar.engines.base import Stats

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_SMALLEST, _MICRO, _MILLI, _SECOND = 1, 1_000, 1_000_000, 1_000_000_000
_JSON_ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
_HTML = {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_QUOTED = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}
_BLANK, _DEL, _LONGEST_SHORT = 0x20, 0x7F, 0xFFFF
# What Python makes of bytes that are no UTF-8.
_SURROGATE_ESCAPES = range(0xDC80, 0xDD00)
# The fields of Backrest's statistics in its order; those of progress are zero in the end.
STATS: Final[Mapping[str, tuple[str, str]]] = {
    "FilesNew": ("files_new", "files_new"),
    "FilesChanged": ("files_changed", "files_changed"),
    "FilesUnmodified": ("files_unmodified", "files_unmodified"),
    "DirsNew": ("dirs_new", "dirs_new"),
    "DirsChanged": ("dirs_changed", "dirs_changed"),
    "DirsUnmodified": ("dirs_unmodified", "dirs_unmodified"),
    "DataBlobs": ("data_blobs", "data_blobs"),
    "TreeBlobs": ("tree_blobs", "tree_blobs"),
    "DataAdded": ("data_added", "bytes_added"),
    "TotalFilesProcessed": ("total_files_processed", "files_processed"),
    "TotalBytesProcessed": ("total_bytes_processed", "bytes_processed"),
    "TotalDuration": ("total_duration", "seconds"),
}
"""Name in templates → name in JSON, and ours."""


def format_time(moment: datetime) -> str:
    """Return an aware moment to the second, as RFC 3339 has it."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{_offset(moment)}"


def show_time(moment: datetime) -> str:
    """Return a moment as Go prints it: with fractions, offset and the zone's name."""
    offset = f"{moment:%z}"[:5]
    name = moment.tzname() or ""
    zone = name if not name.startswith("UTC") or name == "UTC" else offset
    return f"{moment:%Y-%m-%d %H:%M:%S}{_fraction(moment)} {offset} {zone}"


def _offset(moment: datetime) -> str:
    offset = moment.utcoffset() or timedelta()
    minutes = int(offset.total_seconds() / 60)
    if not minutes:
        return "Z"
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"


def _fraction(moment: datetime) -> str:
    return f".{moment.microsecond:06}".rstrip("0") if moment.microsecond else ""


def format_duration(nanoseconds: int) -> str:
    """Return a duration to the millisecond: `1h2m3.004s`."""
    whole = abs(nanoseconds) // _MILLI * _MILLI
    return show_duration(whole if nanoseconds >= 0 else -whole)


def show_duration(nanoseconds: int) -> str:
    """Return a duration as Go prints it."""
    size = abs(nanoseconds)
    if size == 0:
        return "0s"
    sign = "-" if nanoseconds < 0 else ""
    for limit, unit, name in (
        (_MICRO, _SMALLEST, "ns"),
        (_MILLI, _MICRO, "µs"),
        (_SECOND, _MILLI, "ms"),
    ):
        if size < limit:
            return f"{sign}{_ratio(size, unit)}{name}"
    minutes, rest = divmod(size, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    larger = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{larger}{_ratio(rest, _SECOND)}s"


def _ratio(size: int, unit: int) -> str:
    """Divide by a power of ten, without rounding."""
    whole, rest = divmod(size, unit)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}}".rstrip("0") if rest else str(whole)


def format_size(size: int) -> str:
    """Return bytes in steps of a thousand: `1.500 MB`."""
    number, step = float(size), 0
    while number > 1000 and step < len(_UNITS) - 1:
        number /= 1000
        step += 1
    return f"{number:.3f} {_UNITS[step]}"


def show_float(number: float) -> str:
    """Return a number as Go prints it: with an exponent from 1e+06 on, or below 1e-04."""
    sign, digits, point = _decimal(number)
    exponent = point - 1
    if -4 <= exponent < 6:
        return sign + _plain(digits, point)
    return f"{sign}{_mantissa(digits)}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"


def _json_float(number: float) -> str:
    size = abs(number)
    if size == 0 or 1e-6 <= size < 1e21:
        sign, digits, point = _decimal(number)
        return sign + _plain(digits, point)
    sign, digits, point = _decimal(number)
    exponent = point - 1
    return f"{sign}{_mantissa(digits)}e{'-' if exponent < 0 else '+'}{abs(exponent)}"


def _decimal(number: float) -> tuple[str, str, int]:
    """Return the sign, the shortest digits, and where the point stands in them."""
    parts = Decimal(repr(number)).as_tuple()
    digits = "".join(map(str, parts.digits)).lstrip("0")
    point = len(digits) + int(parts.exponent)
    return "-" if parts.sign else "", digits.rstrip("0") or "0", point if digits else 1


def _plain(digits: str, point: int) -> str:
    if point <= 0:
        return f"0.{'0' * -point}{digits}"
    whole, rest = digits[:point].ljust(point, "0"), digits[point:]
    return f"{whole}.{rest}" if rest else whole


def _mantissa(digits: str) -> str:
    return f"{digits[0]}.{digits[1:]}" if digits[1:] else digits


def show_texts(texts: Sequence[str]) -> str:
    """Return a list as Go prints it."""
    return f"[{' '.join(texts)}]"


def to_bytes(text: str) -> bytes:
    """Return the bytes that Go has for a text."""
    return text.encode("utf-8", "surrogateescape")


def to_text(content: bytes) -> str:
    """Return the text of these bytes; those that are no UTF-8 are kept."""
    return content.decode("utf-8", "surrogateescape")


def escape_html(text: str) -> str:
    """Return a text so that HTML shows it."""
    return "".join(_HTML.get(character, character) for character in text)


def escape_js(text: str) -> str:
    """Return a text so that it can stand in quotes of JavaScript."""
    return "".join(map(_js_character, text))


def _js_character(character: str) -> str:
    if character in "\\'\"":
        return f"\\{character}"
    code = ord(character)
    if character in "<>&=" or code < _BLANK:
        return f"\\u{code:04X}"
    return character if code <= _DEL or _is_print(character) else f"\\u{code:04X}"


def escape_query(text: str) -> str:
    """Return a text so that it can be a value in the query of an address."""
    return quote_plus(to_bytes(text))


def quote(text: str) -> str:
    """Return a text in double quotes as Go's source would have it."""
    return f'"{"".join(map(_quoted_character, text))}"'


def _quoted_character(character: str) -> str:
    if character in _QUOTED:
        return _QUOTED[character]
    code = ord(character)
    if code in _SURROGATE_ESCAPES:
        return f"\\x{code - 0xDC00:02x}"
    if code < _BLANK or code == _DEL:
        return f"\\x{code:02x}"
    if _is_print(character):
        return character
    return f"\\u{code:04x}" if code <= _LONGEST_SHORT else f"\\U{code:08x}"


def _is_print(character: str) -> bool:
    """Return whether Go takes a character for one that shows something, as a blank does."""
    return character == " " or unicodedata.category(character)[0] in "LMNPS"


def quote_for_shell(text: str) -> str:
    """Quote a text so that a shell takes it for one word."""
    return shlex.quote(text)


def json_text(text: str) -> str:
    """Return a text in JSON; what means something in HTML is escaped."""
    clean = text.encode("utf-8", "replace").decode()
    written = json.dumps(clean, ensure_ascii=False)
    for character, escape in _JSON_ESCAPES.items():
        written = written.replace(character, escape)
    return written


def json_texts(texts: Sequence[str]) -> str:
    """Return a list of texts in JSON; one that is empty was never set."""
    return f"[{','.join(map(json_text, texts))}]" if texts else "null"


def json_time(moment: datetime) -> str:
    """Return a moment in JSON, fractions and all."""
    return f'"{moment:%Y-%m-%dT%H:%M:%S}{_fraction(moment)}{_offset(moment)}"'


def json_number(number: float) -> str:
    """Return a number in JSON."""
    return str(number) if isinstance(number, int) else _json_float(number)


def json_stats(stats: Stats | None, snapshot: str) -> str:
    """Return the statistics in JSON, with every field that Backrest's have."""
    if stats is None:
        return "null"
    kind = "summary" if stats != Stats() or snapshot else ""
    held = {field.name: getattr(stats, field.name) for field in fields(stats)}
    counted = "".join(f'"{name}":{json_number(held[ours] or 0)},' for name, ours in STATS.values())
    return (
        f'{{"message_type":"{kind}","error":null,"during":"","item":"",{counted}'
        f'"snapshot_id":{json_text(snapshot)},"percent_done":0,"total_files":0,"files_done":0,'
        '"total_bytes":0,"bytes_done":0,"current_files":null,"action":"","exit_error":"",'
        '"message":""}'
    )
