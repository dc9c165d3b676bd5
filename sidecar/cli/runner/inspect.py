"""plans, history and snapshots: what is planned, was run and is saved."""

import os
from typing import Any

import click

from sidecar.cli.names import resolve_name, shown_names
from sidecar.cli.options import table_flag, wide_flag
from sidecar.cli.output.terminal import terminal_width
from sidecar.cli.output.text import echo
from sidecar.cli.runner.options import (
    document_options,
    log_options,
    name_argument,
    option,
    program_options,
)
from sidecar.cli.runner.settings import build_settings, read_names_for

output_option = table_flag(option)


@click.command()
@wide_flag(option)
@document_options
@output_option
@log_options
def plans(output: str, is_wide: bool, **flags: Any) -> None:
    """Show each plan: its schedule, its next run, and how the last one ended.

    \b
    Examples:
      backrest-runner plans
      backrest-runner plans --output json
    """
    from sidecar.cli.output.runner_tables import read_plans, render_plans

    settings = build_settings(flags)
    shown = shown_names(read_names_for(settings))
    rows = read_plans(settings, os.environ, shown)
    echo(render_plans(rows, output, terminal_width(), is_wide=is_wide), form=output)


@click.command()
@name_argument("plan", "[SERVICE|PLAN|REPO]", required=False, repos=True)
@option("--limit", type=click.IntRange(min=1), default=20, help="How many runs are shown.")
@option("--verbose", is_flag=True, help="Show below each run the last lines of its program.")
@wide_flag(option)
@document_options
@output_option
@log_options
def history(
    plan: str | None, limit: int, verbose: bool, is_wide: bool, output: str, **flags: Any
) -> None:
    """Show the newest runs, and fires that were missed, newest first.

    \b
    Examples:
      backrest-runner history
      backrest-runner history media/db --limit 100
      backrest-runner history media/db --limit 1 --verbose
    """
    from sidecar.cli.output.runner_tables import HistoryView, read_history, render_history

    settings = build_settings(flags)
    names = read_names_for(settings)
    rows = read_history(settings, os.environ, names, plan, limit)
    view = HistoryView(shown_names(names), is_verbose=verbose, is_wide=is_wide)
    echo(render_history(rows, output, terminal_width(), view), form=output)


@click.command()
@name_argument("plan", "SERVICE|PLAN")
@document_options
@program_options
@output_option
@log_options
def snapshots(plan: str, output: str, **flags: Any) -> None:
    """List the snapshots of a plan, oldest first, whoever made them.

    \b
    Examples:
      backrest-runner snapshots media/db
    """
    from sidecar.cli.output.runner_tables import read_snapshots, render_snapshots

    settings = build_settings(flags)
    found = resolve_name(plan, read_names_for(settings))
    rows = read_snapshots(settings, os.environ, found)
    echo(render_snapshots(rows, output, terminal_width()), form=output)
