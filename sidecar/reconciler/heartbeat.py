"""The daemon's heartbeat file: written after each pass, read by `healthcheck`.

`healthcheck` runs every few seconds beside the daemon, so this module imports next to
nothing (40 ms in all). That is why `beat` takes plain values, those of
`ReconcilerStatus.heartbeat()`, and not the status itself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sidecar.service.heartbeat import (
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

_SPARE = 30.0
_HELP = """\
Usage: backrest-sidecar healthcheck [OPTIONS]

  Tell by the exit status whether the daemon is well.

  Reads the heartbeat in the daemon's state directory, so give it the daemon's
  own --config or --state-dir, or set their variables for both. Well means: it
  moved within three intervals and 30 seconds, and within that time a pass
  succeeded or it started.

  Exit status: 0 it is well; 1 it is not.

Options:
  --config PATH     Backrest's config.json.  [env var: BACKREST_SIDECAR_CONFIG,
                    BACKREST_CONFIG; default: backrest.config.json]
  --state-dir PATH  Where the daemon remembers things.  [env var:
                    BACKREST_SIDECAR_STATE_DIR; default: .sidecar beside
                    the document]
  -h, --help        Show this message and exit.
"""
_VARIABLES = {
    "--config": ("BACKREST_SIDECAR_CONFIG", "BACKREST_CONFIG"),
    "--state-dir": ("BACKREST_SIDECAR_STATE_DIR",),
}


def allowance(interval: float) -> float:
    """Return how many seconds without a beat, or without a good pass, are still healthy.

    Both parts are in the text of `healthcheck --help`.
    """
    return 3 * interval + _SPARE


class ReconcilerHeartbeat(Heartbeat):
    """Writes the heartbeat; not thread-safe. A beat that cannot be written is logged once."""

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

        `good` is when a pass succeeded last, None for never. `now`, `started` and `good` are
        unix seconds by the clock as it is now: it may have been set since the start.
        `interval` is that of `--interval`, in seconds.
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
    """Return whether the daemon is well at the unix time `now`, and a sentence about it."""
    return read_heartbeat(state_dir, lambda found: _check(found, now))


def _check(found: "Any", now: float) -> tuple[bool, str]:
    beat, started, interval = (seconds_of(found[key]) for key in ("beat", "started", "interval"))
    good = None if found["good"] is None else seconds_of(found["good"])
    reasons = "; ".join(str(reason) for reason in found["reasons"])
    because = f": {reasons}" if reasons else ""
    most = allowance(interval)
    if wrong := judge_age(now - beat, most):
        return False, wrong
    good_age = now - (started if good is None else good)
    if good_age > most:
        which = "start, without a good pass" if good is None else "last good pass"
        return False, f"{good_age:.0f} s since the {which}{because}"
    return True, f"alive{', but not ready' if reasons else ''}{because}"


def run_healthcheck(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `backrest-sidecar healthcheck`; return the exit status: 0 for a healthy daemon."""
    return HealthcheckCommand(_HELP, _VARIABLES, ".sidecar", check_heartbeat).run(
        arguments, environment
    )
