"""Both policies about changes of the clocks agree wherever no clock is changed."""

from datetime import UTC, datetime
from itertools import takewhile
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.schedule.fires import DstPolicy, cron_fires
from tests.property.test_due_year import CRONS, DAY, END, START, ZONES

_DAYS = 40


def quiet_until(zone: ZoneInfo, after: int) -> int:
    """Return the end of the days from a moment on in which no clock is changed, nor just before."""
    offsets = [
        datetime.fromtimestamp(after + day * DAY, UTC).astimezone(zone).utcoffset()
        for day in range(-1, _DAYS + 1)
    ]
    same = len(list(takewhile(offsets[0].__eq__, offsets)))
    return after + (same - 2) * DAY


@settings(max_examples=100)
@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    cron=st.sampled_from(CRONS),
    after=st.integers(START, END - 1),
)
def test_the_policies_agree_where_no_clock_is_changed(
    zone: ZoneInfo, cron: str, after: int
) -> None:
    """Fire by fire, up to the day before the next change."""
    end = quiet_until(zone, after)
    ours, backrest = (
        list(takewhile(lambda fire: fire <= end, cron_fires(cron, zone, after, policy)))
        for policy in (DstPolicy.OURS, DstPolicy.BACKREST)
    )
    assert ours == backrest
