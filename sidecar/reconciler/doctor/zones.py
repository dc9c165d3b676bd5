"""Whether the runner reads its schedules by the same clock as we show them."""

from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from sidecar.reconciler.doctor.check import Finding, NotChecked, passed, warned
from sidecar.reconciler.doctor.patient import Patient
from sidecar.reconciler.zones import local_zone

_NOWHERE = Path("/proc/self/no-such-file")
_LOCALTIME = "/etc/localtime"
_MONTH = timedelta(days=30)
_HINT = "set the same TZ in both containers, as in TZ=Europe/Berlin"


def check_zones(patient: Patient) -> Finding:
    """Compare offsets over a year: two names may mean the same."""
    runner = patient.runner
    ours, name = local_zone(patient.environment, patient.localtime)
    if not runner.time_zone and any(m.destination == _LOCALTIME for m in runner.mounts):
        raise NotChecked(f"{runner.name} has the zone of the {_LOCALTIME} mounted there")
    theirs, called = local_zone({"TZ": runner.time_zone}, _NOWHERE)
    if runner.time_zone and called != runner.time_zone:
        return warned(
            f"TZ={runner.time_zone} of {runner.name} is no time zone that is known here", _HINT
        )
    if _offsets(ours, patient.now) == _offsets(theirs, patient.now):
        return passed(f"both are in {called}")
    return warned(
        f"{runner.name} runs its schedules in {called}, and the sidecar is in {name}", _HINT
    )


def _offsets(zone: tzinfo, now: datetime) -> list[timedelta | None]:
    moments = (now.astimezone(UTC) + month * _MONTH for month in range(12))
    return [moment.astimezone(zone).utcoffset() for moment in moments]
