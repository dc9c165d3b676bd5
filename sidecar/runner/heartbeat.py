"""The runner's heartbeat, and the command `healthcheck`, which imports next to nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sidecar.service.heartbeat import (
    FILE,
    HealthcheckCommand,
    Heartbeat,
    judge_age,
    read_heartbeat,
    seconds_of,
)

# As in `typing`, which alone would cost an eighth of the time that the check takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "ALLOWANCE",
    "FILE",
    "RunnerHeartbeat",
    "check_heartbeat",
    "run_healthcheck",
]

ALLOWANCE = 210.0
"""Seconds without a beat that are still well: three and a half turns of the loop."""
_HELP = """\
Usage: backrest-runner healthcheck [OPTIONS]

  Tell by the exit status whether the daemon and its backups are well: 0 they
  are, 1 not.

  Well means: the daemon moves, the document is good, each plan was saved within
  twice the period of its schedule and its last run did not fail, no disk is
  more than 95 % full, and each repository could be reached at the last look,
  once an hour. The daemon keeps that in a small file in its state directory, so
  give it the daemon's own --config or --state-dir, or set their variables for
  both.

  Examples:
    backrest-runner healthcheck
    backrest-runner healthcheck --state-dir /state

Options:
  --config PATH     Backrest's config.json.  [env var: BACKREST_RUNNER_CONFIG,
                    BACKREST_CONFIG; default: backrest.config.json]
  --state-dir PATH  Where the runner remembers things.  [env var:
                    BACKREST_RUNNER_STATE_DIR; default: .runner beside
                    the document]
  -h, --help        Show this message and exit.
"""
_VARIABLES = {
    "--config": ("BACKREST_RUNNER_CONFIG", "BACKREST_CONFIG"),
    "--state-dir": ("BACKREST_RUNNER_STATE_DIR",),
}


class RunnerHeartbeat(Heartbeat):
    """Writes the heartbeat; not thread-safe. Of several failures in a row the first is logged."""

    def beat(self, now: float, reasons: Sequence[str]) -> None:
        """Write that the main loop moves at `now`, in unix seconds, and all that is wrong."""
        self.write({"beat": now, "reasons": list(reasons)})


def check_heartbeat(state_dir: Path, now: float) -> tuple[bool, str]:
    """Return whether all is well by the heartbeat at `now`, in unix seconds, and why."""
    return read_heartbeat(state_dir, lambda found: _parse(found, now))


def _parse(found: "Any", now: float) -> tuple[bool, str]:
    age = now - seconds_of(found["beat"])
    reasons = "\n".join(str(reason) for reason in found["reasons"])
    if wrong := judge_age(age, ALLOWANCE):
        return False, wrong
    return not reasons, reasons or "all is well"


def run_healthcheck(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `backrest-runner healthcheck`; return the exit status, 0 if all is well, else 1."""
    return HealthcheckCommand(_HELP, _VARIABLES, ".runner", check_heartbeat).run(
        arguments, environment
    )
