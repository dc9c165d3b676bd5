"""Values of the sidecar's flags → checked settings."""

import os
from typing import Any

import click

from sidecar.cli.commands.options import VARIABLE
from sidecar.cli.options import parse_allowed_hosts, parse_listen
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.lib.errors import UsageError
from sidecar.lib.log import start_logging
from sidecar.lib.zones import require_known_zone
from sidecar.planner.lifecycle import Orphans
from sidecar.reconciler.settings import (
    Applying,
    ApplyVia,
    BackrestLogin,
    InventorySource,
    Lifetime,
    ReconcilerSettings,
    Watching,
    check_access,
    check_policy,
    parse_duration,
    parse_mode,
    parse_path_map,
    read_password,
)

_LEAST_INTERVAL = 1.0


def build_settings(flags: dict[str, Any]) -> ReconcilerSettings:
    """Return checked settings of click's values, and start logging.

    Takes the values of the option groups out of `flags`; groups that a command does not have
    get their defaults. Raises UsageError naming the flag.
    """
    start_logging(flags.pop("log_level"), flags.pop("log_format"))
    require_known_zone()
    container = flags.pop("backrest_container")
    policy = Policy(
        **{name: flags.pop(name) for name in _PLAIN_POLICY if name in flags},
        path_map=parse_path_map(flags.pop("path_map")),
        hook_policy=HookPolicy(flags.pop("hook_policy")),
        runner_container=container or Policy().runner_container,
    )
    return ReconcilerSettings(
        config=flags.pop("config"),
        policy=check_policy(policy),
        source=_build_source(flags),
        secrets_dir=flags.pop("secrets_dir"),
        config_mode=parse_mode(flags.pop("config_mode", "keep")),
        accept_version=flags.pop("accept_version"),
        state_dir=flags.pop("state_dir", None),
        runner_named=bool(container),
        lifetime=_build_lifetime(flags),
        access=_build_access(flags),
        applying=_build_applying(flags),
        watching=_build_watching(flags),
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
        take_over=frozenset(flags.pop("take_over", ())),
    )


def _build_access(flags: dict[str, Any]) -> BackrestLogin:
    url, user = flags.pop("backrest_url", ""), flags.pop("backrest_user", "")
    file = flags.pop("backrest_password_file", None)
    password = os.environ.get(f"{VARIABLE}BACKREST_PASSWORD", "")
    return check_access(BackrestLogin(url, user, read_password(file) if file else password))


def _build_applying(flags: dict[str, Any]) -> Applying:
    given = {
        name: parse_duration(f"--{flag}", flags.pop(flag.replace("-", "_")))
        for flag, name in _DURATIONS.items()
        if flag.replace("-", "_") in flags
    }
    via = ApplyVia(flags.pop("apply_via", ApplyVia.AUTO))
    return Applying(flags.pop("apply", False), via, **given)


_DURATIONS = {
    "apply-wait": "wait",
    "apply-settle": "settle",
    "restart-timeout": "restart_timeout",
    "guard-after": "guard_after",
}


def _build_watching(flags: dict[str, Any]) -> Watching:
    interval = parse_duration("--interval", flags.pop("interval", "60s"))
    if interval < _LEAST_INTERVAL:
        raise UsageError(f"--interval {interval:g}s is too short", "write 1s or more")
    events = flags.pop("with_events", True)
    listen = flags.pop("listen", None)
    settle = parse_duration("--settle", flags.pop("settle", "100ms"))
    cap = parse_duration("--settle-cap", flags.pop("settle_cap", "500ms"))
    if cap < settle:
        raise UsageError(
            f"--settle-cap {cap:g}s is shorter than --settle {settle:g}s", "write a longer one"
        )
    return Watching(
        interval,
        events,
        settle,
        cap,
        listen=parse_listen(listen) if listen else None,
        allowed_hosts=parse_allowed_hosts(flags.pop("allowed_hosts", ())),
    )


def _build_source(flags: dict[str, Any]) -> InventorySource:
    compose, files = flags.pop("compose", ()), flags.pop("files", ())
    inventory, save = flags.pop("inventory", None), flags.pop("save_inventory", None)
    if files and not compose:
        raise click.UsageError(f"{files[0]!r} is neither a command nor a file after --compose")
    if inventory and compose:
        raise click.UsageError("--inventory and --compose exclude each other")
    if save and (inventory or compose):
        raise click.UsageError("--save-inventory saves what an engine says: leave the other out")
    return InventorySource(flags.pop("docker_sock", None), inventory, (*compose, *files), save)
