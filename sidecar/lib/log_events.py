"""What a kind of log line is, for the tables that tell of all of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One kind of line: its level (the usual one first), and in words when it is written."""

    level: str
    when: str
