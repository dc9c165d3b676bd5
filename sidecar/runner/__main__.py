"""Start `backrest-runner`, or `python -m sidecar.runner`: `healthcheck` without the rest."""

import os
import sys

from sidecar.service.start import start


def main() -> None:
    """Run the command line and exit."""
    start(_check, _run_commands)


def _check() -> int:
    from sidecar.runner.healthcheck import HEALTHCHECK  # noqa: PLC0415 - imports little

    return HEALTHCHECK.run(sys.argv[2:], os.environ)


def _run_commands() -> None:
    from sidecar.cli.runner.main import main as run_commands  # noqa: PLC0415 - imports much

    run_commands()


if __name__ == "__main__":
    main()
