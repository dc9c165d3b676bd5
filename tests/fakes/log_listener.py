"""A log handler that keeps records with their fields, for tests that read what was logged."""

import logging


class Listener(logging.Handler):
    """Collects what is logged."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._records.append(record)
