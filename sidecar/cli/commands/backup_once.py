"""backup-once: everything now, without a scheduler, with containers stopped around it."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sidecar.cli.commands.options import (
    config_option,
    docker_option,
    log_options,
    option,
    policy_options,
)
from sidecar.cli.commands.settings import build_settings
from sidecar.cli.exits import ATTENTION, FAILED, SUCCESS
from sidecar.cli.options import lines_option
from sidecar.cli.output.text import echo
from sidecar.lib.errors import UsageError
from sidecar.reconciler.settings import ReconcilerSettings, parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.labels.problem import Problem
    from sidecar.planner.backup_once import OnceLabels
    from sidecar.runner.due import Job
    from sidecar.runner.job.progress import Event
    from sidecar.runner.once.image import ImageSettings
    from sidecar.runner.once.once import BackupStrategy
    from sidecar.runner.once.plans import ShowEvent
    from sidecar.runner.settings import RunnerSettings

_OWN_FLAGS = (
    "force",
    "seats",
    "runner_state_dir",
    "quiesce_label",
    "quiesce_timeout",
    "rcb_image",
    "rcb_env_file",
    "rcb_command",
    "rcb_arg",
    "restic_group_by",
    "restic_path_prefix",
)
"""Flags that are ours alone; the others are those of all commands."""


@click.command("backup-once")
@config_option
@option("--dry-run", is_flag=True, help="Say what would be done; do nothing.")
@option(
    "--force", is_flag=True, help="Go on although Backrest's container runs, which may do the same."
)
@option(
    "--seats",
    variables=("BACKREST_RUNNER_SEATS",),
    type=click.IntRange(1, 64),
    default=4,
    help="How many plans run at a time; each repository has one at the most.",
)
@option(
    "--runner-state-dir",
    variables=("BACKREST_RUNNER_STATE_DIR",),
    type=click.Path(path_type=Path, file_okay=False),
    help="Where backrest-runner remembers things.  [default: .runner beside the document]",
)
@option(
    "--quiesce-label",
    metavar="KEY[=VALUE]",
    help="Label of the containers that are stopped.  [default: a true backrest.quiesce]",
)
@option(
    "--quiesce-timeout",
    metavar="DURATION",
    default="60s",
    help="How long each has to stop, before the engine ends it by force.",
)
@option(
    "--rcb-image",
    help="Back up by this image of restic-compose-backup, not by the plans, for example "
    "zettaio/restic-compose-backup:0.7.1.",
)
@option(
    "--rcb-env-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of NAME=VALUE lines for the image's container.",
)
@option(
    "--rcb-command",
    multiple=True,
    metavar="WORD",
    help="What is run in it; once for each word.  [default: rcb backup]",
)
@option(
    "--rcb-arg",
    multiple=True,
    metavar="WORD",
    help="A further word after that command; may be repeated.",
)
@option("--restic-group-by", default="paths", help="How the image's forget groups snapshots.")
@option(
    "--restic-path-prefix",
    default="/volumes",
    help="Where the image sees the services' volumes.",
)
@lines_option
@docker_option
@policy_options
@log_options
def backup_once(dry_run: bool, **flags: Any) -> None:
    """Back up everything once, with containers stopped around it.

    All enabled plans of the document are run by restic here, as backrest-runner would;
    its own variables, BACKREST_RUNNER_*, say how. Meanwhile the containers with a true
    label quiesce are stopped, if they ran; they are started again in any case, after a kill
    by the next start. With --rcb-image an image of restic-compose-backup does the work, and
    forgets by the label keep of each service.

    Exit status: 0 done; 1 failed, or nothing was backed up; 3 done with warnings.

    \b
    Examples:
      backrest-sidecar backup-once --dry-run
      backrest-sidecar backup-once --quiesce-timeout 2m
      backrest-sidecar backup-once --rcb-image zettaio/restic-compose-backup \\
        --rcb-env-file rcb.env
    """
    raise click.exceptions.Exit(_run(flags, dry_run=dry_run))


def _run(flags: Mapping[str, Any], *, dry_run: bool) -> int:
    from sidecar.cli.output.warnings import tell_held
    from sidecar.docker.client import DockerClient
    from sidecar.docker.one_shot import OneShotDocker
    from sidecar.runner.once.once import OnceBackup, Result, preview_once, run_once
    from sidecar.service.signals import SignalWaiter

    own = {name: flags[name] for name in _OWN_FLAGS}
    seconds = parse_duration("--quiesce-timeout", own["quiesce_timeout"])
    log = {name: flags[name] for name in ("log_level", "log_format")}
    settings = build_settings(flags)
    labels = _read_labels(settings, own["quiesce_label"] or "")
    runner = _runner_settings(settings, own, log)
    form = flags["output"]
    backup = OnceBackup(
        settings=runner,
        strategy=_choose_strategy(settings, runner, labels, own, form),
        connect=lambda: OneShotDocker(DockerClient(settings.source.docker_sock)),
        to_stop=labels.to_stop,
        show=partial(echo, err=form == "json"),
        stop_seconds=seconds,
    )
    _show_problems(labels.problems)
    if dry_run:
        preview_once(backup)
        result = Result.DONE
    else:
        _leave_out_what_is_shown()
        with SignalWaiter() as waiter, waiter.install_signals():
            try:
                result = run_once(backup, waiter)
            finally:
                tell_held()
    if result is Result.FAILED:
        return FAILED
    return ATTENTION if result is Result.WARNING or labels.problems else SUCCESS


def _read_labels(settings: ReconcilerSettings, quiesce_label: str) -> "OnceLabels":
    from sidecar.planner.backup_once import parse_quiesce_label, read_once_labels
    from sidecar.reconciler.observe import observe

    inventory, settings = observe(settings)
    label = parse_quiesce_label(quiesce_label, settings.policy.label_prefix)
    return read_once_labels(inventory, settings.policy, label)


def _runner_settings(
    settings: ReconcilerSettings, own: dict[str, Any], log: dict[str, str]
) -> "RunnerSettings":
    """Return the runner's settings: by its own variables, and by the flags that both have."""
    from sidecar.cli.runner.backup import run
    from sidecar.cli.runner.settings import build_settings as build_runner_settings
    from sidecar.runner.settings import Scheduling

    words = ["--all", "--config", str(settings.config)]
    words += ["--log-level", log["log_level"]]
    words += ["--log-format", log["log_format"]] if log["log_format"] else []
    words += ["--force"] if own["force"] else []
    for flag, value in (
        ("--state-dir", own["runner_state_dir"]),
        ("--docker-sock", settings.source.docker_sock),
        ("--backrest-container", settings.policy.runner_container if settings.runner_named else ""),
    ):
        words += [flag, str(value)] if value else []
    with run.make_context("backup-once", words) as context:
        given = dict(context.params)
    for name in ("plans", "all_plans", "dry_run", "output"):
        del given[name]
    built = build_runner_settings(given)
    # The containers are stopped by then: nobody is waited for.
    running = replace(built.running, lock_wait=0.0)
    return replace(built, running=running, scheduling=Scheduling(seats=own["seats"]))


