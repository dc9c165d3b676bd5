"""`backrest-sidecar` and `python -m sidecar`: the quick check first, else the command line."""

import os
import sys


def main() -> None:
    """Run the command line and exit."""
    # The check runs every few seconds: it must not wait for all that the others import.
    if sys.argv[1:2] == ["healthcheck"]:
        from sidecar.watch.pulse import run_healthcheck  # noqa: PLC0415 - imports little

        sys.exit(run_healthcheck(sys.argv[2:], os.environ))
    from sidecar.cli import main as run_commands  # noqa: PLC0415 - imports much

    run_commands()


if __name__ == "__main__":
    main()
