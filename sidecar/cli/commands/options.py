"""The flags of the sidecar, in the groups in which commands share them."""

from functools import partial
from pathlib import Path

import click

from sidecar.backrest.workloads import FOLDER
from sidecar.cli import names
from sidecar.cli import options as flags
from sidecar.cli.options import (
    about,
    config_flag,
    docker_flag,
    page_options,
    runner_config_flag,
    state_dir_flag,
    unless,
)
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.planner.lifecycle import Orphans
from sidecar.reconciler.settings import ApplyVia

VARIABLE = "BACKREST_SIDECAR_"
"""What the variables of all flags begin with."""
_DEFAULTS = Policy()

option = partial(flags.option, VARIABLE)
name_argument = partial(names.name_argument, state="state_dir")
log_options_at = partial(flags.log_options_at, VARIABLE)
log_options = log_options_at("warn")

config_option = about("the document", config_flag(option))

documents_option = about("the document", config_flag(option), runner_config_flag(option))

state_dir_option = state_dir_flag(option, FOLDER)

docker_option = about("the engine", docker_flag(option))

backrest_option = option(
    "--backrest-container", default="backrest", help="Name of the runner's container."
)

mode_option = about(
    "writing the document",
    option(
        "--config-mode",
        default="keep",
        help="Permission bits of the document: keep, or octal. A new file gets 0600.",
    ),
)

source_options = about(
    "where the containers are looked for",
    docker_option,
    option(
        "--inventory",
        type=click.Path(path_type=Path),
        help="Read a saved container list instead of the engine.",
    ),
    option(
        "--compose",
        multiple=True,
        help="Read Compose files instead of the engine; - reads what `docker compose config` says.",
    ),
    option(
        "--save-inventory",
        type=click.Path(path_type=Path),
        help="Save what the engine says, for --inventory.",
    ),
    click.argument("files", nargs=-1),
)

policy_options = about(
    "plans",
    option("--label-prefix", default=_DEFAULTS.label_prefix, help="What our labels begin with."),
    option(
        "--plan-id-prefix",
        variables=("BACKREST_PLAN_ID_PREFIX",),
        default=_DEFAULTS.plan_id_prefix,
        help="What the ids of our plans begin with; all such plans are ours.",
    ),
    option(
        "--include-project-name/--no-include-project-name",
        **unless(f"{VARIABLE}NO_INCLUDE_PROJECT_NAME"),
        show_default="include",
        help="Put the Compose project into the plan id.",
    ),
    option(
        "--default-repo",
        variables=("BACKREST_DEFAULT_REPO",),
        default="",
        help="Repository of plans whose labels name none.",
    ),
    option("--default-schedule", default=_DEFAULTS.default_schedule, help="Schedule of new plans."),
    option(
        "--default-retention",
        variables=("BACKREST_DEFAULT_RETENTION",),
        default=_DEFAULTS.default_retention,
        help="Retention of new plans.",
    ),
    option("--enforce-defaults", is_flag=True, help="Apply the defaults to existing plans too."),
    option("--docker-root", default=_DEFAULTS.docker_root, help="The engine's data root."),
    option(
        "--volume-prefix",
        variables=("BACKREST_VOLUME_PREFIX",),
        default="",
        help="Where the runner sees DOCKER_ROOT/volumes.",
    ),
    option(
        "--path-map",
        multiple=True,
        metavar="HOST=RUNNER",
        help="Where the runner sees a host path; may be repeated.",
    ),
    option("--exclude-bind-mounts", is_flag=True, help="Back up volumes only, unless labelled."),
    option(
        "--hook-policy",
        type=click.Choice([policy.value for policy in HookPolicy]),
        default=HookPolicy.ALL.value,
        help="Which hooks labels may ask for.",
    ),
    option("--trust-image-labels", is_flag=True, help="Let labels of images count like yours."),
    option(
        "--backrest-container",
        help="Name of the runner's container: its mounts decide what it can back up, and no "
        "template may stop it.  [default: backrest]",
    ),
    option(
        "--secrets-dir",
        type=click.Path(path_type=Path),
        default="/run/secrets",
        help="Directory below which file: references are read.",
    ),
    option(
        "--accept-version",
        type=click.IntRange(min=7),
        help="Accept this newer version of the document.",
    ),
)


access_options = flags.access_options(option, VARIABLE)

apply_options = about(
    "applying",
    option("--apply", is_flag=True, help="Make Backrest notice what was written."),
    option(
        "--apply-via",
        type=click.Choice([via.value for via in ApplyVia]),
        default=ApplyVia.AUTO.value,
        help="How; auto: by the API where --backrest-url answers, else by a restart when idle.",
    ),
    option(
        "--apply-wait",
        metavar="DURATION",
        default="2m",
        help="How long Backrest may be busy before it is told.",
    ),
    option(
        "--apply-settle",
        metavar="DURATION",
        default="10s",
        help="How long nothing new comes before it is applied.",
    ),
    option(
        "--restart-timeout",
        metavar="DURATION",
        default="15s",
        help="How long Backrest has to stop.",
    ),
    option(
        "--guard-after",
        metavar="DURATION",
        default="5m",
        help="How long after a dead backup its stopped containers are started again.",
    ),
)

watch_options = about(
    "watching",
    option(
        "--interval", metavar="DURATION", default="60s", help="How often everything is looked at."
    ),
    option(
        "--settle",
        metavar="DURATION",
        default="100ms",
        help="How long nothing new comes after a change before the next look.",
    ),
    option(
        "--settle-cap",
        metavar="DURATION",
        default="500ms",
        help="How long what keeps coming may put off a look; more where looks take long.",
    ),
    option(
        "--with-events/--no-events",
        **unless(f"{VARIABLE}NO_EVENTS"),
        show_default="with",
        help="Look at once when the engine tells of a container.",
    ),
    *page_options(option),
)

lifetime_options = about(
    "plans over time",
    option(
        "--orphans",
        type=click.Choice([action.value for action in Orphans]),
        default=Orphans.DISABLE.value,
        help="What becomes of a plan whose workload stays away.",
    ),
    option(
        "--orphan-grace",
        metavar="DURATION",
        default="7d",
        help="How long a plan may be without its workload.",
    ),
    state_dir_option,
)
