"""The command line of backrest-sidecar: all its commands, and `reconcile` by default."""

import gc
import sys
from collections.abc import Sequence

import click

from sidecar import __version__
from sidecar.cli.commands import backup_once, documents, everyday, preview, service
from sidecar.cli.exits import run_group


class _Commands(click.Group):
    """A group whose command is `reconcile` if none is named."""

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
    backup_once.backup_once,
    documents.init,
    documents.schema,
    documents.version,
):
    cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit; every failure, also a wrong flag, is status 1."""
    # A command ends before collecting garbage would pay: thousands of plans form no cycles.
    gc.disable()
    sys.exit(run_cli(args))


def run_cli(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_group(cli, "backrest-sidecar", args)
