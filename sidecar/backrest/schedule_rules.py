"""Backrest's rules for schedules and retentions, of plans and repositories alike."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

from sidecar.backrest.cron import CronError, check_cron
from sidecar.backrest.fault import Fault
from sidecar.backrest.messages import BUCKETS, RETENTION, Message
from sidecar.backrest.numerals import parse_integer

_FREQUENCIES: Final = ("maxFrequencyDays", "maxFrequencyHours")


def value_of(holder: Mapping[str, Any], message: Message, name: str) -> tuple[str, Any]:
    """Give the field `name` as (the spelling used, its value); None for unset or null."""
    for spelling in message.fields[name].spellings:
        if holder.get(spelling) is not None:
            return spelling, holder[spelling]
    return name, None


def check_schedule(schedule: Mapping[str, Any], today: date | None) -> Iterator[Fault]:
    """List what Backrest refuses in a schedule of the right shape."""
    if schedule.get("disabled") is False:
        yield Fault("/disabled", "`disabled` may only be true", "remove it, or write true")
    for name in _FREQUENCIES:
        frequency = schedule.get(name)
        if frequency is not None and _number(frequency) < 1:
            yield Fault(f"/{name}", f"{name} is less than 1", "write 1 or more")
    if schedule.get("cron") is not None:
        yield from _check_cron(schedule["cron"], today)


def _check_cron(expression: str, today: date | None) -> Iterator[Fault]:
    try:
        check_cron(expression, today)
    except CronError as error:
        yield Fault("/cron", error.message, error.hint)


def is_active(schedule: Mapping[str, Any] | None) -> bool:
    """Whether a schedule fires at all: set, and not by `disabled`."""
    held = schedule or {}
    return any(held.get(name) is not None for name in ("cron", *_FREQUENCIES))


def check_retention(retention: Mapping[str, Any]) -> Iterator[Fault]:
    """List what Backrest refuses in a retention of the right shape."""
    members = [key for key, field in RETENTION.fields.items() if retention.get(key) is not None]
    if not members:
        yield Fault("", "the retention names no policy", "set one, or remove `retention`")
    for key in members:
        if RETENTION.fields[key].message is BUCKETS and _is_empty(retention[key]):
            yield Fault(f"/{key}", "all counts are zero", "keep at least one snapshot")


def _is_empty(buckets: Mapping[str, Any]) -> bool:
    counts = [buckets.get(key) for key in BUCKETS.fields]
    return all(count is None or _number(count) == 0 for count in counts)


def _number(text: str) -> int:
    # The shape was checked, so there always is a number.
    return parse_integer(text, 32) or 0
