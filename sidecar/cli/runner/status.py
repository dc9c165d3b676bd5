"""status: one answer to whether everything is backed up."""

import json
import os
import time
from typing import TYPE_CHECKING, Any

import click

from sidecar.cli.backrest_log import build_login, read_log
from sidecar.cli.exits import ATTENTION, SUCCESS
from sidecar.cli.options import table_flag, watch_flag, wide_flag
from sidecar.cli.runner.options import (
    access_options,
    document_options,
    grace_option,
    log_options,
    option,
)
from sidecar.cli.runner.settings import build_settings
from sidecar.lib.zones import local_zone
from sidecar.runner.settings import VARIABLE, RunnerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.backrest.workloads import WorkloadRecord
    from sidecar.reconciler.settings import BackrestLogin

_NO_SIDECAR = "no daemon of backrest-sidecar runs here to tell which mounts there are"
_NOT_KEPT = "services that came lately may be missing: no daemon of the sidecar keeps the list"
_KEEP_HINT = "start it, or ask `backrest-sidecar status`, which looks for itself"


@click.command()
@document_options
@wide_flag(option, " and repositories")
@watch_flag(option)
@table_flag(option)
@grace_option
@access_options
@log_options
def status(output: str, is_wide: bool, is_watched: bool, **flags: Any) -> None:
    """Tell whether everything is backed up: each service, and each data mount in no plan.

    Which services there are the sidecar tells, in a file beside the document; without it plans are
    shown. What cannot be known is shown as – and is never taken for good. Of plans that Backrest
    executes, Backrest knows the runs: give --backrest-url.

    Exit status: 0 everything is; 1 failed; 3 something is not, or is not known.

    \b
    Examples:
      backrest-runner status
      backrest-runner status --watch
      backrest-runner status --output json
    """
    from sidecar.cli.output.watch import show_answer

    settings, login = build_settings(flags), build_login(flags, VARIABLE)

    def read() -> tuple[str, int]:
        return _read(settings, login, output, is_wide=is_wide)

    raise click.exceptions.Exit(show_answer(read, output, is_watched=is_watched))


def _read(
    settings: RunnerSettings, login: "BackrestLogin", output: str, *, is_wide: bool
) -> tuple[str, int]:
    """Return the answer in that form, and the exit status."""
    from sidecar.backrest.protection import assess
    from sidecar.cli.output.protection import protection_json, render_protection
    from sidecar.cli.output.terminal import terminal_width
    from sidecar.runner.plan_facts import Warned, read_plan_facts
    from sidecar.service.healthcheck import is_alive

    now = time.time()
    known = read_plan_facts(settings, os.environ, local_zone()[0], read_log(login), now)
    workloads, unlisted = _read_workloads(settings)
    answer = assess(workloads, known.facts, settings.health_grace, now, unlisted)
    warnings = known.warnings
    if workloads is not None and not is_alive(settings.workloads_file.parent, now):
        warnings = (*warnings, Warned(_NOT_KEPT, _KEEP_HINT))
    result = SUCCESS if answer.is_everything and not warnings else ATTENTION
    if output == "json":
        shown = protection_json(answer, warnings)
        return json.dumps(shown, indent=2, ensure_ascii=False), result
    return render_protection(answer, terminal_width(), is_wide=is_wide, warnings=warnings), result


def _read_workloads(
    settings: RunnerSettings,
) -> "tuple[Sequence[WorkloadRecord] | None, str]":
    """Return what the sidecar tells of workloads; None where it does not, and why."""
    from sidecar.backrest.workloads import LARGEST, WorkloadsInvalid, parse_workloads
    from sidecar.lib.read_file import read_file

    path = settings.workloads_file
    try:
        return parse_workloads(read_file(path, LARGEST)), ""
    except FileNotFoundError:
        return None, _NO_SIDECAR
    except OSError as error:
        return None, f"{path} cannot be read: {error.strerror}"
    except WorkloadsInvalid as error:
        return None, f"{path}: {error}"
