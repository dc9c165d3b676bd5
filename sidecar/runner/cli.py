"""The runner's command line: parse flags → settings → one call; nothing else."""

import os
import sys
from collections.abc import Sequence

import click

from sidecar import __version__
from sidecar.errors import SidecarError
from sidecar.runner.commands import looks, restoring, runs, service, upkeep
from sidecar.runner.commands.exits import FAILED


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
    runs.run,
    runs.backup,
    looks.plans,
    looks.history,
    looks.snapshots,
    *restoring.COMMANDS,
    upkeep.check,
    upkeep.prune,
    upkeep.unlock,
    service.healthcheck,
    service.version,
):
    cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit; every failure, also a wrong flag, is status 1."""
    sys.exit(run_cli(args))


def run_cli(args: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    try:
        status = cli.main(args, prog_name="backrest-runner", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return FAILED
    except click.Abort:
        return FAILED
    except SidecarError as error:
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  → {error.hint}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; the result may be cut, so no success.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status if isinstance(status, int) else 0
