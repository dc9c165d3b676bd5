"""Laws of retention: what holds for any history."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from sidecar.backrest.plan import Retention
from sidecar.engines.retention import Tier, kept
from tests.engines.retention_facts import RULES, retention_of

START = datetime(2023, 12, 1, tzinfo=UTC)

offsets = st.sampled_from((-720, -570, -300, 0, 60, 120, 330, 345, 840)).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
# Near to each other, so that many share an hour, a day or the moment.
minutes = st.one_of(st.integers(0, 3000), st.integers(0, 2_000_000)).map(lambda one: one // 7 * 7)
times = st.builds(
    lambda after, zone: (START + timedelta(minutes=after)).astimezone(zone), minutes, offsets
)
histories = st.lists(times, max_size=40)
numbers = st.integers(0, 6)
retentions = st.builds(Retention, *(numbers for _ in RULES)).filter(lambda one: one != Retention())


def counts_of(retention: Retention) -> dict[str, int]:
    """Return the counts by the names of their rules."""
    return {rule: getattr(retention, rule) for rule in RULES}


@given(histories, retentions)
def test_only_what_is_there_is_kept_and_the_newest_always(
    history: list[datetime], retention: Retention
) -> None:
    """Newest first, each with at least one rule that is set."""
    ours = kept(history, retention)

    assert set(ours) <= set(history)
    assert sorted(ours, reverse=True) == list(ours)
    assert sorted(history, reverse=True)[:1] == list(ours)[:1]
    assert all(tiers for tiers in ours.values())
    assert all(getattr(retention, tier) for tiers in ours.values() for tier in tiers)


@given(histories.flatmap(lambda one: st.tuples(st.just(one), st.permutations(one))), retentions)
def test_the_order_of_a_list_means_nothing(
    orders: tuple[list[datetime], list[datetime]], retention: Retention
) -> None:
    """Also that of snapshots of one moment."""
    one, other = orders

    assert list(kept(one, retention).items()) == list(kept(other, retention).items())


@given(histories, retentions)
def test_once_more_forgets_nothing_more(history: list[datetime], retention: Retention) -> None:
    """What was kept is kept again, for the same reasons."""
    once = kept(history, retention)

    assert once == kept([time for time in history if time in once], retention)


@given(histories, retentions, st.sampled_from(RULES), st.integers(1, 5))
def test_a_greater_count_keeps_more(
    history: list[datetime], retention: Retention, rule: str, more: int
) -> None:
    """Never less, of any rule."""
    greater = retention_of({**counts_of(retention), rule: getattr(retention, rule) + more})

    assert set(kept(history, retention)) <= set(kept(history, greater))


@given(histories, retentions)
def test_rules_do_not_know_each_other(history: list[datetime], retention: Retention) -> None:
    """Each keeps what it would keep alone."""
    alone = [
        kept(history, retention_of({rule: count}))
        for rule, count in counts_of(retention).items()
        if count
    ]

    assert set(kept(history, retention)) == {time for each in alone for time in each}


@given(st.lists(times, max_size=40, unique=True), retentions)
def test_a_rule_keeps_no_more_than_its_count(history: list[datetime], retention: Retention) -> None:
    """The oldest that is kept while there are too few is one of them."""
    reasons = [tier for tiers in kept(history, retention).values() for tier in tiers]

    for rule, count in counts_of(retention).items():
        assert reasons.count(Tier(rule)) <= count


@given(st.lists(times, max_size=40, unique=True), retentions)
def test_a_rule_that_is_not_full_reaches_to_the_oldest(
    history: list[datetime], retention: Retention
) -> None:
    """How far back one can go is not shortened while there is room."""
    ours = kept(history, retention)
    reasons = [tier for tiers in ours.values() for tier in tiers]
    full = [reasons.count(Tier(rule)) == count for rule, count in counts_of(retention).items()]

    assert not history or all(full) or min(history) in ours


@given(
    st.lists(st.integers(0, 3 * 86400), min_size=1, max_size=60),
    st.integers(1, 8),
    st.integers(1, 4),
)
def test_forgetting_after_each_run_leaves_each_of_the_last_days(
    pauses: list[int], daily: int, weekly: int
) -> None:
    """What was forgotten on the way is not missed: the newest of each of the last days is there."""
    held: list[datetime] = []
    made: list[datetime] = []
    for pause in pauses:
        made.append((made[-1] if made else START) + timedelta(seconds=pause + 1))
        held = list(kept([*held, made[-1]], Retention(daily=daily, weekly=weekly)))
    newest = {time.date(): time for time in made}
    wanted = sorted(newest.values(), reverse=True)[:daily]

    assert set(wanted) <= set(held)
