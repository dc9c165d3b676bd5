"""The heartbeat: a small file that says that the daemon lives, and its quick check.

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

    from sidecar.watch.facts import StatusFacts

FILE = "heartbeat.json"
_LIMIT = 64 * 1024
_SPARE = 30.0
_HELP = """\
Usage: backrest-sidecar healthcheck [OPTIONS]

  Tell by the exit status whether the daemon is well: 0 it is, 1 it is not.

  Reads the heartbeat in the daemon's state directory, so give it the daemon's own
  --config or --state-dir, or set their variables for both. Well means: it moved within
  three intervals and 30 seconds, and within that time a pass succeeded or it started.

Options:
  --config PATH     Backrest's config.json.  [env var: BACKREST_SIDECAR_CONFIG,
                    BACKREST_CONFIG; default: backrest.config.json]
  --state-dir PATH  Where the daemon remembers things.  [env var:
                    BACKREST_SIDECAR_STATE_DIR; default: .sidecar beside the document]
  -h, --help        Show this message and exit.
"""
_VARIABLES = {
    "--config": ("BACKREST_SIDECAR_CONFIG", "BACKREST_CONFIG"),
    "--state-dir": ("BACKREST_SIDECAR_STATE_DIR",),
}


def allowance(interval: float) -> float:
    """Give the seconds without a beat, or without a good pass, that are still well."""
    return 3 * interval + _SPARE


class Pulse:
    """Writes the heartbeat; not thread-safe. A beat that cannot be written is told once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._is_told = False

    def beat(self, facts: "StatusFacts") -> None:
        """Say that the main loop moves, and what it has achieved."""
        good = None if facts.good_age is None else facts.now - facts.good_age
        content = {
            "beat": facts.now,
            "good": good,
            # By the clock as it is now: it may have been set since the start.
            "started": facts.now - facts.uptime,
            "interval": facts.interval,
            "pid": os.getpid(),
            "reasons": list(facts.reasons),
        }
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
    """Judge the heartbeat at the unix time `now`: whether the daemon is well, and in words."""
    try:
        with (state_dir / FILE).open("rb") as file:
            found = json.loads(file.read(_LIMIT))
        beat, started, interval = (_seconds(found, key) for key in ("beat", "started", "interval"))
        good = None if found["good"] is None else _seconds(found, "good")
        reasons = "; ".join(str(reason) for reason in found["reasons"])
    except FileNotFoundError:
        return False, f"no heartbeat in {state_dir}: no daemon runs there, or it has another place"
    except OSError as error:
        return False, f"the heartbeat in {state_dir} cannot be read: {error.strerror}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return False, f"the heartbeat in {state_dir} is none: {FILE} holds something else"
    return _judge(now - beat, now - (started if good is None else good), interval, good, reasons)


def _judge(
    beat_age: float, good_age: float, interval: float, good: float | None, reasons: str
) -> tuple[bool, str]:
    most = allowance(interval)
    because = f": {reasons}" if reasons else ""
    if beat_age > most:
        return False, f"the last beat was {beat_age:.0f} s ago: the daemon hangs or has ended"
    if beat_age < -most:
        return False, f"the last beat lies {-beat_age:.0f} s in the future: the clock was set back"
    if good_age > most:
        which = "start, without a good pass" if good is None else "last good pass"
        return False, f"{good_age:.0f} s since the {which}{because}"
    return True, f"alive{', but not ready' if reasons else ''}{because}"


def _seconds(found: "Any", key: str) -> float:
    """A plain number of the heartbeat; raises what one that is none of ours raises."""
    value = found[key]
    if type(value) not in (int, float) or not -1e15 < value < 1e15:
        raise ValueError(key)
    return float(value)


def run_healthcheck(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `backrest-sidecar healthcheck`; gives the exit status, 0 for well and 1 for else."""
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
    state_dir = Path(values["--state-dir"]) if values["--state-dir"] else config.parent / ".sidecar"
    healthy, words = check_pulse(state_dir, time.time())
    # The place and the reasons may be anything; a terminal need not take it.
    sys.stdout.write(f"{words.encode('ascii', 'backslashreplace').decode()}\n")
    return 0 if healthy else 1


def _first_set(names: Sequence[str], environment: Mapping[str, str]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")
