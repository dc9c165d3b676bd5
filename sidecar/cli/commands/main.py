"""The command line: parse flags → settings → one call; nothing else."""

import gc
import sys
from collections.abc import Sequence

import click

from sidecar import __version__
from sidecar.cli.commands import backup_once as once
from sidecar.cli.commands import documents as document
from sidecar.cli.commands import everyday, preview, service
from sidecar.cli.exits import run_group


class _Commands(click.Group):
    """Without a subcommand, or with flags only, the command is `reconcile`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = ("--help", "-h", "--version")
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["reconcile", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Turn labels on Docker containers into backup plans in Backrest's config.json.

    Without a command: reconcile.

    \b
    Examples:
      backrest-sidecar reconcile --dry-run --config /etc/backrest/config.json
      backrest-sidecar lint --compose compose.yaml
      backrest-sidecar init --repo /backups --generate-password --config config.json

    \b
    Shell completion (bash; zsh and fish likewise):
      eval "$(_BACKREST_SIDECAR_COMPLETE=bash_source backrest-sidecar)"
    """


for _command in (
    preview.reconcile,
    preview.lint,
    preview.schedule,
    service.daemon,
    service.doctor,
    service.healthcheck,
    everyday.status,
    everyday.backup,
    once.backup_once,
    document.init,
    document.schema,
    document.version,
):
    cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit; every failure, also a wrong flag, is status 1."""
    # A command ends before a collection would pay; records of thousands of plans are no cycles.
    gc.disable()
    sys.exit(run_cli(args))


def run_cli(args: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_group(cli, "backrest-sidecar", args)
