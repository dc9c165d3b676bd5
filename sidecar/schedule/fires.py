"""Which moments a cron means to the runner, whatever the clocks do."""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby
from operator import itemgetter

from cronsim import CronSim, CronSimError

from sidecar.backrest.cron import canonical_cron

_MINUTE = timedelta(minutes=1)


def cron_fires(cron: str, zone: tzinfo, after: float) -> Iterator[float]:
    """List the fires of a cron that Backrest accepts, in unix seconds: endless, or none.

    Each time on the wall counts once: of two that are the same the first. What the clocks
    skip fires when they have skipped it. Only a cron of every hour, which is about the hours
    that pass, fires in both of two equal ones and in none that is skipped.
    """
    plain, after = canonical_cron(cron), float(after)
    is_hourly = plain.split()[1] == "*"
    wall = datetime.fromtimestamp(after, UTC).astimezone(zone).replace(tzinfo=None)
    first, second = _moments(wall, zone)
    # What has been on the wall may come once more, for as long as the clocks are set back.
    back = timedelta(seconds=max(0.0, second - first)) if is_hourly else timedelta()
    try:
        simulator = CronSim(plain, wall - back)
    except CronSimError:
        return iter(())
    # Backrest joins the day fields by AND whatever they look like.
    simulator.day_and = True
    fires = groupby(_instants(simulator, zone, is_hourly=is_hourly))
    return filter(after.__lt__, map(itemgetter(0), fires))


def _instants(walls: Iterator[datetime], zone: tzinfo, *, is_hourly: bool) -> Iterator[float]:
    """Map times on the wall to moments, in order; some come twice."""
    repeated: deque[float] = deque()
    for wall in walls:
        first, second = _moments(wall, zone)
        while repeated and repeated[0] <= first:
            yield repeated.popleft()
        if first <= second:
            yield first
        elif not is_hourly:
            yield _end_of_gap(wall, zone)
        if is_hourly and first < second:
            repeated.append(second)
    yield from repeated


def _moments(wall: datetime, zone: tzinfo) -> tuple[float, float]:
    """Give when the wall shows this: the second is later if twice, earlier if never."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return first, second


def _end_of_gap(wall: datetime, zone: tzinfo) -> float:
    """Find the moment at which the clocks have skipped a time on the wall."""
    first, second = _moments(wall, zone)
    while second < first:
        wall += _MINUTE
        first, second = _moments(wall, zone)
    return first
