"""The command line of backrest-runner: all its commands."""

import sys
from collections.abc import Sequence

import click

from sidecar import __version__
from sidecar.cli.exits import run_group
from sidecar.cli.group import CommandEntry, CommandGroup, CommandTable

_HERE = "sidecar.cli.runner."
_COMMANDS = (
    CommandEntry(
        "status",
        f"{_HERE}status",
        "Tell whether everything is backed up: each service, and each data mount in no plan.",
        CommandGroup.EVERYDAY,
    ),
    CommandEntry(
        "plans",
        f"{_HERE}inspect",
        "Show each plan: its schedule, its next run, and how the last one ended.",
        CommandGroup.EVERYDAY,
    ),
    CommandEntry(
        "run",
        f"{_HERE}backup",
        "Back plans up now, one after another, with their hooks and retention.",
        CommandGroup.EVERYDAY,
    ),
    CommandEntry(
        "backup",
        f"{_HERE}backup",
        "Let the running daemon back a plan up now, and wait for the end.",
        CommandGroup.EVERYDAY,
    ),
    CommandEntry(
        "restore",
        f"{_HERE}restore",
        "Bring the data of services back, from their latest snapshots if nothing else is said.",
        CommandGroup.EVERYDAY,
    ),
    CommandEntry(
        "history",
        f"{_HERE}inspect",
        "Show the newest runs, and fires that were missed, newest first.",
        CommandGroup.EVERYDAY,
    ),
    CommandEntry(
        "snapshots",
        f"{_HERE}inspect",
        "List the snapshots of a plan, oldest first, whoever made them.",
        CommandGroup.SNAPSHOTS,
    ),
    CommandEntry(
        "ls",
        f"{_HERE}browse",
        "List what a snapshot holds, at paths as the container sees them.",
        CommandGroup.SNAPSHOTS,
    ),
    CommandEntry(
        "find",
        f"{_HERE}browse",
        "Find files and folders by name in the snapshots of a plan, the newest first.",
        CommandGroup.SNAPSHOTS,
    ),
    CommandEntry(
        "cat",
        f"{_HERE}browse",
        "Write the content of files of a snapshot to standard output, byte for byte.",
        CommandGroup.SNAPSHOTS,
    ),
    CommandEntry(
        "diff",
        f"{_HERE}browse",
        "Show what was added, removed or changed from one snapshot to another.",
        CommandGroup.SNAPSHOTS,
    ),
    CommandEntry(
        "stats",
        f"{_HERE}browse",
        "Show how many snapshots there are, of when, and how much they take; of all plans.",
        CommandGroup.SNAPSHOTS,
    ),
    CommandEntry(
        "mount",
        f"{_HERE}browse",
        "Mount the snapshots of a plan or a repository on a folder, until it is interrupted.",
        CommandGroup.SNAPSHOTS,
    ),
    CommandEntry(
        "verify",
        f"{_HERE}restore",
        "Restore files of the latest snapshot that chance chooses, and compare them byte for byte.",
        CommandGroup.REPOSITORIES,
    ),
    CommandEntry(
        "check",
        f"{_HERE}upkeep",
        "Look whether repositories are sound, by their check policy; all if none is named.",
        CommandGroup.REPOSITORIES,
    ),
    CommandEntry(
        "prune",
        f"{_HERE}upkeep",
        "Free the space in repositories that no snapshot uses; in all if none is named.",
        CommandGroup.REPOSITORIES,
    ),
    CommandEntry(
        "unlock",
        f"{_HERE}upkeep",
        "Remove locks that nobody holds any more; of all repositories if none is named.",
        CommandGroup.REPOSITORIES,
    ),
    CommandEntry(
        "restic",
        f"{_HERE}browse",
        "Run restic itself on a repository, with its address, its password and its flags.",
        CommandGroup.REPOSITORIES,
    ),
    CommandEntry(
        "rsync",
        f"{_HERE}browse",
        "Run rsync itself on a repository, over its ssh where it has one.",
        CommandGroup.REPOSITORIES,
    ),
    CommandEntry(
        "daemon",
        f"{_HERE}service",
        "Execute the document's plans on their schedules, until it is stopped.",
        CommandGroup.SERVICE,
    ),
    CommandEntry(
        "doctor",
        f"{_HERE}service",
        "Check restic and each repository, and what else backups need; show what is wrong.",
        CommandGroup.SERVICE,
    ),
    CommandEntry(
        "healthcheck",
        f"{_HERE}service",
        "Tell by the exit status whether the daemon and its backups are well.",
        CommandGroup.SERVICE,
    ),
    CommandEntry(
        "notify",
        f"{_HERE}notify",
        "Send a test message to each address of --notify-url, and say whether it was taken.",
        CommandGroup.SERVICE,
    ),
    CommandEntry("version", "sidecar.cli.version", "Print the version."),
)


@click.group(
    cls=CommandTable, table=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
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


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit; every failure, also a wrong flag, is status 1."""
    sys.exit(run_cli(args))


def run_cli(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_group(cli, "backrest-runner", args)
