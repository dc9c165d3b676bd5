"""The command line of backrest-runner: all its commands."""

import sys
from collections.abc import Sequence

import click

from sidecar import __version__
from sidecar.cli.exits import run_group
from sidecar.cli.runner import backup, inspect, notify, restore, service, upkeep


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Execute the backup plans of Backrest's config.json, without Backrest.

    \b
    Examples:
      backrest-runner daemon --config /config/config.json
      backrest-runner run web
      backrest-runner history web

    \b
    Shell completion (bash; zsh and fish likewise):
      eval "$(_BACKREST_RUNNER_COMPLETE=bash_source backrest-runner)"
    """


for _command in (
    service.daemon,
    backup.run,
    backup.backup,
    inspect.plans,
    inspect.history,
    inspect.snapshots,
    restore.restore,
    restore.verify,
    upkeep.check,
    upkeep.prune,
    upkeep.unlock,
    notify.notify,
    service.healthcheck,
    service.version,
):
    cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit; every failure, also a wrong flag, is status 1."""
    sys.exit(run_cli(args))


def run_cli(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_group(cli, "backrest-runner", args)
