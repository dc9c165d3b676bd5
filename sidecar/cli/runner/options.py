"""The flags of the runner, in the groups in which commands share them."""

from functools import partial
from pathlib import Path

import click

from sidecar.cli import names
from sidecar.cli import options as flags
from sidecar.cli.options import (
    about,
    config_flag,
    docker_flag,
    page_options,
    runner_config_flag,
    sidecar_dir_flag,
    state_dir_flag,
)
from sidecar.engines.options import OnMissing
from sidecar.runner.due import CatchUp
from sidecar.runner.notify.notices import NoticeEvent
from sidecar.runner.settings import LARGEST_ID, NO_DOCKER, VARIABLE
from sidecar.runner.union import DocumentChoice

option = partial(flags.option, VARIABLE)
name_argument = partial(names.name_argument, state="sidecar_dir")
log_options_at = partial(flags.log_options_at, VARIABLE)
log_options = log_options_at("warn")

document_options = about(
    "the document",
    config_flag(option),
    runner_config_flag(option),
    option(
        "--documents",
        type=click.Choice([choice.value for choice in DocumentChoice]),
        default=DocumentChoice.ALL.value,
        help="Which documents are executed; runner: only runner.json, beside a Backrest that "
        "executes config.json.",
    ),
    state_dir_flag(option, ".runner"),
    sidecar_dir_flag(option),
    option(
        "--puid",
        type=click.IntRange(0, LARGEST_ID),
        variables=("PUID",),
        help="Go on as the user of this number; the group of the engine's socket is kept.",
    ),
    option(
        "--pgid",
        type=click.IntRange(0, LARGEST_ID),
        variables=("PGID",),
        help="And as the group of this number.  [default: the same as --puid]",
    ),
    option(
        "--journal-keep",
        type=click.IntRange(min=1),
        default=1000,
        help="How many runs of each plan and repository are remembered.",
    ),
)

program_options = about(
    "running",
    option("--restic", default="restic", help="The restic to run: a name or a path."),
    option(
        "--on-missing",
        type=click.Choice([choice.value for choice in OnMissing]),
        default=OnMissing.FAIL.value,
        help="What is done if a path of a plan does not exist; warn: the others are saved.",
    ),
    option(
        "--stall-timeout",
        metavar="DURATION",
        default="1h",
        help="How long a program of an engine may go without a sign of progress; 0: for ever.",
    ),
    option(
        "--hook-timeout",
        metavar="DURATION",
        default="30m",
        help="How long one hook may take; 0: for ever.",
    ),
    option(
        "--lock-wait",
        metavar="DURATION",
        default="10m",
        help="How long others' locks are waited for before hooks stop anything; 0: not at all.",
    ),
)

schedule_options = about(
    "scheduling",
    option(
        "--seats",
        type=click.IntRange(1, 64),
        default=4,
        help="How many runs at a time; each repository has one at the most.",
    ),
    option(
        "--catch-up",
        type=click.Choice([choice.value for choice in CatchUp]),
        default=CatchUp.ONCE.value,
        help="What becomes of fires while the runner was down: one run for all, or none.",
    ),
    option(
        "--backup-on-start",
        is_flag=True,
        help="Back up every scheduled plan when the runner starts.",
    ),
    option(
        "--grace",
        metavar="DURATION",
        default="30s",
        help="How long runs have to end by themselves when the runner is asked to end.",
    ),
)

empty_options = about(
    "plans that have become empty",
    option(
        "--restore-empty",
        is_flag=True,
        help="Restore a plan whose paths are all empty, instead of backing up nothing.",
    ),
    option(
        "--restore-empty-plan",
        multiple=True,
        metavar="PLAN",
        help="Do so for this plan only; may be repeated.",
    ),
    option(
        "--empty-on-purpose",
        multiple=True,
        metavar="PLAN",
        help="This plan may be empty; may be repeated.",
    ),
    option(
        "--restore-stop",
        is_flag=True,
        help="Stop containers that use an empty plan's paths while it is restored.",
    ),
    option(
        "--restore-check-schedule",
        metavar="CRON",
        default="",
        help="Look for empty plans also at these times.  [default: at the start and at backups]",
    ),
)

notify_options = about(
    "notifications",
    option(
        "--notify-url",
        multiple=True,
        metavar="URL",
        help="Tell this Apprise URL how runs end; may be repeated. It holds a secret, so rather "
        "use its variable or --notify-url-file.",
    ),
    option(
        "--notify-url-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File that holds such URLs, one a line.",
    ),
    option(
        "--notify-on",
        multiple=True,
        type=click.Choice([event.value for event in NoticeEvent]),
        default=(NoticeEvent.ERROR.value, NoticeEvent.WARNING.value, NoticeEvent.MISSED.value),
        show_default="error, warning, missed",
        help="What is told; may be repeated.",
    ),
)

docker_option = docker_flag(
    option, f"`{NO_DOCKER}`: there is no Docker, and nobody else uses the data."
)

neighbour_options = about(
    "Backrest beside it",
    option(
        "--backrest-data",
        type=click.Path(path_type=Path, file_okay=False),
        variables=("BACKREST_DATA",),
        help="Backrest's data directory, where its lock tells whether it runs.  "
        "[default: ../data beside the document's directory, if it is there]",
    ),
    option(
        "--backrest-container",
        default="",
        help="Backrest's container; while it runs, this runner does not.  [default: backrest, "
        "if there is one]",
    ),
    docker_option,
    option(
        "--force",
        is_flag=True,
        help="Start although that container runs: its Backrest executes another document.",
    ),
)

grace_option = about(
    "health",
    option(
        "--health-grace",
        metavar="DURATION",
        default="1h",
        help="How late beyond twice its period a plan may be saved.",
    ),
)

health_options = about("health", grace_option, *page_options(option))

access_options = flags.access_options(option, VARIABLE)
