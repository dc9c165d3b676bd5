"""The moments at which a schedule fires: one iterator, with a policy for when clocks change.

A cron is evaluated on the wall clock of a zone. Backrest and backrest-runner differ only where
that clock skips or repeats a time: see `DstPolicy`.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum
from itertools import groupby, islice, takewhile
from operator import itemgetter

from cronsim import CronSim, CronSimError

from sidecar.backrest.cron import canonical_cron
from sidecar.backrest.plan import Schedule

EARLIEST = 1_735_689_600.0
"""The begin of 2025 in unix seconds: a machine without a battery for its clock starts below."""

_MINUTE = timedelta(minutes=1)
# A cron of which the clocks skip each time, as 02:00 on a certain Sunday, never fires in Backrest.
_YEARS_AHEAD = 100
_HOUR_SECONDS = 3600


class DstPolicy(Enum):
    """What a cron does with times that the wall clock skips or repeats.

    In Europe/Berlin, where in spring 02:00 to 03:00 is skipped and in autumn shown twice:

    | cron | change | BACKREST | OURS |
    |---|---|---|---|
    | `30 2 * * *` | spring | not that day | 03:00 CEST, when the clocks have skipped it |
    | `30 2 * * *` | autumn | 02:30 CEST and 02:30 CET | 02:30 CEST |
    | `30 * * * *` | spring | 01:30 CET, 03:30 CEST | the same |
    | `30 * * * *` | autumn | 02:30 CEST, 02:30 CET | the same |

    BACKREST is what Backrest was seen to do. With OURS, that of backrest-runner, each time on
    the wall counts once, so that no daily backup is left out and none runs twice. What fires
    each hour is about the hours that pass, and there both agree.
    """

    BACKREST = "backrest"
    OURS = "ours"


def cron_fires(cron: str, zone: tzinfo, after: float, policy: DstPolicy) -> Iterator[float]:
    """Yield the fires of a cron for a hundred years, in order; none where Backrest refuses it.

    `after` and the fires are unix seconds; a fire at `after` itself has been.
    """
    try:
        plain = canonical_cron(cron)
    except ValueError:
        return iter(())
    if plain.split(" ")[1] == "*":
        policy = DstPolicy.BACKREST
    wall = datetime.fromtimestamp(after, UTC).astimezone(zone).replace(tzinfo=None)
    first, second = _first_and_second(wall, zone)
    # What has been on the wall may come once more, for as long as the clocks are set back.
    repeats = policy is DstPolicy.BACKREST and first < second
    walls = _wall_times(plain, wall - timedelta(seconds=second - first if repeats else 0))
    # Times that are skipped together fire together.
    fires = map(itemgetter(0), groupby(_moments(walls, zone, policy)))
    return filter(float(after).__lt__, fires)


def pause_fires(seconds: int, after: float) -> Iterator[float]:
    """Yield the fires, in unix seconds, of a schedule that has so long a pause: endless."""
    while True:
        after += seconds
        yield after


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
    zone, end = start.tzinfo or UTC, until.timestamp()
    pause = (schedule.every_hours + 24 * schedule.every_days) * _HOUR_SECONDS
    fires: Iterator[float] = iter(())
    if schedule.cron:
        fires = cron_fires(schedule.cron, zone, start.timestamp(), DstPolicy.BACKREST)
    elif pause:
        fires = pause_fires(pause, start.timestamp())
    within = takewhile(lambda fire: fire <= end, fires)
    return [datetime.fromtimestamp(fire, zone) for fire in islice(within, limit)]


def _moments(walls: Iterator[datetime], zone: tzinfo, policy: DstPolicy) -> Iterator[float]:
    """Map wall times to moments, in order; those of skipped times may come several times."""
    repeated: deque[float] = deque()
    for wall in walls:
        first, second = _first_and_second(wall, zone)
        while repeated and repeated[0] <= first:
            yield repeated.popleft()
        if first <= second:
            yield first
        elif policy is DstPolicy.OURS:
            yield _end_of_gap(wall, zone)
        if policy is DstPolicy.BACKREST and first < second:
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
    """Return the times on the wall at which a cron fires in the years after a naive time."""
    try:
        simulator = CronSim(cron, after)
    except CronSimError:
        return iter(())
    # Backrest joins the day fields by AND whatever they look like.
    simulator.day_and = True
    last = after.year + _YEARS_AHEAD
    return takewhile(lambda wall: wall.year <= last, simulator)
