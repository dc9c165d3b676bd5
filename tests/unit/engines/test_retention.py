"""What a retention keeps, and that the same is kept as restic keeps."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sidecar.backrest.plan import Retention
from sidecar.engines.base import EngineError
from sidecar.engines.retention import Tier, check_retention, kept
from tests.engines.retention_facts import Fact, recorded


def at(*texts: str) -> list[datetime]:
    """Return times, in UTC where nothing else is said."""
    read = (datetime.fromisoformat(text) for text in texts)
    return [time if time.tzinfo else time.replace(tzinfo=UTC) for time in read]


def days(kept_times: Sequence[datetime] | dict[datetime, tuple[Tier, ...]]) -> list[str]:
    """Return day and hour of times, as `29T03`."""
    return [f"{time:%dT%H}" for time in kept_times]


FACTS = recorded()


@pytest.mark.parametrize("history", sorted({fact.history.name for fact in FACTS}))
def test_what_a_current_restic_keeps_is_kept(history: str) -> None:
    """Each snapshot of a recorded history, by the same rules, whatever the retention."""
    told = [fact for fact in FACTS if fact.history.name == history]

    assert [fact.kept for fact in told] == [_ours(fact) for fact in told]


def _ours(fact: Fact) -> dict[datetime, frozenset[str]]:
    ours = kept(fact.history.times, fact.retention)
    return {time: frozenset(tiers) for time, tiers in ours.items()}


def test_each_time_tells_what_keeps_it() -> None:
    """Newest first; the rules from the shortest time to the longest."""
    times = at("2026-11-27T03:00", "2026-11-28T03:00", "2026-11-29T03:00", "2026-11-29T15:00")
    ours = kept(times, Retention(last=1, daily=2, yearly=1))

    assert {
        times[3]: (Tier.LAST, Tier.DAILY, Tier.YEARLY),
        times[1]: (Tier.DAILY,),
    } == ours
    assert [times[3], times[1]] == list(ours)


def test_daily_counts_days_and_last_counts_runs() -> None:
    """Ten runs a day: seven of the last are one day, seven days are seven days."""
    first = datetime(2026, 11, 1, tzinfo=UTC)
    times = [first + timedelta(hours=2 * number) for number in range(12 * 20)]

    assert ["20T22", "20T20", "20T18", "20T16", "20T14", "20T12", "20T10"] == days(
        kept(times, Retention(last=7))
    )
    assert ["20T22", "19T22", "18T22", "17T22", "16T22", "15T22", "14T22"] == days(
        kept(times, Retention(daily=7))
    )


def test_days_without_a_snapshot_do_not_count() -> None:
    """A machine that was off for months loses nothing when it is back."""
    times = at("2026-01-01T03:00", "2026-01-02T03:00", "2026-11-29T03:00")

    assert times == sorted(kept(times, Retention(daily=3)))


def test_the_oldest_stays_while_there_are_too_few() -> None:
    """Two days have snapshots where three are wanted: how far back it goes stays as it is."""
    times = at("2026-11-28T01:00", "2026-11-28T02:00", "2026-11-28T03:00", "2026-11-29T03:00")

    assert ["29T03", "28T03", "28T01"] == days(kept(times, Retention(daily=3)))
    assert ["29T03", "28T03"] == days(kept(times, Retention(daily=2)))


def test_a_day_is_one_of_the_clock_on_the_wall() -> None:
    """The offset of the snapshot decides, not UTC, and not where it is read."""
    late = at("2026-11-28T23:30+01:00", "2026-11-29T00:30+01:00")

    assert 2 == len(kept(late, Retention(daily=2)))
    assert 1 == len(kept(at("2026-11-28T22:30", "2026-11-28T23:30"), Retention(daily=1)))
    assert ["29T00"] == days(kept(late, Retention(daily=1)))


def test_the_hour_that_comes_twice_is_one() -> None:
    """In the night in which clocks go back, the later of both is kept."""
    times = at("2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-25T03:30+01:00")

    assert [times[2], times[1]] == list(kept(times, Retention(hourly=2)))


def test_times_of_a_zone_are_ordered_by_what_really_passed() -> None:
    """Python takes both hours of that night for equal if they are of one zone."""
    berlin = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 2, 10, tzinfo=berlin, fold=1)
    before = datetime(2026, 10, 25, 2, 50, tzinfo=berlin, fold=0)

    assert [first] == list(kept([before, first], Retention(last=1)))
    assert [first] == list(kept([first, before], Retention(last=1)))


def test_a_week_is_that_of_the_iso_calendar() -> None:
    """The last days of a year may belong to the first week of the next one."""
    times = at("2024-12-29T03:00", "2024-12-30T03:00", "2025-01-05T03:00")

    assert [times[2], times[0]] == list(kept(times, Retention(weekly=2)))


def test_what_keeps_one_of_a_moment_keeps_all_of_it() -> None:
    """Which of them was the later one, nobody knows; each counts."""
    one, same, older = at("2026-11-29T03:00", "2026-11-29T04:00+01:00", "2026-11-28T03:00")

    assert {one: (Tier.LAST,)} == kept([one, same, older], Retention(last=1))
    assert {one: (Tier.LAST,)} == kept([older, same, one], Retention(last=2))
    assert 2 == len(kept([one, same, older], Retention(last=3)))


def test_everything() -> None:
    """The rule that needs no count."""
    times = at("2026-11-28T03:00", "2026-11-29T03:00")

    assert dict.fromkeys(times, (Tier.ALL,)) == kept(times, Retention(keep_all=True))


@pytest.mark.parametrize("retention", [Retention(), Retention(daily=7, hourly=-1)])
def test_a_retention_without_a_meaning_deletes_nothing(retention: Retention) -> None:
    """It is refused, also where there is nothing to delete."""
    with pytest.raises(EngineError, match="nothing is deleted"):
        kept([], retention)
    with pytest.raises(EngineError, match="nothing is deleted"):
        check_retention(retention)


def test_a_time_without_an_offset_is_refused() -> None:
    """It would be read by the settings of the machine."""
    naive = datetime(2026, 11, 29)  # noqa: DTZ001 - what is refused

    with pytest.raises(ValueError, match="without an offset"):
        kept([naive], Retention(last=1))


def test_nothing_is_kept_of_nothing() -> None:
    """No snapshot, no error."""
    assert {} == kept([], Retention(daily=7))
