"""Checks of this machine: the state directory, the clock, and the same time zone as Backrest."""

import os
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from sidecar.lib.write_file import write_small
from sidecar.lib.zones import local_zone
from sidecar.reconciler.doctor.check import CheckContext, NotChecked
from sidecar.schedule.fires import EARLIEST
from sidecar.service.check_result import CheckResult, failed, passed, warned

_PROBE = "doctor"
_AHEAD_SECONDS = 300.0
_MONTH = timedelta(days=30)
_LOCALTIME = "/etc/localtime"
_NOWHERE = Path("/proc/self/no-such-file")
_SAME_TZ = "set the same TZ in both containers, as in TZ=Europe/Berlin"


def check_state(context: CheckContext) -> CheckResult:
    """Write a small file into the state directory, and remove it."""
    directory = context.settings.state_directory
    fixed = ""
    try:
        if not directory.exists():
            if not context.fix:
                return _absent(context)
            directory.mkdir(mode=0o700, parents=True)
            fixed = f"{directory} created"
        write_small(directory, _PROBE, b"", durable=False)
        (directory / _PROBE).unlink(missing_ok=True)
    except OSError as error:
        return failed(
            f"nothing can be remembered in {directory}: {error.strerror}",
            "let the sidecar's user write there, or name another directory with --state-dir",
        )
    return passed(f"{directory} can be written", fixed=fixed)


def _absent(context: CheckContext) -> CheckResult:
    directory = context.settings.state_directory
    if os.access(directory.parent, os.W_OK | os.X_OK):
        hint = "run `backrest-sidecar doctor --fix`; the daemon makes it too"
        return warned(f"there is no {directory} yet", hint)
    if directory.parent.exists():
        return failed(
            f"there is no {directory}, and user {os.geteuid()} cannot make it",
            "run as the owner of the directory that it belongs into, or correct --state-dir",
        )
    return failed(
        f"there is no directory {directory.parent} in which {directory.name} could be made",
        "run `backrest-sidecar doctor --fix`, or correct --state-dir",
    )


def check_clock(context: CheckContext) -> CheckResult:
    """Compare this machine's clock with what has already happened."""
    now = context.now
    shown = f"{now:%Y-%m-%d %H:%M %Z}"
    hint = "set the clock, as by NTP: schedules and retention go by it"
    if now.timestamp() < EARLIEST:
        return failed(f"it is not {shown}, whatever this machine says", hint)
    try:
        saved = context.settings.config.stat().st_mtime
    except OSError:
        saved = 0.0
    if saved > now.timestamp() + _AHEAD_SECONDS:
        when = datetime.fromtimestamp(saved, now.tzinfo)
        return warned(f"it is {shown}, and the document was saved {when:%Y-%m-%d %H:%M %Z}", hint)
    return passed(f"it is {shown} here")


def check_zones(context: CheckContext) -> CheckResult:
    """Compare the zones' offsets over a year: two names may mean the same."""
    backrest = context.backrest
    ours, name = local_zone(context.environment, context.localtime)
    if not backrest.time_zone and any(m.destination == _LOCALTIME for m in backrest.mounts):
        raise NotChecked(f"{backrest.name} has the zone of the {_LOCALTIME} mounted there")
    theirs, called = local_zone({"TZ": backrest.time_zone}, _NOWHERE)
    if backrest.time_zone and called != backrest.time_zone:
        return warned(
            f"TZ={backrest.time_zone} of {backrest.name} is no time zone that is known here",
            _SAME_TZ,
        )
    if _offsets(ours, context.now) == _offsets(theirs, context.now):
        return passed(f"both are in {called}")
    return warned(
        f"{backrest.name} runs its schedules in {called}, and the sidecar is in {name}", _SAME_TZ
    )


def _offsets(zone: tzinfo, now: datetime) -> list[timedelta | None]:
    moments = (now.astimezone(UTC) + month * _MONTH for month in range(12))
    return [moment.astimezone(zone).utcoffset() for moment in moments]
