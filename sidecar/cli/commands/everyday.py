"""status, backup and restore by the names of services: what people want of Backrest every day."""

import json
import os
from datetime import UTC
from functools import partial
from typing import Any

import click

from sidecar.cli.commands.options import (
    access_options,
    backrest_option,
    docker_option,
    documents_option,
    lifetime_options,
    log_options,
    name_argument,
    option,
    policy_options,
    state_dir_option,
)
from sidecar.cli.commands.settings import build_settings
from sidecar.cli.exits import ATTENTION, SUCCESS, status_of_operation
from sidecar.cli.options import Flag, lines_option, table_flag, watch_flag, wide_flag
from sidecar.cli.output.text import echo
from sidecar.lib.errors import UsageError
from sidecar.reconciler.settings import ReconcilerSettings, parse_duration


@click.command()
@documents_option
@wide_flag(option, " and repositories")
@watch_flag(option)
@table_flag(option)
@option("--timezone", help="The runner's time zone.  [default: its container's TZ, else ours]")
@access_options
@docker_option
@policy_options
@lifetime_options
@log_options
def status(
    output: str, timezone: str | None, is_wide: bool, is_watched: bool, **flags: Any
) -> None:
    """Tell whether everything is backed up: each service, and each data mount in no plan.

    What backrest-runner ran is read from its journal, if .runner lies beside the document; what
    Backrest ran only Backrest knows: give --backrest-url. What cannot be known is shown as – and is
    never taken for good.

    Exit status: 0 everything is; 1 failed; 3 something is not, or is not known.

    \b
    Examples:
      backrest-sidecar status --backrest-url http://backrest:9898
      backrest-sidecar status --watch
      backrest-sidecar status --output json
    """
    from sidecar.cli.output.watch import show_answer

    settings = build_settings(flags)

    def read() -> tuple[str, int]:
        return read_status(settings, timezone, output, is_wide=is_wide)

    raise click.exceptions.Exit(show_answer(read, output, is_watched=is_watched))


def read_status(
    settings: ReconcilerSettings, timezone: str | None, output: str, *, is_wide: bool
) -> tuple[str, int]:
    """Return the answer in that form, and the exit status."""
    from sidecar.backrest.protection import assess
    from sidecar.cli.backrest_log import log_of
    from sidecar.cli.output.protection import protection_json, render_protection
    from sidecar.cli.output.status import notes_json, render_notes
    from sidecar.cli.output.terminal import terminal_width
    from sidecar.reconciler.status import run_status
    from sidecar.runner.plan_facts import read_plan_facts
    from sidecar.runner.settings import RunnerSettings

    report = run_status(settings, dict(os.environ), timezone)
    beside = RunnerSettings(settings.config, runner_config=settings.runner_document)
    now, zone = report.now.timestamp(), report.now.tzinfo or UTC
    known = read_plan_facts(beside, os.environ, zone, log_of(report), now)
    answer = assess(report.workloads, known.facts, beside.health_grace, now)
    needs_attention = report.needs_attention or bool(known.warnings)
    result = SUCCESS if answer.is_everything and not needs_attention else ATTENTION
    if output == "json":
        found = protection_json(answer, known.warnings, needs_attention=needs_attention)
        shown = {**found, **notes_json(report)}
        return json.dumps(shown, indent=2, ensure_ascii=False), result
    text = render_protection(
        answer,
        terminal_width(),
        is_wide=is_wide,
        warnings=known.warnings,
        notes=render_notes(report),
        needs_attention=needs_attention,
    )
    return text, result


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
@lines_option
@access_options
@docker_option
@policy_options
@lifetime_options
@log_options
def backup(plan: str, timeout: str | None, no_wait: bool, output: str, **flags: Any) -> None:
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
    if output == "json":
        shown = {
            "kind": "backup",
            "of": result.plan,
            "outcome": result.ending and result.ending.value,
            "reason": result.message or None,
            "seconds": result.seconds,
        }
        echo(json.dumps(shown, ensure_ascii=False), form=output)
    else:
        echo(result.words)
    raise click.exceptions.Exit(status_of_operation(result.ending))


# These flags have no variables: one that is set for good must not let data be replaced.
_flag = partial(click.option, cls=Flag)


@click.command()
@name_argument("words", "SERVICE... [CONTAINER-PATH]...", nargs=-1, required=True)
@_flag("--at", metavar="TIME|SNAPSHOT", help="The newest that is not after this, or an id.")
@_flag("--to", is_flag=True, help="Restore to ./restored, a folder for each service.")
@_flag("--yes", is_flag=True, help="Do not ask; replace what is there, stop what uses it.")
@_flag("--dry-run", is_flag=True, help="Say what would be restored, and restore nothing.")
@_flag("--force", is_flag=True, help="As that flag of `backrest-runner restore`.")
@documents_option
@state_dir_option
@docker_option
@backrest_option
@log_options
def restore(words: tuple[str, ...], **flags: Any) -> None:
    """Print the command that restores services, which the sidecar has not the rights to do.

    With a runner, or a companion beside Backrest, it is one of `docker exec`. Without, a container
    is started by it that has the mounts of Backrest, in which the data of these services can be
    written, and that goes when it has done its work. Secrets are named in it, never written.

    For the words see `backrest-runner restore`.

    \b
    Examples:
      backrest-sidecar restore web
      backrest-sidecar restore web /data/page.html --at yesterday
    """
    from sidecar.cli.output.warnings import start_messages
    from sidecar.labels.policy import Policy
    from sidecar.reconciler.restore_line import find_restore_line
    from sidecar.reconciler.settings import InventorySource

    names = [one for one in words if not one.startswith("/")]
    if not names:
        raise UsageError("no service is named", "backrest-sidecar restore SERVICE [PATH]")
    more = [one for one in words if one.startswith("/")]
    at = flags.pop("at")
    more += [] if at is None else ["--at", at]
    for name in ("to", "yes", "dry_run", "force"):
        more += [f"--{name.replace('_', '-')}"] if flags.pop(name) else []
    start_messages(flags["log_level"], flags["log_format"])
    settings = ReconcilerSettings(
        flags["config"],
        Policy(runner_container=flags["backrest_container"]),
        InventorySource(flags["docker_sock"]),
        runner_config=flags["runner_config"],
        state_dir=flags["state_dir"],
    )
    found = find_restore_line(settings, names, more)
    echo(found.line)
    if found.secrets:
        echo(f"set before, as Backrest has them: {', '.join(found.secrets)}", err=True)
