"""Sending from the runner's side: a process of its own for each request.

It bounds what a slow server can cost us, keeps to itself what libraries log and raise, and
gives back the memory that they need.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sidecar.lib.process import ProcessRunner
from sidecar.runner.notify.messages import Failure, HttpRequest, Request

_SECONDS = 40.0
_ROOT = Path(__file__).parents[3]
_MODULE = "sidecar.runner.notify"


class ProcessSender:
    """Sends by `python -m sidecar.runner.notify`; `seconds` is how long that may take in all.

    `runner` should be one that nothing else stops: the last messages are sent at the very end.
    """

    def __init__(self, runner: ProcessRunner, seconds: float = _SECONDS) -> None:
        self._runner = runner
        self._seconds = seconds

    def send(self, request: Request) -> Failure | None:
        """Send it; None if that succeeded. Raises nothing."""
        kind = "post" if isinstance(request, HttpRequest) else "apprise"
        answer = self._ask({"kind": kind, "request": asdict(request)})
        if isinstance(answer, Failure):
            return answer
        reason = str(answer.get("reason", ""))
        if not reason:
            return None
        return Failure(reason, bool(answer.get("is_down")), bool(answer.get("is_final")))

    def check(self, urls: Sequence[str]) -> tuple[str, ...]:
        """Return for each Apprise URL what is wrong with it; empty: nothing."""
        answer = self._ask({"urls": list(urls)})
        if isinstance(answer, Failure):
            # Whoever sends will find out.
            return ("",) * len(urls)
        return tuple(map(str, answer.get("wrong", [""] * len(urls))))

    def _ask(self, question: dict[str, Any]) -> dict[str, Any] | Failure:
        try:
            completed = self._runner.run(
                [sys.executable, "-m", _MODULE],
                env=_environment(),
                script=json.dumps(question).encode(),
                timeout=self._seconds,
            )
        except OSError:
            return Failure("the program that sends could not be started")
        if completed.timed_out:
            return Failure("it did not answer in time", is_down=True)
        try:
            answer = json.loads(completed.out)
        except ValueError:
            answer = None
        return answer if isinstance(answer, dict) else Failure("the program that sends failed")


def _environment() -> dict[str, str]:
    """Return variables by which Python finds our modules, and none of the working directory."""
    paths = (str(_ROOT), os.environ.get("PYTHONPATH", ""))
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONSAFEPATH": "1"}
