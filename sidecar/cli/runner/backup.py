"""run and backup: plans now, in this process or by the daemon."""

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sidecar.cli.exits import ATTENTION, FAILED, SUCCESS, worst
from sidecar.cli.names import resolve_name, shown_names
from sidecar.cli.options import Flag, lines_option
from sidecar.cli.output.text import echo
from sidecar.cli.runner.options import (
    document_options,
    empty_options,
    log_options,
    name_argument,
    neighbour_options,
    notify_options,
    option,
    program_options,
)
from sidecar.cli.runner.settings import build_settings, read_names_for
from sidecar.engines.base import BackupType
from sidecar.lib.errors import UsageError
from sidecar.runner.due import Job, JobKind, backup_job

if TYPE_CHECKING:
    from sidecar.cli.output.runs import ProgressLine
    from sidecar.runner.settings import RunnerSettings
    from sidecar.runner.union import Documents


# Without a variable: it is said once, of one plan.
_accept_option = click.option(
    "--accept-empty",
    cls=Flag,
    is_flag=True,
    help="The plan may hold no file from now on, until it holds some again.",
)
_type_option = click.option(
    "--type",
    "wanted",
    cls=Flag,
    type=click.Choice([one.value for one in BackupType]),
    callback=lambda _context, _option, value: value and BackupType(value),
    help="The type of the backup, where the engine has types; restic and rsync have none.",
)


@click.command()
@name_argument("plans", "[SERVICE|PLAN]...", nargs=-1)
@option("--all", "all_plans", is_flag=True, help="Every plan that has a schedule.")
@option(
    "--dry-run",
    is_flag=True,
    help="Say what would be saved; run no hook, save, forget and send nothing.",
)
@_accept_option
@_type_option
@lines_option
@document_options
@program_options
@empty_options
@notify_options
@neighbour_options
@log_options
def run(
    plans: tuple[str, ...],
    all_plans: bool,
    dry_run: bool,
    accept_empty: bool,
    wanted: BackupType | None,
    output: str,
    **flags: Any,
) -> None:
    """Back plans up now, one after another, with their hooks and retention.

    For where no daemon runs: beside one use `backup`.

    A plan may be named by its service, project/service or the service alone if it is the only one
    of that name, by a container, a group, or its id.

    A run that finds no file, where an earlier snapshot of the plan holds some, is a warning, and
    nothing of the plan is forgotten. With --accept-empty it is a success, also the next time.

    Exit status, of several plans the worst: 0 saved, nothing had changed, or skipped by its
    hook; 3 a snapshot was made, with warnings; 1 failed.

    \b
    Examples:
      backrest-runner run media/db
      backrest-runner run --all --config /config/config.json
      backrest-runner run --all --dry-run
    """
    from sidecar.cli.output.runs import ProgressLine, name_of
    from sidecar.cli.runner.jobs import run_in_foreground
    from sidecar.runner.loader import load, load_whole

    if bool(plans) is all_plans:
        raise click.UsageError("name plans, or give --all")
    if accept_empty and (all_plans or dry_run):
        raise click.UsageError("--accept-empty goes with plans that are named, and are run")
    if wanted is not None and dry_run:
        raise click.UsageError("--type goes with plans that are run")
    if dry_run and output != "text":
        raise click.UsageError("--output goes with plans that are run")
    settings = build_settings(flags)
    # Where everything is to be run, both documents have to be known.
    documents = (load if plans else load_whole)(settings.files, os.environ)
    names = read_names_for(settings)
    ids = tuple(dict.fromkeys(resolve_name(one, names) for one in plans))
    jobs = _choose_plans(documents, ids)
    if dry_run:
        line, shown = ProgressLine(), shown_names(names)
        status = worst(
            [_run_one_dry(settings, documents, job, name_of(job, shown), line) for job in jobs]
        )
    else:
        accepted = ids if accept_empty else ()
        status = run_in_foreground(settings, documents, jobs, accepted, wanted, output)
    raise click.exceptions.Exit(status)


def _choose_plans(documents: "Documents", ids: Sequence[str]) -> list[Job]:
    """Return the backups of the plans of these ids, else of all that have a schedule."""
    from sidecar.runner.control import resolve_job

    if ids:
        return [resolve_job(JobKind.BACKUP, plan, documents) for plan in ids]
    chosen = [backup_job(plan) for plan in documents.executed.plans if plan.timing.is_active]
    if not chosen:
        raise UsageError("no plan of the document has a schedule", "name the plans to be run")
    return chosen


def _run_one_dry(
    settings: "RunnerSettings", documents: "Documents", job: Job, name: str, line: "ProgressLine"
) -> int:
    from sidecar.cli.output.runs import render_stats
    from sidecar.cli.output.text import printable
    from sidecar.engines.base import ResultKind
    from sidecar.runner.foreground import hooks_of, run_dry

    found = run_dry(
        settings,
        dict(os.environ),
        documents,
        job,
        partial(line.show, name),
    )
    line.clear()
    counts = "" if found.stats is None else render_stats(found.stats)
    words = "; ".join(filter(None, (counts, printable(found.reason), printable(found.note))))
    echo(f"{printable(name)} would end with {found.kind.value}: {words}")
    for hook in hooks_of(documents.config, job):
        echo(f"  would run {printable(hook)}")
    if found.kind is ResultKind.WARNING:
        return ATTENTION
    return SUCCESS if found.kind is ResultKind.SUCCESS else FAILED


@click.command()
@name_argument("plan", "SERVICE|PLAN")
@_accept_option
@_type_option
@lines_option
@document_options
@log_options
def backup(
    plan: str, accept_empty: bool, wanted: BackupType | None, output: str, **flags: Any
) -> None:
    """Let the running daemon back a plan up now, and wait for the end.

    A plan may be named by its service, project/service or the service alone if it is the only one
    of that name, by a container, a group, or its id.

    A run of it that waits or runs already is joined: it is never run twice at a time. With --type
    it is not, and nothing is run.

    A run that finds no file, where an earlier snapshot of the plan holds some, is a warning, and
    nothing of the plan is forgotten. With --accept-empty it is a success, also the next time.

    Exit status: 0 saved, nothing had changed, or skipped by its hook; 3 a snapshot was made,
    with warnings; 1 failed, or no daemon runs.

    \b
    Examples:
      backrest-runner backup media/db
      docker compose exec runner backrest-runner backup db
    """
    from sidecar.cli.runner.jobs import run_by_daemon

    settings = build_settings(flags)
    raise click.exceptions.Exit(
        run_by_daemon(
            settings,
            JobKind.BACKUP,
            resolve_name(plan, read_names_for(settings)),
            output,
            accept_empty=accept_empty,
            wanted=wanted,
        )
    )
