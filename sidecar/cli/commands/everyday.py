"""status and backup: what people want of Backrest every day, by the names of their services."""

import os
from functools import partial
from typing import Any

import click

from sidecar.cli.commands.options import (
    access_options,
    docker_option,
    documents_option,
    lifetime_options,
    log_options,
    name_argument,
    option,
    policy_options,
)
from sidecar.cli.commands.settings import build_settings
from sidecar.cli.exits import ATTENTION, SUCCESS, status_of_operation
from sidecar.cli.output.terminal import terminal_width
from sidecar.cli.output.text import echo
from sidecar.reconciler.settings import parse_duration


@click.command()
@documents_option
@option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    help="Form of the result on standard output.",
)
@option("--timezone", help="The runner's time zone.  [default: its container's TZ, else ours]")
@access_options
@docker_option
@policy_options
@lifetime_options
@log_options
def status(output: str, timezone: str | None, **flags: Any) -> None:
    """Show each workload: its plan, last and next run, and what is wrong with it.

    What was run is Backrest's to know: give --backrest-url to see it.

    Exit status: 0 all is well; 1 failed; 3 something needs attention.

    \b
    Examples:
      backrest-sidecar status --backrest-url http://backrest:9898
      backrest-sidecar status --output json
    """
    from sidecar.cli.output.status import render_status
    from sidecar.reconciler.status import run_status

    report = run_status(build_settings(flags), dict(os.environ), timezone)
    echo(render_status(report, output, terminal_width()), form=output)
    raise click.exceptions.Exit(ATTENTION if report.needs_attention else SUCCESS)


@click.command()
@name_argument("plan", "SERVICE|PLAN")
@documents_option
@option(
    "--timeout",
    metavar="DURATION",
    help="How long to wait for the end of the run.  [default: as long as it takes]",
)
@option(
    "--no-wait",
    is_flag=True,
    help="Run the plan as Backrest has it, also where a change of its labels waits.",
)
@access_options
@docker_option
@policy_options
@lifetime_options
@log_options
def backup(plan: str, timeout: str | None, no_wait: bool, **flags: Any) -> None:
    """Let Backrest run a plan now, and wait for the end.

    A plan may be named by its service, project/service or the service alone if it is the only one
    of that name, by a container, a group, or its id. A change
    of its labels that Backrest has not loaded yet is loaded first.

    Exit status: 0 done; 1 failed or not run; 3 a snapshot was made, with warnings.

    \b
    Examples:
      backrest-sidecar backup demo/db --backrest-url http://backrest:9898
      backrest-sidecar backup backrest_sidecar_demo_db --timeout 2h
    """
    from sidecar.reconciler.backup import BackupRequest, run_backup

    seconds = None if timeout is None else parse_duration("--timeout", timeout)
    settings = build_settings(flags)
    request = BackupRequest(plan, seconds, waits=not no_wait, tell=partial(echo, err=True))
    result = run_backup(settings, request, dict(os.environ))
    echo(result.words)
    raise click.exceptions.Exit(status_of_operation(result.ending))
