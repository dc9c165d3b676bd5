"""`backrest-runner healthcheck`: its help, its variables and its folder."""

from sidecar.service.healthcheck import Healthcheck

HEALTHCHECK = Healthcheck(
    """\
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
""",
    prefix="BACKREST_RUNNER_",
    folder=".runner",
)
