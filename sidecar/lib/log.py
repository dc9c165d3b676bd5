"""Logs on standard error: one line an event, as JSON or for people.

What a kind of log line is, for the tables that tell of all of them.
"""

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}


class _Formatter(logging.Formatter):
    """Writes the event's name and its `fields`, given by `extra={"fields": {...}}`."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: Mapping[str, object] = getattr(record, "fields", {})
        level = record.levelname.lower().replace("warning", "warn")
        if self._as_json:
            event = {"time": moment, "level": level, "event": record.getMessage(), **fields}
            return json.dumps(event, default=str)
        shown = "".join(f" {key}={json.dumps(value, default=str)}" for key, value in fields.items())
        return f"{moment} {level:5} {record.getMessage()}{shown}"


def start_logging(level: str, form: str) -> None:
    """Send the events of our loggers to standard error; `form` is json or text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(as_json=form == "json"))
    root = logging.getLogger("sidecar")
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    root.propagate = False


def log_event(logger: logging.Logger, level: int, event: str, **fields: object) -> None:
    """Log one named event with its fields; none of them may be a secret."""
    if logger.isEnabledFor(level):
        logger.log(level, event, extra={"fields": fields})


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One kind of line: its level (the usual one first), and in words when it is written."""

    level: str
    when: str
