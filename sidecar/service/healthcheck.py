"""`healthcheck` of both programs: is the daemon well by its heartbeat, and if not, why.

It runs every few seconds beside the daemon, so this module imports nothing but a little of
the standard library, and one small module of ours.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sidecar.lib.read_file import read_file

# As in `typing`, which alone would cost an eighth of the time that the check takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "heartbeat.json"
_LIMIT = 256 * 1024
_MOST_LINES = 10
_OPTIONS = """
Options:
  --config PATH     Backrest's config.json.  [env var: {prefix}CONFIG,
                    BACKREST_CONFIG; default: backrest.config.json]
  --state-dir PATH  Where the daemon remembers things.  [env var:
                    {prefix}STATE_DIR; default: {folder} beside
                    the document]
  -h, --help        Show this message and exit.
"""


def check_heartbeat(state_dir: Path, now: float) -> tuple[bool, str]:
    """Return whether a daemon is well at `now`, in unix seconds, and a text about it."""
    try:
        return _judge(json.loads(read_file(state_dir / FILE, _LIMIT)), now)
    except FileNotFoundError:
        return False, f"no heartbeat in {state_dir}: no daemon runs there, or it has another place"
    except OSError as error:
        return False, f"the heartbeat in {state_dir} cannot be read: {error.strerror}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return False, f"the heartbeat in {state_dir} is none: {FILE} holds something else"


def has_heartbeat(state_dir: Path) -> bool:
    """Return whether a daemon has left a heartbeat there, readable or not."""
    try:
        (state_dir / FILE).lstat()
    except FileNotFoundError:
        return False
    except OSError:
        # What may not be looked at may be there.
        pass
    return True


def is_alive(state_dir: Path, now: float) -> bool:
    """Return whether a daemon has moved lately, well or not, at `now`, in unix seconds."""
    try:
        return now <= _number(json.loads(read_file(state_dir / FILE, _LIMIT))["due"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _judge(found: "Any", now: float) -> tuple[bool, str]:
    if "beat" in found and "at" not in found:
        return False, "the heartbeat is that of another version: unknown until the next beat"
    at, due, more = (_number(found[key]) for key in ("at", "due", "more"))
    is_healthy = found["healthy"] is True
    sentences = [str(one["sentence"]) for one in found["findings"]]
    if now > due:
        return False, f"the last beat was {now - at:.0f} s ago: the daemon hangs or has ended"
    if at - now > due - at:
        return False, f"the last beat lies {at - now:.0f} s in the future: the clock was set back"
    if not sentences:
        return is_healthy, "all is well"
    lines = ["alive, but not ready:"] if is_healthy else []
    lines += sentences[:_MOST_LINES]
    if left := len(sentences[_MOST_LINES:]) + int(more):
        lines.append(f"and {left} more")
    return is_healthy, "\n".join(lines)


def _number(value: "Any") -> float:
    if type(value) not in (int, float) or not -1e15 < value < 1e15:
        raise ValueError
    return float(value)


class Healthcheck:
    """`healthcheck` of one program.

    Attributes:
        help: what `--help` prints.
        variables: the variables of each flag.
    """

    def __init__(self, about: str, prefix: str, folder: str) -> None:
        """Make it of the text above the options, how variables begin, the state folder's name."""
        self.help = about + _OPTIONS.format(prefix=prefix, folder=folder)
        self.variables: Mapping[str, Sequence[str]] = {
            "--config": (f"{prefix}CONFIG", "BACKREST_CONFIG"),
            "--state-dir": (f"{prefix}STATE_DIR",),
        }
        self._folder = folder

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run the check and return the exit status: 0 if the daemon is healthy, else 1."""
        values = {flag: _first_set(names, environment) for flag, names in self.variables.items()}
        left = list(arguments)
        while left:
            flag, equals, value = left.pop(0).partition("=")
            if flag in ("-h", "--help") and not equals:
                sys.stdout.write(self.help)
                return 0
            if flag not in values or not (equals or left):
                what = "needs a value" if flag in values else "is no option of healthcheck"
                sys.stderr.write(f"Error: {flag} {what}\n")
                return 1
            values[flag] = value if equals else left.pop(0)
        return self._check_and_print(values["--config"], values["--state-dir"])

    def _check_and_print(self, config: str, state_dir: str) -> int:
        beside = Path(config or "backrest.config.json").parent / self._folder
        is_well, words = check_heartbeat(Path(state_dir) if state_dir else beside, time.time())
        # Paths and reasons may hold characters that the terminal cannot show.
        sys.stdout.write(f"{words.encode('ascii', 'backslashreplace').decode()}\n")
        return 0 if is_well else 1


def _first_set(names: Sequence[str], environment: Mapping[str, str]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")
