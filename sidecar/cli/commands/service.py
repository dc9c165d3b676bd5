"""daemon, doctor and healthcheck: the sidecar as a service, and whether it is well."""

import os
import sys
from functools import partial
from typing import Any

import click

from sidecar.cli.commands.options import (
    access_options,
    apply_options,
    docker_option,
    documents_option,
    lifetime_options,
    log_options_at,
    mode_option,
    option,
    policy_options,
    watch_options,
)
from sidecar.cli.commands.settings import build_settings
from sidecar.cli.exits import FAILED
from sidecar.cli.options import all_checks_option, table_flag
from sidecar.cli.output.text import echo


@click.command()
@documents_option
@watch_options
@apply_options
@access_options
@lifetime_options
@mode_option
@docker_option
@policy_options
@log_options_at("info", "text")
def daemon(**flags: Any) -> None:
    """Keep the document in line with the labelled containers, until it is stopped.

    What cannot be had yet, the engine or the document, is waited for.

    Exit status: 0 it was asked to stop; 1 it could not begin, or a part of it failed.

    \b
    Examples:
      backrest-sidecar daemon
      backrest-sidecar daemon --apply --backrest-url http://backrest:9898
      backrest-sidecar daemon --apply --listen 127.0.0.1:9099
    """
    from sidecar.reconciler.daemon import ReconcilerDaemon

    settings, serve = build_settings(flags), None
    watching = settings.watching
    if watching.listen is not None:
        # Only who wants pages pays the memory of what makes them.
        from sidecar.web.reconciler import serve_reconciler

        serve = partial(serve_reconciler, watching.listen, allowed=watching.allowed_hosts)
    if not ReconcilerDaemon(settings, dict(os.environ), serve).run():
        raise click.exceptions.Exit(FAILED)


@click.command()
@documents_option
@option("--fix", is_flag=True, help="Put in order what is safe to put in order, and say so.")
@all_checks_option
@table_flag(option)
@watch_options
@apply_options
@access_options
@lifetime_options
@mode_option
@docker_option
@policy_options
@log_options_at("error")
def doctor(fix: bool, is_all: bool, output: str, **flags: Any) -> None:
    """Check all that backups depend on, and show what is wrong and what to do.

    Give it the flags of the daemon. Without --fix nothing is changed. Whether repositories can be
    used, who runs the backups can tell: `backrest-runner doctor`.

    Exit status: 0 nothing is broken; 1 something is.

    \b
    Examples:
      backrest-sidecar doctor
      backrest-sidecar doctor --apply --backrest-url http://backrest:9898
    """
    from sidecar.cli.output.doctor import render_doctor
    from sidecar.cli.output.terminal import terminal_width
    from sidecar.reconciler.doctor.run import run_doctor

    report = run_doctor(build_settings(flags), dict(os.environ), fix=fix)
    echo(render_doctor(report, output, is_all=is_all, width=terminal_width()), form=output)
    if report.has_failed:
        raise click.exceptions.Exit(FAILED)


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def healthcheck(arguments: tuple[str, ...]) -> None:
    """Tell by the exit status whether the daemon is well."""
    from sidecar.reconciler.healthcheck import HEALTHCHECK

    sys.exit(HEALTHCHECK.run(arguments, os.environ))
