"""Values of the sidecar's flags → checked settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sidecar.cli.backrest_log import build_login
from sidecar.cli.commands.options import VARIABLE
from sidecar.cli.options import parse_allowed_hosts, parse_listen
from sidecar.cli.output.warnings import start_messages
from sidecar.labels.policy import HookPolicy, Policy
from sidecar.lib.errors import UsageError
from sidecar.lib.zones import require_known_zone
from sidecar.planner.lifecycle import Orphans
from sidecar.reconciler.settings import (
    Applying,
    ApplyVia,
    InventorySource,
    Lifetime,
    ReconcilerSettings,
    Watching,
    check_policy,
    parse_duration,
    parse_mode,
    parse_path_map,
)

_LEAST_INTERVAL = 1.0


def build_settings(flags: Mapping[str, Any]) -> ReconcilerSettings:
    """Return checked settings of click's values, and start to tell what goes wrong.

    Groups that a command does not have get their defaults. Raises UsageError naming the flag.
    """
    start_messages(flags["log_level"], flags["log_format"])
    require_known_zone()
    container = flags["backrest_container"]
    policy = Policy(
        **{name: flags[name] for name in _PLAIN_POLICY if name in flags},
        path_map=parse_path_map(flags["path_map"]),
        hook_policy=HookPolicy(flags["hook_policy"]),
        runner_container=container or Policy().runner_container,
    )
    return ReconcilerSettings(
        config=flags["config"],
        runner_config=_build_runner_config(flags),
        policy=check_policy(policy),
        source=_build_source(flags),
        secrets_dir=flags["secrets_dir"],
        config_mode=parse_mode(flags.get("config_mode", "keep")),
        accept_version=flags["accept_version"],
        state_dir=flags.get("state_dir"),
        runner_named=bool(container),
        lifetime=_build_lifetime(flags),
        access=build_login(flags, VARIABLE),
        applying=_build_applying(flags),
        watching=_build_watching(flags),
    )


def _build_runner_config(flags: Mapping[str, Any]) -> Path | None:
    path: Path | None = flags.get("runner_config")
    if path is not None and path.absolute() == flags["config"].absolute():
        raise UsageError(
            "--runner-config names the document of --config",
            "give it a file of its own, as runner.json beside that",
        )
    return path


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


def _build_lifetime(flags: Mapping[str, Any]) -> Lifetime:
    return Lifetime(
        Orphans(flags.get("orphans", Orphans.DISABLE)),
        parse_duration("--orphan-grace", flags.get("orphan_grace", "7d")),
        accept_orphans=flags.get("accept_orphans", False),
        accept_engine=flags.get("accept_engine", False),
        take_over=frozenset(flags.get("take_over", ())),
    )


def _build_applying(flags: Mapping[str, Any]) -> Applying:
    given = {
        name: parse_duration(f"--{flag}", flags[flag.replace("-", "_")])
        for flag, name in _DURATIONS.items()
        if flag.replace("-", "_") in flags
    }
    via = ApplyVia(flags.get("apply_via", ApplyVia.AUTO))
    return Applying(flags.get("apply", False), via, **given)


_DURATIONS = {
    "apply-wait": "wait",
    "apply-settle": "settle",
    "restart-timeout": "restart_timeout",
    "guard-after": "guard_after",
}


def _build_watching(flags: Mapping[str, Any]) -> Watching:
    interval = parse_duration("--interval", flags.get("interval", "60s"))
    if interval < _LEAST_INTERVAL:
        raise UsageError(f"--interval {interval:g}s is too short", "write 1s or more")
    events = flags.get("with_events", True)
    listen = flags.get("listen")
    settle = parse_duration("--settle", flags.get("settle", "100ms"))
    cap = parse_duration("--settle-cap", flags.get("settle_cap", "500ms"))
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
        allowed_hosts=parse_allowed_hosts(flags.get("allowed_hosts", ())),
    )


def _build_source(flags: Mapping[str, Any]) -> InventorySource:
    compose, files = flags.get("compose", ()), flags.get("files", ())
    inventory, save = flags.get("inventory"), flags.get("save_inventory")
    if files and not compose:
        raise click.UsageError(f"{files[0]!r} is neither a command nor a file after --compose")
    if inventory and compose:
        raise click.UsageError("--inventory and --compose exclude each other")
    if save and (inventory or compose):
        raise click.UsageError("--save-inventory saves what an engine says: leave the other out")
    return InventorySource(flags.get("docker_sock"), inventory, (*compose, *files), save)
