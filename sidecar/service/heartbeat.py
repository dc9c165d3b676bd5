"""Write the heartbeat of a daemon, a small file with its health, and check it.

`healthcheck` runs every few seconds beside the daemon, so this module imports nothing
but a little of the standard library; what only the daemon needs is imported by it alone.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sidecar.lib.read_file import read_file
from sidecar.lib.write_file import write_small

# As in `typing`, which alone would cost an eighth of the time that the check takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "heartbeat.json"
_LIMIT = 256 * 1024


class Heartbeat:
    """Writes the heartbeat; not thread-safe. A failure to write is logged once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._is_logged = False

    def write(self, content: "Mapping[str, Any]") -> None:
        """Write that the main loop is alive, with the `content`; the pid is added."""
        text = json.dumps({**content, "pid": os.getpid()})
        try:
            write_small(self._directory, FILE, text.encode(), durable=False)
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
        import logging  # noqa: PLC0415 - `healthcheck` never gets here

        from sidecar.lib.log import log_event  # noqa: PLC0415 - same

        if not self._is_logged:
            fields = {"directory": str(self._directory), "reason": error.strerror}
            log_event(logging.getLogger(__name__), logging.WARNING, "pulse.not-saved", **fields)
        self._is_logged = True


def read_heartbeat(state_dir: Path, parse: "Callable[[Any], tuple[bool, str]]") -> tuple[bool, str]:
    """Return whether a daemon is healthy, and why, in words.

    `parse` gets the decoded content; it may raise ValueError, TypeError or KeyError where
    that is not a heartbeat of ours.
    """
    try:
        return parse(json.loads(read_file(state_dir / FILE, _LIMIT)))
    except FileNotFoundError:
        return False, f"no heartbeat in {state_dir}: no daemon runs there, or it has another place"
    except OSError as error:
        return False, f"the heartbeat in {state_dir} cannot be read: {error.strerror}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return False, f"the heartbeat in {state_dir} is none: {FILE} holds something else"


def judge_age(age: float, most: float) -> str:
    """Return what is wrong with a beat of `age` seconds ago; empty if at most `most`."""
    if age > most:
        return f"the last beat was {age:.0f} s ago: the daemon hangs or has ended"
    if age < -most:
        return f"the last beat lies {-age:.0f} s in the future: the clock was set back"
    return ""


def seconds_of(value: "Any") -> float:
    """Return a number of the heartbeat; raises ValueError for what is none."""
    if type(value) not in (int, float) or not -1e15 < value < 1e15:
        raise ValueError
    return float(value)


class HealthcheckCommand:
    """`healthcheck` of one program: its help, its variables by flag, its state folder's name."""

    def __init__(
        self,
        help_text: str,
        variables: Mapping[str, Sequence[str]],
        folder: str,
        check: Callable[[Path, float], tuple[bool, str]],
    ) -> None:
        self._help = help_text
        self._variables = variables
        self._folder = folder
        self._check = check

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run the check and return the exit status: 0 if healthy, else 1."""
        values = {flag: _first_set(names, environment) for flag, names in self._variables.items()}
        left = list(arguments)
        while left:
            flag, equals, value = left.pop(0).partition("=")
            if flag in ("-h", "--help") and not equals:
                sys.stdout.write(self._help)
                return 0
            if flag not in values or not (equals or left):
                what = "needs a value" if flag in values else "is no option of healthcheck"
                sys.stderr.write(f"Error: {flag} {what}\n")
                return 1
            values[flag] = value if equals else left.pop(0)
        return self._check_and_print(values["--config"], values["--state-dir"])

    def _check_and_print(self, config: str, state_dir: str) -> int:
        beside = Path(config or "backrest.config.json").parent / self._folder
        is_well, words = self._check(Path(state_dir) if state_dir else beside, time.time())
        # Paths and reasons may hold characters that the terminal cannot show.
        sys.stdout.write(f"{words.encode('ascii', 'backslashreplace').decode()}\n")
        return 0 if is_well else 1


def _first_set(names: Sequence[str], environment: Mapping[str, str]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")
