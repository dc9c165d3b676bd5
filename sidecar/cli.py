"""The command line: parse flags → settings → one call; nothing else."""

import gc
import logging
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from sidecar import __version__
from sidecar.errors import SidecarError
from sidecar.options import (
    build_settings,
    config_option,
    log_options,
    option,
    policy_options,
    source_options,
)

FAILED, CHANGED, PROBLEMS = 1, 2, 3


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


@cli.command()
@config_option
@option("--dry-run", is_flag=True, help="Show what would be written; write nothing.")
@option(
    "--output",
    type=click.Choice(["table", "json", "diff"]),
    default="table",
    help="Form of the result on standard output.",
)
@option(
    "--detailed-exitcode", is_flag=True, help="Exit with 2 when something was or would be changed."
)
@option(
    "--config-mode",
    default="keep",
    help="Permission bits of the document: keep, or octal. A new file gets 0600.",
)
@source_options
@policy_options
@log_options
def reconcile(dry_run: bool, output: str, detailed_exitcode: bool, **flags: Any) -> None:
    """Bring the document in line with the labelled containers, once.

    \b
    Exit status: 0 done; 1 failed, nothing was written; 3 a labelled workload has an
    error or gets less than was asked; with --detailed-exitcode 2 when changed.

    \b
    Examples:
      backrest-sidecar reconcile --dry-run
      backrest-sidecar reconcile --dry-run --output diff
      backrest-sidecar reconcile --dry-run --compose compose.yaml
    """
    from sidecar.show.outcome import render_outcome_diff, render_outcome_json
    from sidecar.show.table import RESTART_NOTE, render_table
    from sidecar.watch.observe import observe
    from sidecar.watch.reconciler import reconcile_once

    settings = build_settings(flags)
    now = datetime.now().astimezone()
    inventory, settings = observe(settings)
    outcome = reconcile_once(settings, inventory, now, dict(os.environ), dry_run=dry_run)
    if output == "json":
        click.echo(render_outcome_json(outcome))
    elif output == "diff":
        click.echo(render_outcome_diff(outcome), nl=False)
    else:
        click.echo(render_table(outcome, now))
    if outcome.written and output != "table":
        logging.getLogger("sidecar.cli").warning(RESTART_NOTE)
    if outcome.has_serious_problems:
        raise click.exceptions.Exit(PROBLEMS)
    if detailed_exitcode and outcome.changed:
        raise click.exceptions.Exit(CHANGED)


@cli.command()
@config_option
@option("--strict", is_flag=True, help="Exit with 3 for warnings too.")
@option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="Form of the result on standard output; github: annotations of a workflow.",
)
@source_options
@policy_options
@log_options
def lint(strict: bool, form: str, **flags: Any) -> None:
    """Look for all that is wrong with the labels, and which mounts no plan holds.

    Writes nothing. Works without a document too: then repositories are not checked.

    \b
    Exit status: 0 clean; 1 failed; 3 a labelled workload has an error or gets less
    than was asked, with --strict also when there is a warning.

    \b
    Examples:
      backrest-sidecar lint
      backrest-sidecar lint --strict --compose compose.yaml
      backrest-sidecar lint --compose compose.yaml --format github
    """
    from sidecar.show.lint import render_lint
    from sidecar.watch.lint import lint_once

    report = lint_once(build_settings(flags), datetime.now().astimezone(), dict(os.environ))
    if text := render_lint(report, form):
        click.echo(text)
    if report.has_failed(strict=strict):
        raise click.exceptions.Exit(PROBLEMS)


@cli.command()
@config_option
@option("--hours", type=click.IntRange(1, 31 * 24), default=24, help="How far to look ahead.")
@option("--timezone", help="The runner's time zone.  [default: its container's TZ, else ours]")
@option(
    "--output",
    type=click.Choice(["all", "timeline", "table", "json"]),
    default="all",
    help="Form of the result on standard output; all: timeline and table.",
)
@option("--docker-sock", variables=("DOCKER_HOST",), help="Engine that knows the runner.")
@option("--backrest-container", default="backrest", help="Name of the runner's container.")
@log_options
def schedule(config: Path, hours: int, output: str, **flags: Any) -> None:
    """Show the next runs of all plans of the document, and where they clump.

    \b
    Examples:
      backrest-sidecar schedule
      backrest-sidecar schedule --hours 168 --timezone Europe/Berlin --output timeline
    """
    from sidecar.kit.log import start_logging
    from sidecar.show.timeline import read_agenda, render_agenda
    from sidecar.watch.reconciler import read_document
    from sidecar.watch.zones import resolve_zone

    start_logging(flags["log_level"], flags["log_format"])
    document = read_document(config)
    zone = resolve_zone(flags["timezone"], flags["docker_sock"], flags["backrest_container"])
    agenda = read_agenda(document, str(config), datetime.now(zone.zone), hours, zone)
    click.echo(render_agenda(agenda, output))


@cli.command()
@config_option
@option("--repo", required=True, help="restic URI of the repository, for example /backups.")
@option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that holds the repository's password.",
)
@option("--generate-password", is_flag=True, help="Make a password; it stands in the document.")
@option("--repo-id", default="default", help="Id of the repository in the document.")
@option("--instance", help="Name of this Backrest.  [default: this host's name]")
@option("--if-absent", is_flag=True, help="Succeed without a change when the file exists.")
@option("--config-mode", default="keep", help="Permission bits of the new file.  [default: 0600]")
@log_options
def init(**flags: Any) -> None:
    """Create a document with one repository, which Backrest initialises when it starts.

    \b
    Examples:
      backrest-sidecar init --repo /backups --generate-password
      backrest-sidecar init --repo s3:https://host/bucket --password-file pw --if-absent
    """
    from sidecar.kit.log import start_logging
    from sidecar.watch.init import create_document

    start_logging(flags.pop("log_level"), flags.pop("log_format"))
    for line in create_document(**flags):
        click.echo(line)


@cli.command()
@click.argument("kind", type=click.Choice(["document", "labels"]), default="document")
@option("--label-prefix", default="backrest.", help="What our labels begin with.")
def schema(kind: str, label_prefix: str) -> None:
    """Print the JSON Schema of the document or of the labels, for editors.

    \b
    Examples:
      backrest-sidecar schema document > config.schema.json
      backrest-sidecar schema labels > labels.schema.json
    """
    from sidecar.show.schema import render_schema

    click.echo(render_schema(kind, label_prefix))


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit; every failure, also a wrong flag, is status 1."""
    # A command ends before a collection would pay; records of thousands of plans are no cycles.
    gc.disable()
    sys.exit(run_cli(args))


def run_cli(args: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    try:
        status = cli.main(args, prog_name="backrest-sidecar", standalone_mode=False)
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
