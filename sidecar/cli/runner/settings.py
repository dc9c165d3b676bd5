"""Values of the runner's flags → checked settings."""

from datetime import date
from typing import Any

from sidecar.backrest.cron import CronError, check_cron
from sidecar.cli.options import parse_allowed_hosts, parse_listen
from sidecar.engines.restic import OnMissing
from sidecar.lib.errors import UsageError
from sidecar.lib.log import start_logging
from sidecar.lib.zones import require_known_zone
from sidecar.runner.due import CatchUp
from sidecar.runner.empty_source import EmptySourceOptions
from sidecar.runner.notify.notices import NoticeEvent
from sidecar.runner.settings import (
    NO_DOCKER,
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


def build_settings(flags: dict[str, Any]) -> RunnerSettings:
    """Return checked settings of click's values, and start logging.

    Takes the values of the option groups out of `flags`; groups that a command does not have
    get their defaults. Raises UsageError naming the flag.
    """
    start_logging(flags.pop("log_level"), flags.pop("log_format"))
    require_known_zone()
    listen = flags.pop("listen", None)
    return RunnerSettings(
        config=flags.pop("config"),
        state_dir=flags.pop("state_dir"),
        scheduling=_scheduling(flags),
        running=_running(flags),
        notifying=_notifying(flags),
        emptiness=_emptiness(flags),
        restore_check=_cron(flags.pop("restore_check_schedule", "")),
        neighbour=_neighbour(flags),
        identity=resolve_identity(flags.pop("puid"), flags.pop("pgid")),
        journal_keep=flags.pop("journal_keep"),
        health_grace=parse_seconds("--health-grace", flags.pop("health_grace", "1h")),
        listen=parse_listen(listen) if listen else None,
        allowed_hosts=parse_allowed_hosts(flags.pop("allowed_hosts", ())),
    )


def _scheduling(flags: dict[str, Any]) -> Scheduling:
    return Scheduling(
        flags.pop("seats", Scheduling().seats),
        CatchUp(flags.pop("catch_up", CatchUp.ONCE)),
        flags.pop("backup_on_start", False),
        parse_seconds("--grace", flags.pop("grace", "30s")),
    )


def _running(flags: dict[str, Any]) -> Running:
    return Running(
        flags.pop("restic", "restic"),
        OnMissing(flags.pop("on_missing", OnMissing.FAIL)),
        parse_limit("--stall-timeout", flags.pop("stall_timeout", "1h")),
        parse_limit("--hook-timeout", flags.pop("hook_timeout", "30m")),
        parse_seconds("--lock-wait", flags.pop("lock_wait", "10m")),
    )


def _notifying(flags: dict[str, Any]) -> Notifying:
    urls, file = flags.pop("notify_url", ()), flags.pop("notify_url_file", None)
    more = read_lines("--notify-url-file", file) if file else ()
    return Notifying((*urls, *more), frozenset(map(NoticeEvent, flags.pop("notify_on", ()))))


def _emptiness(flags: dict[str, Any]) -> EmptySourceOptions:
    return EmptySourceOptions(
        flags.pop("restore_empty", False),
        frozenset(flags.pop("restore_empty_plan", ())),
        frozenset(flags.pop("empty_on_purpose", ())),
        flags.pop("restore_stop", False),
    )


def _neighbour(flags: dict[str, Any]) -> Neighbour:
    found = Neighbour(
        flags.pop("backrest_data", None),
        flags.pop("backrest_container", ""),
        flags.pop("docker_sock", ""),
        flags.pop("force", False),
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
