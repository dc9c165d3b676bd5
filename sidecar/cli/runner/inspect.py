"""plans, history and snapshots: what is planned, was run and is saved."""

import os
from typing import Any

import click

from sidecar.cli.output.terminal import terminal_width
from sidecar.cli.output.text import echo
from sidecar.cli.runner.options import document_options, log_options, option, program_options
from sidecar.cli.runner.settings import build_settings

output_option = option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    help="Form of the result on standard output.",
)


@click.command()
@document_options
@output_option
@log_options
def plans(output: str, **flags: Any) -> None:
    """Show each plan: its schedule, its next run, and how the last one ended.

    \b
    Examples:
      backrest-runner plans
      backrest-runner plans --output json
    """
    from sidecar.cli.output.runner_tables import read_plans, render_plans

    rows = read_plans(build_settings(flags), os.environ)
    echo(render_plans(rows, output, terminal_width()), form=output)


@click.command()
@click.argument("plan", metavar="[PLAN|REPO]", required=False)
@option("--limit", type=click.IntRange(min=1), default=20, help="How many runs are shown.")
@option("--verbose", is_flag=True, help="Show below each run the last lines of its program.")
@document_options
@output_option
@log_options
def history(plan: str | None, limit: int, verbose: bool, output: str, **flags: Any) -> None:
    """Show the newest runs, and fires that were missed, newest first.

    \b
    Examples:
      backrest-runner history
      backrest-runner history web --limit 100
      backrest-runner history web --limit 1 --verbose
    """
    from sidecar.cli.output.runner_tables import read_history, render_history

    rows = read_history(build_settings(flags), os.environ, plan, limit)
    echo(render_history(rows, output, terminal_width(), is_verbose=verbose), form=output)


@click.command()
@click.argument("plan")
@document_options
@program_options
@output_option
@log_options
def snapshots(plan: str, output: str, **flags: Any) -> None:
    """List the snapshots of a plan, oldest first, whoever made them.

    \b
    Examples:
      backrest-runner snapshots web
    """
    from sidecar.cli.output.runner_tables import read_snapshots, render_snapshots

    rows = read_snapshots(build_settings(flags), os.environ, plan)
    echo(render_snapshots(rows, output, terminal_width()), form=output)
