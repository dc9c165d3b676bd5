"""reconcile, lint and schedule: once, by hand, mostly to see what would be done."""

import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from sidecar.cli.commands.options import (
    backrest_option,
    documents_option,
    lifetime_options,
    log_options,
    mode_option,
    name_argument,
    option,
    policy_options,
    source_options,
    state_dir_option,
)
from sidecar.cli.commands.settings import build_settings
from sidecar.cli.exits import ATTENTION, CHANGED
from sidecar.cli.names import name_files, names_of, plan_type, read_names, resolve_name, shown_names
from sidecar.cli.options import wide_flag
from sidecar.cli.output.terminal import terminal_width
from sidecar.cli.output.text import echo


@click.command()
@documents_option
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
@mode_option
@source_options
@policy_options
@lifetime_options
@option("--accept-orphans", is_flag=True, help="Act on the orphans although they are many.")
@option("--accept-engine", is_flag=True, help="Go on although the engine is another one.")
@option(
    "--take-over",
    multiple=True,
    metavar="SERVICE|PLAN",
    type=plan_type("state_dir"),
    help="Let another workload than its owner go on with this plan; repeatable.",
)
@log_options
def reconcile(dry_run: bool, output: str, detailed_exitcode: bool, **flags: Any) -> None:
    """Bring the document in line with the labelled containers, once.

    Exit status: 0 done; 1 failed, nothing was written; 3 a labelled workload has an
    error or gets less than was asked; with --detailed-exitcode 2 when changed.

    \b
    Examples:
      backrest-sidecar reconcile --dry-run
      backrest-sidecar reconcile --dry-run --output diff
      backrest-sidecar reconcile --dry-run --compose compose.yaml
    """
    from sidecar.cli.output.changes import render_outcome_diff, render_outcome_json
    from sidecar.cli.output.plan_table import RESTART_NOTE, render_table
    from sidecar.reconciler.reconcile import reconcile_now

    now = datetime.now().astimezone()
    if flags["take_over"]:
        names = read_names(name_files(flags["config"], flags["runner_config"], flags["state_dir"]))
        flags["take_over"] = [resolve_name(one, names) for one in flags["take_over"]]
    outcome = reconcile_now(build_settings(flags), now, dict(os.environ), dry_run=dry_run)
    if output == "json":
        echo(render_outcome_json(outcome), form="json")
    elif output == "diff":
        echo(render_outcome_diff(outcome), nl=False)
    else:
        echo(render_table(outcome, now, terminal_width()))
    if outcome.config in outcome.written and output != "table":
        logging.getLogger(__name__).warning(RESTART_NOTE)
    if outcome.has_serious_problems:
        raise click.exceptions.Exit(ATTENTION)
    if detailed_exitcode and outcome.changed:
        raise click.exceptions.Exit(CHANGED)


@click.command()
@documents_option
@option("--strict", is_flag=True, help="Exit with 3 for warnings too.")
@option(
    "--each",
    is_flag=True,
    help="Each Compose file, with the override beside it, is a project of its own.",
)
@option(
    "--output",
    "--format",
    "output",
    variables=("BACKREST_SIDECAR_FORMAT",),
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="Form of the result on standard output; github: annotations of a workflow.",
)
@source_options
@policy_options
@log_options
def lint(strict: bool, output: str, each: bool, **flags: Any) -> None:
    """Look for all that is wrong with the labels, and which mounts no plan holds.

    Of the engine's containers, or of the Compose files that are named. Writes nothing. Works
    without a document too: then repositories are not checked. Several Compose files are merged
    to one project, unless --each is given.

    Exit status: 0 clean; 1 failed; 3 a labelled workload has an error or gets less
    than was asked, with --strict also when there is a warning.

    \b
    Examples:
      backrest-sidecar lint
      backrest-sidecar lint --strict compose.yaml
      backrest-sidecar lint compose.yaml --output github
      backrest-sidecar lint --each media/compose.yaml wiki/compose.yaml
    """
    from sidecar.cli.output.lint import render_lint
    from sidecar.reconciler.lint import lint_each, lint_once

    flags["compose"], flags["files"] = (*flags["compose"], *flags["files"]), ()
    if each and (not flags["compose"] or "-" in flags["compose"]):
        raise click.UsageError("--each takes the names of Compose files")
    run_lint = lint_each if each else lint_once
    report = run_lint(build_settings(flags), datetime.now().astimezone(), dict(os.environ))
    workspace = os.environ.get("GITHUB_WORKSPACE", "")
    if text := render_lint(report, output, workspace, terminal_width()):
        echo(text, form=output)
    if report.has_failed(strict=strict):
        raise click.exceptions.Exit(ATTENTION)


@click.command()
@name_argument("plans", "[SERVICE|PLAN]...", nargs=-1)
@documents_option
@state_dir_option
@option("--hours", type=click.IntRange(1, 31 * 24), default=24, help="How far to look ahead.")
@option("--timezone", help="The runner's time zone.  [default: its container's TZ, else ours]")
@option(
    "--output",
    type=click.Choice(["all", "timeline", "table", "json"]),
    default="all",
    help="Form of the result on standard output; all: timeline and table.",
)
@wide_flag(option)
@option("--docker-sock", variables=("DOCKER_HOST",), help="Engine that knows the runner.")
@backrest_option
@log_options
def schedule(
    plans: tuple[str, ...],
    config: Path,
    runner_config: Path | None,
    hours: int,
    output: str,
    is_wide: bool,
    **flags: Any,
) -> None:
    """Show the next runs of all plans of the documents, or of some, and where they clump.

    \b
    Examples:
      backrest-sidecar schedule
      backrest-sidecar schedule media/db --hours 168
      backrest-sidecar schedule --hours 168 --timezone UTC --output timeline
    """
    from sidecar.cli.output.timeline import read_upcoming, render_upcoming
    from sidecar.cli.output.warnings import start_messages
    from sidecar.reconciler.reconcile import read_plans
    from sidecar.reconciler.settings import ReconcilerSettings
    from sidecar.reconciler.zones import resolve_zone

    start_messages(flags["log_level"], flags["log_format"])
    settings = ReconcilerSettings(config, runner_config=runner_config)
    standing = read_plans(settings)
    files = name_files(config, runner_config, flags["state_dir"])
    names = names_of(standing, files.workloads)
    asked = [resolve_name(one, names) for one in plans]
    chosen = {one: standing[one] for one in asked or standing}
    zone = resolve_zone(flags["timezone"], flags["docker_sock"], flags["backrest_container"])
    now, shown = datetime.now(zone.zone), shown_names(names)
    upcoming = read_upcoming(chosen, str(config), now, hours, zone, shown)
    echo(render_upcoming(upcoming, output, terminal_width(), is_wide=is_wide), form=output)