def _choose_strategy(
    settings: ReconcilerSettings,
    runner: "RunnerSettings",
    labels: "OnceLabels",
    own: dict[str, Any],
    form: str,
) -> "BackupStrategy":
    if not own["rcb_image"]:
        from sidecar.runner.once.plans import PlansStrategy

        _refuse_image_flags(own)
        return PlansStrategy(runner, dict(os.environ), _event_shower(runner, form))
    from sidecar.docker.client import DockerClient
    from sidecar.docker.one_shot import OneShotDocker
    from sidecar.runner.once.image import ImageStrategy

    return ImageStrategy(
        runner,
        _image_settings(settings, labels, own),
        lambda: OneShotDocker(DockerClient(settings.source.docker_sock)),
        dict(os.environ),
        partial(echo, err=form == "json"),
        lambda line: echo(line, err=True),
    )


def _event_shower(runner: "RunnerSettings", form: str) -> "ShowEvent":
    from sidecar.cli.names import shown_names
    from sidecar.cli.output.runs import ProgressLine, name_of, render_end, render_end_json
    from sidecar.cli.output.warnings import tell_held
    from sidecar.cli.runner.settings import read_names_for
    from sidecar.runner.job.progress import RunFinished

    line, shown = ProgressLine(), shown_names(read_names_for(runner))

    def show(job: "Job", event: "Event") -> None:
        name = name_of(job, shown)
        if isinstance(event, RunFinished):
            line.end(name)
            told = render_end(name, event)
            tell_held(told, others_run=True)
            echo(render_end_json(job, event) if form == "json" else told, form=form)
        else:
            line.show(name, event)

    return show


def _leave_out_what_is_shown() -> None:
    from sidecar.cli.output.runs import is_shown_at_end
    from sidecar.cli.output.warnings import hold_back
    from sidecar.lib.log import leave_out

    leave_out(is_shown_at_end)
    hold_back()


def _refuse_image_flags(own: dict[str, Any]) -> None:
    given = [name for name in ("rcb_env_file", "rcb_command", "rcb_arg") if own[name]]
    if given:
        flag = "--" + given[0].replace("_", "-")
        raise UsageError(f"{flag} is given without --rcb-image", "name the image it is for")


def _image_settings(
    settings: ReconcilerSettings, labels: "OnceLabels", own: dict[str, Any]
) -> "ImageSettings":
    from sidecar.runner.once.image import DEFAULT_COMMAND, ImageRetention, ImageSettings

    prefix = own["restic_path_prefix"]
    if not prefix.startswith("/"):
        raise UsageError(f"--restic-path-prefix {prefix} is not absolute", "start it with /")
    return ImageSettings(
        image=own["rcb_image"],
        env_file=own["rcb_env_file"],
        command=own["rcb_command"] or DEFAULT_COMMAND,
        arguments=own["rcb_arg"],
        group_by=own["restic_group_by"],
        path_prefix=prefix,
        docker_root=settings.policy.docker_root,
        exclude_bind_mounts=settings.policy.exclude_bind_mounts,
        include_project_name=settings.policy.include_project_name,
        retentions=tuple(ImageRetention(one.folder, one.flags) for one in labels.keep_rules),
    )


def _show_problems(problems: "Sequence[Problem]") -> None:
    from sidecar.cli.output.problems import problem_lines

    for line in problem_lines(problems, ""):
        echo(line, err=True)
