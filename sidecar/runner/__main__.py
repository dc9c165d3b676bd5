"""`backrest-runner` and `python -m sidecar.runner`: the quick check first, else the rest."""

import os
import sys


def main() -> None:
    """Run the command line and exit."""
    # The check runs every few seconds: it must not wait for all that the others import.
    if sys.argv[1:2] == ["healthcheck"]:
        from sidecar.runner.health.pulse import run_healthcheck  # noqa: PLC0415 - imports little

        sys.exit(run_healthcheck(sys.argv[2:], os.environ))
    if os.getpid() == 1:
        _heed_sigterm()
    from sidecar.runner.cli import main as run_commands  # noqa: PLC0415 - imports much

    run_commands()


def _heed_sigterm() -> None:
    """End by SIGTERM as any other process does: the first one of a container would ignore it."""
    import signal  # noqa: PLC0415 - the quick check needs none

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


if __name__ == "__main__":
    main()
