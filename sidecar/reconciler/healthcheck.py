"""`backrest-sidecar healthcheck`: its help, its variables and its folder."""

from sidecar.service.healthcheck import Healthcheck

HEALTHCHECK = Healthcheck(
    """\
Usage: backrest-sidecar healthcheck [OPTIONS]

  Tell by the exit status whether the daemon is well.

  Reads the heartbeat in the daemon's state directory, so give it the daemon's
  own --config or --state-dir, or set their variables for both. Well means: it
  moved within three intervals and 30 seconds, and within that time a pass
  succeeded or it started.

  Exit status: 0 it is well; 1 it is not.

  Examples:
    backrest-sidecar healthcheck
    backrest-sidecar healthcheck --state-dir /state
""",
    prefix="BACKREST_SIDECAR_",
    folder=".sidecar",
)
