"""`backrest-sidecar` and `python -m sidecar`: the quick check first, else the command line."""

import os
import sys

from sidecar.service.start import start


def main() -> None:
    """Run the command line and exit."""
    start(_check, _run_commands)


def _check() -> int:
    from sidecar.reconciler.healthcheck import HEALTHCHECK  # noqa: PLC0415 - imports little

    return HEALTHCHECK.run(sys.argv[2:], os.environ)


def _run_commands() -> None:
    from sidecar.cli.commands.main import main as run_commands  # noqa: PLC0415 - imports much

    run_commands()


if __name__ == "__main__":
    main()
