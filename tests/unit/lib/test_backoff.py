"""Waits between tries: doubling, spread, and beginning anew after a good time."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.lib.backoff import Backoff


def middle() -> float:
    """Return the chance that spreads nothing."""
    return 0.5


def test_waits_double_up_to_the_limit() -> None:
    """Half a second at first, half a minute at last."""
    backoff = Backoff(chance=middle)

    assert [0.5, 1, 2, 4, 8, 16, 30, 30] == [backoff.next_wait() for _ in range(8)]


def test_good_minute_begins_anew() -> None:
    """A try that went well for long was not one of a row of failures."""
    backoff = Backoff(chance=middle)
    waits = [backoff.next_wait() for _ in range(3)]

    assert [0.5, 1, 2] == waits
    assert backoff.next_wait(well_for=60) == 0.5
    assert backoff.next_wait(well_for=0) == 1


def test_short_success_does_not_begin_anew() -> None:
    """What opens and breaks again at once is still failing."""
    backoff = Backoff(chance=middle)

    assert [0.5, 1, 2] == [backoff.next_wait(well_for=59.9) for _ in range(3)]


def test_reset_begins_anew() -> None:
    """Who knows better may say so."""
    backoff = Backoff(chance=middle)
    backoff.next_wait()
    backoff.reset()

    assert backoff.next_wait() == 0.5


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=300))
def test_wait_is_spread_by_half_of_itself(chances: list[float]) -> None:
    """Never less than half the wait, never more than one and a half of it."""
    left = iter(chances)
    backoff = Backoff(chance=lambda: next(left))

    for number, _ in enumerate(chances):
        whole = min(0.5 * 2**number, 30)
        assert whole * 0.5 <= backoff.next_wait() <= whole * 1.5


def test_without_a_chance_of_its_own_waits_differ() -> None:
    """Many who lost the same engine do not come back in step."""
    assert len({Backoff().next_wait() for _ in range(20)}) > 1
