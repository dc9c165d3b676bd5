"""daemon, doctor and healthcheck: the runner as a service."""

import os
import sys
from functools import partial
from typing import Any

import click

from sidecar.cli.exits import FAILED
from sidecar.cli.options import all_checks_option, table_flag
from sidecar.cli.output.text import echo
from sidecar.cli.runner.options import (
    document_options,
    empty_options,
    health_options,
    log_options_at,
    neighbour_options,
    notify_options,
    option,
    program_options,
    schedule_options,
)
from sidecar.cli.runner.settings import build_settings


@click.command()
@document_options
@schedule_options
@program_options
@empty_options
@notify_options
@health_options
@neighbour_options
@log_options_at("info", "text")
def daemon(**flags: Any) -> None:
    """Execute the document's plans on their schedules, until it is stopped.

    Times are those of the zone in TZ, else of the machine. A document that cannot be had
    yet is waited for, and of one that gets broken the last good state is executed.

    When asked to end (SIGTERM), nothing more begins, runs have --grace to end by themselves,
    then restic is ended; what hooks have stopped is started again in any case. Give it more
    time than --grace before it is killed: `stop_grace_period: 2m` in Compose.

    Exit status: 0 it was asked to stop; 1 it could not begin, or a part of it failed.

    \b
    Examples:
      backrest-runner daemon --config /config/config.json
      backrest-runner daemon --listen 127.0.0.1:9100 --catch-up skip
      backrest-runner daemon --puid 1000 --notify-url-file /run/secrets/notify
    """
    from sidecar.runner.daemon import RunnerDaemon
    from sidecar.web.runner import serve_runner

    settings = build_settings(flags)
    if not RunnerDaemon(settings, dict(os.environ), partial(serve_runner, settings)).run():
        raise click.exceptions.Exit(FAILED)


@click.command()
@document_options
@program_options
@all_checks_option
@table_flag(option)
@log_options_at("error")
def doctor(is_all: bool, output: str, **flags: Any) -> None:
    """Check restic and each repository, and what else backups need; show what is wrong.

    Each repository is asked, for twenty seconds at the most: is it within reach, is its password
    right, has anything left a lock? Nothing is changed.

    Exit status: 0 nothing is broken; 1 something is.

    \b
    Examples:
      backrest-runner doctor
      backrest-runner doctor --all
    """
    from sidecar.cli.output.doctor import render_doctor
    from sidecar.cli.output.terminal import terminal_width
    from sidecar.runner.doctor import run_doctor

    report = run_doctor(build_settings(flags), os.environ)
    echo(render_doctor(report, output, is_all=is_all, width=terminal_width()), form=output)
    if report.has_failed:
        raise click.exceptions.Exit(FAILED)


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def healthcheck(arguments: tuple[str, ...]) -> None:
    """Tell by the exit status whether the daemon and its backups are well."""
    from sidecar.runner.healthcheck import HEALTHCHECK

    sys.exit(HEALTHCHECK.run(arguments, os.environ))
