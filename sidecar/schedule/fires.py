"""The moments at which a schedule fires: as Backrest has them, and as backrest-runner.

Both evaluate a cron on the wall clock of a zone. They differ where the clocks change:

| time on the wall | Backrest: `backrest_fires` | backrest-runner: `runner_fires` |
|---|---|---|
| skipped in spring | no fire that day | fires when the clocks have skipped it |
| shown twice in autumn | fires both times | fires the first time |
| each hour (`*` as hour) | the same rules | once for each hour that really passes |
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby, islice, takewhile
from operator import itemgetter

from cronsim import CronSim, CronSimError

from sidecar.backrest.cron import canonical_cron
from sidecar.backrest.plan import Schedule

EARLIEST = 1_735_689_600.0
"""The begin of 2025 in unix seconds: a machine without a battery for its clock starts below."""

_MINUTE = timedelta(minutes=1)
_HOUR_SECONDS = 3600
# No zone ever set its clocks back by more.
_LONGEST_OVERLAP = timedelta(days=1)


def backrest_fires(
    schedule: Schedule, start: datetime, until: datetime, limit: int
) -> list[datetime]:
    """List at most `limit` fires of Backrest after `start` up to and with `until`, in order.

    `start` and `until` are aware; the zone of `start` is Backrest's, and the
    fires are in it. A schedule that counts from the last run is approximated as if
    a run of no length had ended at `start`. Where the clocks change at midnight or
    by half an hour, Backrest may miss some fires of that day and of the next that
    are listed here.
    """
    end = until.astimezone(UTC)
    fires = _cron_fires(schedule.cron, start) if schedule.cron else _paced(schedule, start, end)
    within = takewhile(lambda fire: fire <= end, fires)
    return [fire.astimezone(start.tzinfo) for fire in islice(within, limit)]


def _paced(schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the fires, in UTC, of a schedule that counts hours or days; none if disabled."""
    pause = (schedule.every_hours + 24 * schedule.every_days) * _HOUR_SECONDS
    first = start.astimezone(UTC)
    seconds = int((end - first).total_seconds())
    # Stepping in whole seconds up to the end keeps any pause within datetime's range.
    steps = range(pause, seconds + 1, pause) if pause else range(0)
    return (first + timedelta(seconds=step) for step in steps)


def _cron_fires(cron: str, start: datetime) -> Iterator[datetime]:
    """Yield the fires, in UTC and in order, of a cron after `start`: endless, or none at all."""
    after = start.astimezone(UTC)
    walls = _wall_times(cron, start.replace(tzinfo=None) - _LONGEST_OVERLAP)
    return (fire for fire in _backrest_moments(walls, start.tzinfo) if fire > after)


def _backrest_moments(walls: Iterator[datetime], zone: tzinfo | None) -> Iterator[datetime]:
    """Map wall times to moments in UTC: none for a skipped one, two for a repeated one."""
    repeated: deque[datetime] = deque()
    for wall in walls:
        first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if second < first:
            continue
        while repeated and repeated[0] < first:
            yield repeated.popleft()
        yield first
        if second != first:
            repeated.append(second)
    yield from repeated


def runner_fires(cron: str, zone: tzinfo, after: float) -> Iterator[float]:
    """Yield backrest-runner's fires of a cron that Backrest accepts: endless, or none.

    `after` and the fires are unix seconds. Each time on the wall counts once, also if the
    clocks skip or repeat it. Only a cron of every hour, which is about the hours that pass,
    fires in both of two equal ones and in none that is skipped.
    """
    plain, after = canonical_cron(cron), float(after)
    is_hourly = plain.split()[1] == "*"
    wall = datetime.fromtimestamp(after, UTC).astimezone(zone).replace(tzinfo=None)
    first, second = _first_and_second(wall, zone)
    # What has been on the wall may come once more, for as long as the clocks are set back.
    back = timedelta(seconds=max(0.0, second - first)) if is_hourly else timedelta()
    walls = _wall_times(plain, wall - back)
    fires = groupby(_runner_moments(walls, zone, is_hourly=is_hourly))
    return filter(after.__lt__, map(itemgetter(0), fires))


def _runner_moments(walls: Iterator[datetime], zone: tzinfo, *, is_hourly: bool) -> Iterator[float]:
    """Map wall times to moments, in order; some come twice."""
    repeated: deque[float] = deque()
    for wall in walls:
        first, second = _first_and_second(wall, zone)
        while repeated and repeated[0] <= first:
            yield repeated.popleft()
        if first <= second:
            yield first
        elif not is_hourly:
            yield _end_of_gap(wall, zone)
        if is_hourly and first < second:
            repeated.append(second)
    yield from repeated


def _first_and_second(wall: datetime, zone: tzinfo) -> tuple[float, float]:
    """Return when the wall shows this: the second is later if twice, earlier if never."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return first, second


def _end_of_gap(wall: datetime, zone: tzinfo) -> float:
    """Find the moment at which the clocks have skipped a time on the wall."""
    first, second = _first_and_second(wall, zone)
    while second < first:
        wall += _MINUTE
        first, second = _first_and_second(wall, zone)
    return first


def _wall_times(cron: str, after: datetime) -> Iterator[datetime]:
    """Return the times on the wall at which a cron fires after a naive time: endless, or none."""
    try:
        simulator = CronSim(cron, after)
    except CronSimError:
        return iter(())
    # Backrest joins the day fields by AND whatever they look like.
    simulator.day_and = True
    return simulator
