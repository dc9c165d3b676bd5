"""Which snapshots a retention keeps: the same for every engine.

The meaning is that of restic since 0.16, for engines whose program has no retention of its own.
Pure.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby

from sidecar.backrest.plan import Retention
from sidecar.engines.base import EngineError, FailureClass


class Tier(StrEnum):
    """Why a snapshot is kept: the rule of the retention, by its name in `Retention`."""

    LAST = "last"
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"
    ALL = "keep_all"


# Equal for times of the same hour, day, ISO week and so on, as the clock on the wall showed them.
_PERIODS: dict[Tier, Callable[[datetime], Hashable]] = {
    Tier.HOURLY: lambda time: (time.date(), time.hour),
    Tier.DAILY: datetime.date,
    Tier.WEEKLY: lambda time: time.isocalendar()[:2],
    Tier.MONTHLY: lambda time: (time.year, time.month),
    Tier.YEARLY: lambda time: time.year,
}


def kept(times: Iterable[datetime], retention: Retention) -> dict[datetime, tuple[Tier, ...]]:
    """Return the times of the snapshots that are kept, newest first, each with what keeps it.

    All others may be forgotten. `daily=7` keeps the newest snapshot of each of the last seven days
    that have one, and the oldest snapshot of all while there are fewer than seven such days; the
    other rules likewise. Nothing is counted from today: waiting alone makes nothing vanish.

    `times` are aware, in any order. An hour, a day or a week is that which the clock showed where
    the snapshot was taken, by the offset of its time. Snapshots of one moment are counted one by
    one, that with the greatest offset as the newest, but what keeps one of them keeps them all.

    Raises EngineError if `check_retention` does, ValueError for a time without an offset.
    """
    check_retention(retention)
    newest_first = sorted(times, key=_moment, reverse=True)
    if retention.keep_all:
        return dict.fromkeys(newest_first, (Tier.ALL,))
    held = {tier: set(_held(tier, count, newest_first)) for tier, count in _counts(retention)}
    reasons = {time: tuple(tier for tier in held if time in held[tier]) for time in newest_first}
    return {time: tiers for time, tiers in reasons.items() if tiers}


def keeps_by_time(retention: Retention) -> bool:
    """Return whether a retention has a rule of time, such as `daily`."""
    if retention.keep_all:
        return False
    buckets = (
        retention.hourly,
        retention.daily,
        retention.weekly,
        retention.monthly,
        retention.yearly,
    )
    return any(buckets)


def check_retention(retention: Retention) -> None:
    """Raise EngineError for a retention by which nothing may be forgotten.

    That is one that keeps nothing, and one with a count below zero: a document may hold it, restic
    0.14 would forget every snapshot by it, and a current one refuses it.
    """
    if retention.keep_all:
        return
    counts = _counts(retention)
    if not counts:
        message = "the retention keeps nothing: nothing is deleted"
        raise EngineError(FailureClass.UNKNOWN, message)
    for tier, count in counts:
        if count < 0:
            message = f"the retention has {tier}={count}: nothing is deleted"
            raise EngineError(FailureClass.UNKNOWN, message, "write how many are kept")


def _counts(retention: Retention) -> list[tuple[Tier, int]]:
    """Return the rules that are set."""
    counts = [(tier, getattr(retention, tier)) for tier in (Tier.LAST, *_PERIODS)]
    return [(tier, count) for tier, count in counts if count]


def _moment(time: datetime) -> tuple[datetime, timedelta]:
    offset = time.utcoffset()
    if offset is None:
        raise ValueError(f"a time without an offset: {time}")
    # Times of one zone would be compared by what its clocks show, twice the same in autumn.
    return time.astimezone(UTC), offset


def _held(tier: Tier, count: int, newest_first: Sequence[datetime]) -> Sequence[datetime]:
    """Return the times that one rule keeps."""
    if tier is Tier.LAST:
        wanted = newest_first
    else:
        # Side by side only: after a change of the offset a day may come back, and counts again.
        wanted = [next(run) for _, run in groupby(newest_first, _PERIODS[tier])]
    return wanted[:count] if count <= len(wanted) else [*wanted, *newest_first[-1:]]
