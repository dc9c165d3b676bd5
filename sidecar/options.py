"""Command-line options: each flag has a variable, a default and one line of help."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click

from sidecar.core.policy import HookPolicy, Policy
from sidecar.kit.log import LEVELS, start_logging
from sidecar.settings import (
    Lifetime,
    Orphans,
    Settings,
    Source,
    check_policy,
    parse_duration,
    parse_mode,
    parse_path_map,
)

_Command: TypeAlias = Callable[..., Any]
_Decorator: TypeAlias = Callable[[_Command], _Command]
_DEFAULTS = Policy()
_VARIABLE = "BACKREST_SIDECAR_"


def option(flag: str, *names: str, variables: tuple[str, ...] = (), **kwargs: Any) -> _Decorator:
    """Declare a flag with its variable BACKREST_SIDECAR_<FLAG>, before any older `variables`."""
    own = flag.partition("/")[0].removeprefix("--").upper().replace("-", "_")
    kwargs.setdefault("show_default", kwargs.get("default") not in (None, "", (), False))
    variables = (f"{_VARIABLE}{own}", *variables)
    return click.option(flag, *names, envvar=variables, show_envvar=True, **kwargs)


def _includes_project_name() -> bool:
    """The default of a flag whose negation has a variable of its own."""
    said = os.environ.get(f"{_VARIABLE}NO_INCLUDE_PROJECT_NAME")
    return not (said and click.BOOL.convert(said, None, None))


def _stacked(*options: _Decorator) -> _Decorator:
    def decorate(function: _Command) -> _Command:
        for one in reversed(options):
            function = one(function)
        return function

    return decorate


config_option = option(
    "--config",
    variables=("BACKREST_CONFIG",),
    type=click.Path(path_type=Path),
    default="backrest.config.json",
    help="Backrest's config.json.",
)

log_options = _stacked(
    option(
        "--log-format",
        type=click.Choice(["json", "text"]),
        default="text",
        help="Form of the log lines on standard error.",
    ),
    option(
        "--log-level",
        type=click.Choice(list(LEVELS)),
        default="warn",
        help="Least severity that is logged.",
    ),
)

source_options = _stacked(
    option(
        "--docker-sock",
        variables=("DOCKER_HOST",),
        help="Engine address: a socket path or a URL.  [default: /var/run/docker.sock]",
    ),
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

policy_options = _stacked(
    option("--label-prefix", default=_DEFAULTS.label_prefix, help="What our labels begin with."),
    option(
        "--plan-id-prefix",
        variables=("BACKREST_PLAN_ID_PREFIX",),
        default=_DEFAULTS.plan_id_prefix,
        help="What the ids of our plans begin with; all such plans are ours.",
    ),
    option(
        "--include-project-name/--no-include-project-name",
        default=_includes_project_name,
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


lifetime_options = _stacked(
    option(
        "--orphans",
        type=click.Choice([action.value for action in Orphans]),
        default=Orphans.DISABLE.value,
        help="What becomes of a plan whose workload stays away.",
    ),
    option("--orphan-grace", default="7d", help="How long a plan may be without its workload."),
    option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Where to remember things.  [default: .sidecar beside the document]",
    ),
)


def build_settings(flags: dict[str, Any]) -> Settings:
    """Make checked settings of click's values; raises UsageError naming the flag.

    Takes the values of the option groups above out of `flags`, also where a command
    has not all of them, and starts logging.
    """
    start_logging(flags.pop("log_level"), flags.pop("log_format"))
    runner = flags.pop("backrest_container")
    policy = Policy(
        **{name: flags.pop(name) for name in _PLAIN_POLICY if name in flags},
        path_map=parse_path_map(flags.pop("path_map")),
        hook_policy=HookPolicy(flags.pop("hook_policy")),
        runner_container=runner or _DEFAULTS.runner_container,
    )
    return Settings(
        config=flags.pop("config"),
        policy=check_policy(policy),
        source=_build_source(flags),
        secrets_dir=flags.pop("secrets_dir"),
        config_mode=parse_mode(flags.pop("config_mode", "keep")),
        accept_version=flags.pop("accept_version"),
        state_dir=flags.pop("state_dir", None),
        runner_named=bool(runner),
        lifetime=_build_lifetime(flags),
    )


_PLAIN_POLICY = (
    "label_prefix",
    "plan_id_prefix",
    "include_project_name",
    "default_repo",
    "default_schedule",
    "default_retention",
    "enforce_defaults",
    "docker_root",
    "volume_prefix",
    "exclude_bind_mounts",
    "trust_image_labels",
)


def _build_lifetime(flags: dict[str, Any]) -> Lifetime:
    return Lifetime(
        Orphans(flags.pop("orphans", Orphans.DISABLE)),
        parse_duration("--orphan-grace", flags.pop("orphan_grace", "7d")),
        accept_orphans=flags.pop("accept_orphans", False),
        accept_engine=flags.pop("accept_engine", False),
    )


def _build_source(flags: dict[str, Any]) -> Source:
    compose, files = flags.pop("compose"), flags.pop("files")
    inventory, save = flags.pop("inventory"), flags.pop("save_inventory")
    if files and not compose:
        raise click.UsageError(f"{files[0]!r} is neither a command nor a file after --compose")
    if inventory and compose:
        raise click.UsageError("--inventory and --compose exclude each other")
    if save and (inventory or compose):
        raise click.UsageError("--save-inventory saves what an engine says: leave the other out")
    return Source(flags.pop("docker_sock"), inventory, (*compose, *files), save)
