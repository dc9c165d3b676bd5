"""Log named events with fields to standard error, one line each, as JSON or as text.

The tables of all events (`LogEvent`) are those of the two programs.
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event in a table: its level (the usual one first), and when it is logged, in words."""

    level: str
    when: str


def start_logging(level: str, form: str, handler: logging.Handler | None = None) -> None:
    """Send the events of our loggers to standard error; `form` is json or text.

    Where there is another `handler` for people, it has them instead.
    """
    if handler is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Formatter(as_json=form == "json"))
    root = logging.getLogger("sidecar")
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    root.propagate = False


def leave_out(is_shown: Callable[[str, Mapping[str, object]], bool]) -> None:
    """Log no more what people are shown otherwise: an event and its fields, where that is true.

    Whoever asks for `info` gets it all the same, as do programs, which read JSON.
    """
    root = logging.getLogger("sidecar")
    if root.isEnabledFor(logging.INFO):
        return
    for handler in root.handlers:
        if not (isinstance(handler.formatter, _Formatter) and handler.formatter.as_json):
            handler.addFilter(
                lambda record: not is_shown(record.getMessage(), getattr(record, "fields", {}))
            )


def log_event(logger: logging.Logger, level: int, event: str, **fields: object) -> None:
    """Log one named event with its fields; none of them may be a secret."""
    if logger.isEnabledFor(level):
        logger.log(level, event, extra={"fields": fields})


class _Formatter(logging.Formatter):
    """Renders the event's name and its fields, which `log_event` puts into the record."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: Mapping[str, object] = getattr(record, "fields", {})
        level = record.levelname.lower().replace("warning", "warn")
        if self.as_json:
            event = {"time": time, "level": level, "event": record.getMessage(), **fields}
            return json.dumps(event, default=str)
        shown = "".join(f" {key}={_render_for_people(value)}" for key, value in fields.items())
        return f"{time} {level:5} {record.getMessage()}{shown}"


def _render_for_people(value: object) -> str:
    """Render a field's value as JSON; only what nobody could see is escaped."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
