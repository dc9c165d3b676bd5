"""The heartbeat: a small file that says how the daemon and its backups are, and its quick check.

`healthcheck` runs every few seconds beside the daemon, so this module imports nothing
but a little of the standard library; what only the daemon needs is imported by it alone.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sidecar.kit.small import write_small

# As in `typing`, which alone would cost an eighth of the time that the check takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "heartbeat.json"
ALLOWANCE = 210.0
"""Seconds without a beat that are still well: three looks and a half."""
_LIMIT = 256 * 1024
_HELP = """\
Usage: backrest-runner healthcheck [OPTIONS]

  Tell by the exit status whether the daemon and its backups are well: 0 they are, 1 not.

  Well means: the daemon moves, the document is good, each plan was saved within twice the
  period of its schedule and its last run did not fail, no disk is more than 95 % full, and
  each repository could be reached at the last look, once an hour. The daemon keeps that in
  a small file in its state directory, so give it the daemon's own --config or --state-dir,
  or set their variables for both.

  Examples:
    backrest-runner healthcheck
    backrest-runner healthcheck --state-dir /state

Options:
  --config PATH     Backrest's config.json.  [env var: BACKREST_RUNNER_CONFIG,
                    BACKREST_CONFIG; default: backrest.config.json]
  --state-dir PATH  Where the runner remembers things.  [env var:
                    BACKREST_RUNNER_STATE_DIR; default: .runner beside the document]
  -h, --help        Show this message and exit.
"""
_VARIABLES = {
    "--config": ("BACKREST_RUNNER_CONFIG", "BACKREST_CONFIG"),
    "--state-dir": ("BACKREST_RUNNER_STATE_DIR",),
}


class Pulse:
    """Writes the heartbeat; not thread-safe. A beat that cannot be written is told once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._is_told = False

    def beat(self, now: float, reasons: Sequence[str]) -> None:
        """Say at `now` (unix seconds) that the main loop moves, and all that is wrong."""
        content = {"beat": now, "pid": os.getpid(), "reasons": list(reasons)}
        try:
            write_small(self._directory, FILE, json.dumps(content).encode(), durable=False)
            self._is_told = False
        except OSError as error:
            self._tell(error)

    def end(self) -> None:
        """Remove the heartbeat: a daemon that has ended is not well."""
        try:
            (self._directory / FILE).unlink(missing_ok=True)
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        import logging  # noqa: PLC0415 - `healthcheck` never gets here

        from sidecar.kit.log import log_event  # noqa: PLC0415 - same

        if not self._is_told:
            fields = {"directory": str(self._directory), "reason": error.strerror}
            log_event(logging.getLogger(__name__), logging.WARNING, "pulse.not-saved", **fields)
        self._is_told = True


def check_pulse(state_dir: Path, now: float) -> tuple[bool, str]:
    """Judge the heartbeat at the unix time `now`: whether all is well, and in words."""
    try:
        with (state_dir / FILE).open("rb") as file:
            found = json.loads(file.read(_LIMIT))
        age = now - _seconds(found["beat"])
        reasons = "\n".join(str(reason) for reason in found["reasons"])
    except FileNotFoundError:
        return False, f"no heartbeat in {state_dir}: no daemon runs there, or it has another place"
    except OSError as error:
        return False, f"the heartbeat in {state_dir} cannot be read: {error.strerror}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return False, f"the heartbeat in {state_dir} is none: {FILE} holds something else"
    if age > ALLOWANCE:
        return False, f"the last beat was {age:.0f} s ago: the daemon hangs or has ended"
    if age < -ALLOWANCE:
        return False, f"the last beat lies {-age:.0f} s in the future: the clock was set back"
    return not reasons, reasons or "all is well"


def _seconds(value: "Any") -> float:
    """A plain number of the heartbeat; raises what one that is none of ours raises."""
    if type(value) not in (int, float) or not -1e15 < value < 1e15:
        raise ValueError
    return float(value)


def run_healthcheck(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `backrest-runner healthcheck`; gives the exit status, 0 for well and 1 for else."""
    values = {flag: _first_set(names, environment) for flag, names in _VARIABLES.items()}
    left = list(arguments)
    while left:
        flag, equals, value = left.pop(0).partition("=")
        if flag in ("-h", "--help") and not equals:
            sys.stdout.write(_HELP)
            return 0
        if flag not in values or not (equals or left):
            what = "needs a value" if flag in values else "is no option of healthcheck"
            sys.stderr.write(f"Error: {flag} {what}\n")
            return 1
        values[flag] = value if equals else left.pop(0)
    config = Path(values["--config"] or "backrest.config.json")
    state_dir = Path(values["--state-dir"]) if values["--state-dir"] else config.parent / ".runner"
    is_healthy, words = check_pulse(state_dir, time.time())
    # The place and the reasons may be anything; a terminal need not take it.
    sys.stdout.write(f"{words.encode('ascii', 'backslashreplace').decode()}\n")
    return 0 if is_healthy else 1


def _first_set(names: Sequence[str], environment: Mapping[str, str]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")
