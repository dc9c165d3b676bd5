"""Remember periods and next fires: thousands of plans share a few schedules."""

from sidecar.backrest.reading import Timing
from sidecar.runner.due import Scheduler
from sidecar.runner.journal import Past

_MOST = 10_000


class Timetable:
    """Computes the period and the next fire of timings, each once; safe for threads.

    Two threads may compute the same at a time, and come to the same result.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._periods: dict[Timing, float | None] = {}
        self._fires: dict[Timing, float] = {}

    def period(self, timing: Timing, now: float) -> float | None:
        """Return the longest pause between two fires, in seconds; None: it never fires."""
        if not timing.is_active:
            return None
        try:
            return self._periods[timing]
        except KeyError:
            found = self._scheduler.longest_pause(timing, now)
        if len(self._periods) >= _MOST:
            self._periods.clear()
        self._periods[timing] = found
        return found

    def next_fire(self, timing: Timing, past: Past | None, now: float) -> float | None:
        """Return when a plan is due next, in unix seconds, `now` if it is due; None: never."""
        fire = self._next_fire(timing, past, now)
        again = None if past is None or past.retry is None else past.retry.at
        if again is None:
            return fire
        return max(now, again if fire is None else min(fire, again))

    def _next_fire(self, timing: Timing, past: Past | None, now: float) -> float | None:
        if timing.every_seconds:
            if past is None:
                return now + timing.every_seconds
            base = past.first_seen if past.last_start is None else past.last_start
            return max(now, base + timing.every_seconds)
        return self._next_of_cron(timing, now) if timing.cron else None

    def _next_of_cron(self, timing: Timing, now: float) -> float | None:
        known = self._fires.get(timing)
        # Too far ahead: the clock was set back since.
        if known is None or not now < known <= now + (self.period(timing, now) or 0.0):
            known = next(self._scheduler.next_fires(timing, now), None)
            if known is None:
                return None
            if len(self._fires) >= _MOST:
                self._fires.clear()
            self._fires[timing] = known
        return known
