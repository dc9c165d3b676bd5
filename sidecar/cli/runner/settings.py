"""Values of the runner's flags → checked settings."""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from sidecar.backrest.cron import CronError, check_cron
from sidecar.cli.names import name_files, read_names
from sidecar.cli.options import parse_allowed_hosts, parse_listen
from sidecar.cli.output.warnings import start_messages
from sidecar.engines.options import OnMissing
from sidecar.lib.errors import UsageError
from sidecar.lib.zones import require_known_zone
from sidecar.runner.due import CatchUp
from sidecar.runner.notify.notices import NoticeEvent
from sidecar.runner.settings import (
    NO_DOCKER,
    EmptySourceOptions,
    Neighbour,
    Notifying,
    RunnerSettings,
    Running,
    Scheduling,
    parse_limit,
    parse_seconds,
    read_lines,
    resolve_identity,
)
from sidecar.runner.union import DocumentChoice

if TYPE_CHECKING:
    from sidecar.backrest.names import Names


def build_settings(flags: Mapping[str, Any]) -> RunnerSettings:
    """Return checked settings of click's values, and start to tell what goes wrong.

    Groups that a command does not have get their defaults. Raises UsageError naming the flag.
    """
    start_messages(flags["log_level"], flags["log_format"])
    require_known_zone()
    listen = flags.get("listen")
    return RunnerSettings(
        config=flags["config"],
        state_dir=flags["state_dir"],
        runner_config=flags["runner_config"],
        sidecar_dir=flags["sidecar_dir"],
        documents=DocumentChoice(flags["documents"]),
        scheduling=_scheduling(flags),
        running=_running(flags),
        notifying=_notifying(flags),
        emptiness=_emptiness(flags),
        restore_check=_cron(flags.get("restore_check_schedule", "")),
        neighbour=_neighbour(flags),
        identity=resolve_identity(flags["puid"], flags["pgid"]),
        journal_keep=flags["journal_keep"],
        health_grace=parse_seconds("--health-grace", flags.get("health_grace", "1h")),
        listen=parse_listen(listen) if listen else None,
        allowed_hosts=parse_allowed_hosts(flags.get("allowed_hosts", ())),
    )


def read_names_for(settings: RunnerSettings) -> "Names | None":
    """Return the names of the plans that stand; None where no document can be read."""
    files = settings.files
    return read_names(name_files(files.config, files.runner, settings.sidecar_dir))


def _scheduling(flags: Mapping[str, Any]) -> Scheduling:
    return Scheduling(
        flags.get("seats", Scheduling().seats),
        CatchUp(flags.get("catch_up", CatchUp.ONCE)),
        flags.get("backup_on_start", False),
        parse_seconds("--grace", flags.get("grace", "30s")),
    )


def _running(flags: Mapping[str, Any]) -> Running:
    return Running(
        flags.get("restic", "restic"),
        OnMissing(flags.get("on_missing", OnMissing.FAIL)),
        parse_limit("--stall-timeout", flags.get("stall_timeout", "1h")),
        parse_limit("--hook-timeout", flags.get("hook_timeout", "30m")),
        parse_seconds("--lock-wait", flags.get("lock_wait", "10m")),
    )


def _notifying(flags: Mapping[str, Any]) -> Notifying:
    urls, file = flags.get("notify_url", ()), flags.get("notify_url_file")
    more = read_lines("--notify-url-file", file) if file else ()
    return Notifying((*urls, *more), frozenset(map(NoticeEvent, flags.get("notify_on", ()))))


def _emptiness(flags: Mapping[str, Any]) -> EmptySourceOptions:
    return EmptySourceOptions(
        flags.get("restore_empty", False),
        frozenset(flags.get("restore_empty_plan", ())),
        frozenset(flags.get("empty_on_purpose", ())),
        flags.get("restore_stop", False),
    )


def _neighbour(flags: Mapping[str, Any]) -> Neighbour:
    found = Neighbour(
        flags.get("backrest_data"),
        flags.get("backrest_container", ""),
        flags.get("docker_sock", ""),
        flags.get("force", False),
    )
    if found.container and not found.has_docker:
        raise UsageError(
            f"--backrest-container {found.container} cannot be asked for with --docker-sock "
            f"{NO_DOCKER}",
            "leave one of them out",
        )
    return found


def _cron(text: str) -> str:
    try:
        if text:
            check_cron(text, date.today())  # noqa: DTZ011 - the local day
    except CronError as error:
        raise UsageError(f"--restore-check-schedule: {error.message}", error.hint) from None
    return text
