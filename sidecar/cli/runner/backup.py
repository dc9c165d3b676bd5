"""run and backup: plans now, in this process or by the daemon."""

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sidecar.cli.exits import ATTENTION, FAILED, SUCCESS, worst
from sidecar.cli.options import Flag
from sidecar.cli.output.text import echo
from sidecar.cli.runner.options import (
    document_options,
    empty_options,
    log_options,
    neighbour_options,
    notify_options,
    option,
    program_options,
)
from sidecar.cli.runner.settings import build_settings
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
@click.argument("plans", metavar="[PLAN]...", nargs=-1)
@option("--all", "all_plans", is_flag=True, help="Every plan that has a schedule.")
@option(
    "--dry-run",
    is_flag=True,
    help="Say what would be saved; run no hook, save, forget and send nothing.",
)
@_accept_option
@_type_option
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
    **flags: Any,
) -> None:
    """Back plans up now, one after another, with their hooks and retention.

    For where no daemon runs: beside one use `backup`.

    A run that finds no file, where an earlier snapshot of the plan holds some, is a warning, and
    nothing of the plan is forgotten. With --accept-empty it is a success, also the next time.

    Exit status, of several plans the worst: 0 saved, nothing had changed, or skipped by its
    hook; 3 a snapshot was made, with warnings; 1 failed.

    \b
    Examples:
      backrest-runner run web
      backrest-runner run --all --config /config/config.json
      backrest-runner run --all --dry-run
    """
    from sidecar.cli.output.runs import ProgressLine
    from sidecar.cli.runner.jobs import run_in_foreground
    from sidecar.runner.loader import load, load_whole

    if bool(plans) is all_plans:
        raise click.UsageError("name plans, or give --all")
    if accept_empty and (all_plans or dry_run):
        raise click.UsageError("--accept-empty goes with plans that are named, and are run")
    if wanted is not None and dry_run:
        raise click.UsageError("--type goes with plans that are run")
    settings = build_settings(flags)
    # Where everything is to be run, both documents have to be known.
    documents = (load if plans else load_whole)(settings.files, os.environ)
    jobs = _choose_plans(documents, plans)
    if dry_run:
        line = ProgressLine()
        status = worst([_run_one_dry(settings, documents, job, line) for job in jobs])
    else:
        accepted = plans if accept_empty else ()
        status = run_in_foreground(settings, documents, jobs, accepted, wanted)
    raise click.exceptions.Exit(status)


def _choose_plans(documents: "Documents", names: Sequence[str]) -> list[Job]:
    """Return the backups of the named plans, else of all that have a schedule."""
    from sidecar.runner.control import resolve_job

    if names:
        return [resolve_job(JobKind.BACKUP, name, documents) for name in dict.fromkeys(names)]
    chosen = [backup_job(plan) for plan in documents.executed.plans if plan.timing.is_active]
    if not chosen:
        raise UsageError("no plan of the document has a schedule", "name the plans to be run")
    return chosen


def _run_one_dry(
    settings: "RunnerSettings", documents: "Documents", job: Job, line: "ProgressLine"
) -> int:
    from sidecar.cli.output.runs import name_of, render_stats
    from sidecar.cli.output.text import printable
    from sidecar.engines.base import ResultKind
    from sidecar.runner.foreground import hooks_of, run_dry

    found = run_dry(
        settings,
        dict(os.environ),
        documents,
        job,
        partial(line.show, name_of(job)),
    )
    line.clear()
    counts = "" if found.stats is None else render_stats(found.stats)
    words = "; ".join(filter(None, (counts, printable(found.reason), printable(found.note))))
    echo(f"{printable(name_of(job))} would end with {found.kind.value}: {words}")
    for hook in hooks_of(documents.config, job):
        echo(f"  would run {printable(hook)}")
    if found.kind is ResultKind.WARNING:
        return ATTENTION
    return SUCCESS if found.kind is ResultKind.SUCCESS else FAILED


@click.command()
@click.argument("plan")
@_accept_option
@_type_option
@document_options
@log_options
def backup(plan: str, accept_empty: bool, wanted: BackupType | None, **flags: Any) -> None:
    """Let the running daemon back a plan up now, and wait for the end.

    A run of it that waits or runs already is joined: it is never run twice at a time. With --type
    it is not, and nothing is run.

    A run that finds no file, where an earlier snapshot of the plan holds some, is a warning, and
    nothing of the plan is forgotten. With --accept-empty it is a success, also the next time.

    Exit status: 0 saved, nothing had changed, or skipped by its hook; 3 a snapshot was made,
    with warnings; 1 failed, or no daemon runs.

    \b
    Examples:
      backrest-runner backup web
      docker compose exec runner backrest-runner backup web
    """
    from sidecar.cli.runner.jobs import run_by_daemon

    raise click.exceptions.Exit(
        run_by_daemon(
            build_settings(flags),
            JobKind.BACKUP,
            plan,
            accept_empty=accept_empty,
            wanted=wanted,
        )
    )
