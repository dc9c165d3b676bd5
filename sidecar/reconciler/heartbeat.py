"""The sidecar's heartbeat, and `healthcheck`, which imports next to nothing."""

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
    "FILE",
    "ReconcilerHeartbeat",
    "allowance",
    "check_heartbeat",
    "run_healthcheck",
]

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
    """Return the seconds without a beat, or without a good pass, that are still well."""
    return 3 * interval + _SPARE


class ReconcilerHeartbeat(Heartbeat):
    """Writes the heartbeat; not thread-safe. A beat that cannot be written is told once."""

    def beat(
        self,
        *,
        now: float,
        started: float,
        good: float | None,
        interval: float,
        reasons: Sequence[str],
    ) -> None:
        """Write that the main loop moves at `now`, and why the daemon is not ready.

        `good` is when a pass succeeded last, None for never. All but `interval`, in seconds,
        are unix times by the clock as it is now: it may have been set since the start.
        """
        self.write(
            {
                "beat": now,
                "good": good,
                "started": started,
                "interval": interval,
                "reasons": list(reasons),
            }
        )


def check_heartbeat(state_dir: Path, now: float) -> tuple[bool, str]:
    """Judge the heartbeat at the unix time `now`: whether the daemon is well, and in words."""
    return read_heartbeat(state_dir, lambda found: _parse(found, now))


def _parse(found: "Any", now: float) -> tuple[bool, str]:
    beat, started, interval = (seconds_of(found[key]) for key in ("beat", "started", "interval"))
    good = None if found["good"] is None else seconds_of(found["good"])
    reasons = "; ".join(str(reason) for reason in found["reasons"])
    return _judge(now - beat, now - (started if good is None else good), interval, good, reasons)


def _judge(
    beat_age: float, good_age: float, interval: float, good: float | None, reasons: str
) -> tuple[bool, str]:
    most = allowance(interval)
    because = f": {reasons}" if reasons else ""
    if wrong := judge_age(beat_age, most):
        return False, wrong
    if good_age > most:
        which = "start, without a good pass" if good is None else "last good pass"
        return False, f"{good_age:.0f} s since the {which}{because}"
    return True, f"alive{', but not ready' if reasons else ''}{because}"


def run_healthcheck(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `backrest-sidecar healthcheck`; gives the exit status, 0 for well and 1 for else."""
    return HealthcheckCommand(_HELP, _VARIABLES, ".sidecar", check_heartbeat).run(
        arguments, environment
    )
