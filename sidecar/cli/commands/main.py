"""The command line of backrest-sidecar: its commands, and `reconcile` for flags without one."""

import gc
import sys
from collections.abc import Sequence

import click

from sidecar import __version__
from sidecar.cli.exits import run_group
from sidecar.cli.group import CommandEntry, CommandGroup, CommandTable

_HERE = "sidecar.cli.commands."
_COMMANDS = (
    CommandEntry(
        "status",
        f"{_HERE}everyday",
        "Tell whether everything is backed up: each service, and each data mount in no plan.",
        CommandGroup.EVERYDAY,
    ),
    CommandEntry(
        "backup",
        f"{_HERE}everyday",
        "Let Backrest run a plan now, and wait for the end.",
        CommandGroup.EVERYDAY,
    ),
    CommandEntry(
        "restore",
        f"{_HERE}everyday",
        "Print the command that restores services, which the sidecar has not the rights to do.",
        CommandGroup.EVERYDAY,
    ),
    CommandEntry(
        "backup-once",
        f"{_HERE}backup_once",
        "Back up everything once, with containers stopped around it.",
        CommandGroup.EVERYDAY,
    ),
    CommandEntry(
        "schedule",
        f"{_HERE}preview",
        "Show the next runs of all plans of the documents, or of some, and where they clump.",
        CommandGroup.EVERYDAY,
    ),
    CommandEntry(
        "reconcile",
        f"{_HERE}preview",
        "Bring the document in line with the labelled containers, once.",
        CommandGroup.LABELS,
    ),
    CommandEntry(
        "lint",
        f"{_HERE}preview",
        "Look for all that is wrong with the labels, and which mounts no plan holds.",
        CommandGroup.LABELS,
    ),
    CommandEntry(
        "init",
        f"{_HERE}documents",
        "Create a document with one repository, made when Backrest or the runner starts.",
        CommandGroup.LABELS,
    ),
    CommandEntry(
        "schema",
        f"{_HERE}documents",
        "Print the JSON Schema of the document or of the labels, for editors.",
        CommandGroup.LABELS,
    ),
    CommandEntry(
        "daemon",
        f"{_HERE}service",
        "Keep the document in line with the labelled containers, until it is stopped.",
        CommandGroup.SERVICE,
    ),
    CommandEntry(
        "doctor",
        f"{_HERE}service",
        "Check all that backups depend on, and show what is wrong and what to do.",
        CommandGroup.SERVICE,
    ),
    CommandEntry(
        "healthcheck",
        f"{_HERE}service",
        "Tell by the exit status whether the daemon is well.",
        CommandGroup.SERVICE,
    ),
    CommandEntry("version", "sidecar.cli.version", "Print the version."),
)


class _Commands(CommandTable):
    """A group whose command is `reconcile` if flags are given, and no command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = ("--help", "-h", "--version")
        if args and args[0].startswith("-") and args[0] not in own:
            args = ["reconcile", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_Commands, table=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__)
def cli() -> None:
    """Turn labels on Docker containers into backup plans in Backrest's config.json.

    Flags without a command are those of reconcile.

    \b
    Examples:
      backrest-sidecar reconcile --dry-run --config /etc/backrest/config.json
      backrest-sidecar lint compose.yaml
      backrest-sidecar init --repo /backups --generate-password --config config.json

    \b
    Shell completion (bash; zsh and fish likewise):
      eval "$(_BACKREST_SIDECAR_COMPLETE=bash_source backrest-sidecar)"
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit; every failure, also a wrong flag, is status 1."""
    # A command ends before collecting garbage would pay: thousands of plans form no cycles.
    gc.disable()
    sys.exit(run_cli(args))


def run_cli(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_group(cli, "backrest-sidecar", args)
