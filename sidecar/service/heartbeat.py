"""Write the heartbeat of a daemon: a small file with its health, which `healthcheck` reads."""

import json
import logging
import os
from pathlib import Path

from sidecar.lib.log import log_event
from sidecar.lib.write_file import write_small
from sidecar.service.health import Health, allowance
from sidecar.service.healthcheck import FILE

_MOST_FINDINGS = 100
"""Findings that are written: the check prints fewer, and its file has to stay small."""
_log = logging.getLogger(__name__)


class Heartbeat:
    """Writes the heartbeat of a daemon that beats each `interval` seconds; not thread-safe.

    Of several failures to write in a row the first is logged.
    """

    def __init__(self, directory: Path, interval: float) -> None:
        self._directory = directory
        self._allowance = allowance(interval)
        self._is_logged = False

    def beat(self, now: float, health: Health) -> None:
        """Write that the main loop moves at `now`, in unix seconds, and what is wrong."""
        content = {
            "pid": os.getpid(),
            "at": now,
            "due": now + self._allowance,
            "healthy": health.is_healthy,
            "findings": [
                {"reason": one.reason, "about": one.about, "sentence": one.sentence}
                for one in health.findings[:_MOST_FINDINGS]
            ],
            "more": max(0, len(health.findings) - _MOST_FINDINGS),
        }
        try:
            write_small(self._directory, FILE, json.dumps(content).encode(), durable=False)
            self._is_logged = False
        except OSError as error:
            self._log_failure(error)

    def end(self) -> None:
        """Remove the heartbeat: a daemon that has ended is not healthy."""
        try:
            (self._directory / FILE).unlink(missing_ok=True)
        except OSError as error:
            self._log_failure(error)

    def _log_failure(self, error: OSError) -> None:
        if not self._is_logged:
            fields = {"directory": str(self._directory), "reason": error.strerror}
            log_event(_log, logging.WARNING, "pulse.not-saved", **fields)
        self._is_logged = True
