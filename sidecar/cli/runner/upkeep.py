"""check, prune and unlock: the upkeep of whole repositories."""

import os
from collections.abc import Callable
from typing import Any

import click

from sidecar.cli.exits import ATTENTION, FAILED, SUCCESS, worst
from sidecar.cli.options import lines_option
from sidecar.cli.output.text import echo
from sidecar.cli.runner.options import (
    document_options,
    log_options,
    name_argument,
    neighbour_options,
    notify_options,
    program_options,
)
from sidecar.cli.runner.settings import build_settings
from sidecar.runner.due import Job, JobKind

_repos_argument = name_argument("repos", "[REPO]...", plans=False, repos=True, nargs=-1)


def _upkeep_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare what `check` and `prune` take, in the order in which the help shows it."""
    function = notify_options(neighbour_options(log_options(function)))
    return _repos_argument(lines_option(document_options(program_options(function))))


@click.command()
@_upkeep_options
def check(repos: tuple[str, ...], output: str, **flags: Any) -> None:
    """Look whether repositories are sound, by their check policy; all if none is named.

    Where a daemon runs it does the work, else this command.

    Exit status: 0 they are; 3 with warnings; 1 one is not, or could not be looked at.

    \b
    Examples:
      backrest-runner check
      backrest-runner check store
    """
    raise click.exceptions.Exit(_run_all(JobKind.CHECK, repos, output, flags))


@click.command()
@_upkeep_options
def prune(repos: tuple[str, ...], output: str, **flags: Any) -> None:
    """Free the space in repositories that no snapshot uses; in all if none is named.

    Where a daemon runs it does the work, else this command.

    Exit status: 0 done; 3 with warnings; 1 failed.

    \b
    Examples:
      backrest-runner prune store
    """
    raise click.exceptions.Exit(_run_all(JobKind.PRUNE, repos, output, flags))


@click.command()
@_repos_argument
@lines_option
@document_options
@program_options
@log_options
@neighbour_options
def unlock(repos: tuple[str, ...], output: str, **flags: Any) -> None:
    """Remove locks that nobody holds any more; of all repositories if none is named.

    A lock whose holder lives, or may live on another machine, is left alone, and told. So are all
    repositories of config.json while Backrest is at work, or where nobody can tell: it runs restic
    in its container, and would not expect that. With --force they are unlocked all the same.

    Exit status: 0 no lock is left; 3 one is; 1 a repository could not be unlocked.

    \b
    Examples:
      backrest-runner unlock store
    """
    from sidecar.cli.output.runner_tables import render_unlocked
    from sidecar.runner.foreground import run_unlock

    statuses = []
    for found in run_unlock(build_settings(flags), os.environ, repos):
        echo(render_unlocked(found, output), form=output)
        statuses.append(FAILED if found.reason else ATTENTION if found.left else SUCCESS)
    raise click.exceptions.Exit(worst(statuses))


def _run_all(kind: JobKind, repos: tuple[str, ...], output: str, flags: dict[str, Any]) -> int:
    """Have the daemon run a job for each repository; without a daemon run them here."""
    from sidecar.cli.runner.jobs import run_by_daemon, run_in_foreground
    from sidecar.runner.control import resolve_job
    from sidecar.runner.loader import load, load_whole
    from sidecar.web.sockets import NoDaemon

    settings = build_settings(flags)
    documents = (load if repos else load_whole)(settings.files, os.environ)
    jobs = [resolve_job(kind, name, documents) for name in dict.fromkeys(repos)]
    jobs = jobs or [Job(kind, repo.id, repo.id) for repo in documents.executed.repos]
    try:
        return worst([run_by_daemon(settings, kind, job.subject, output) for job in jobs])
    except NoDaemon:
        return run_in_foreground(settings, documents, jobs, form=output)
