"""When the plans of a document run next: worked out, then as a timeline, a table or JSON."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from sidecar.backrest.jsontext import Object
from sidecar.backrest.plan import Schedule
from sidecar.cli.output.terminal import Cell, Column, folded, table
from sidecar.cli.output.text import printable
from sidecar.lib.text import counted
from sidecar.reconciler.zones import Zone
from sidecar.schedule.describe import describe_schedule
from sidecar.schedule.fires import backrest_fires
from sidecar.schedule.parse import schedule_of

_MOST_ROWS = 48
_STEPS = (1, 2, 3, 4, 6, 12, 24)
_CELLS = 12
_WIDEST_BAR = 40
_BEFORE_BAR = 41
_FAR = timedelta(days=4 * 366)
_NAMED = 4
_COLUMNS = (
    Column("next run"),
    Column("plan", has_prefix=True),
    Column("id", has_prefix=True),
    Column("runs", is_number=True),
    Column("until", drop=1),
    Column("schedule", drop=2, folds=True),
)


@dataclass(frozen=True, slots=True)
class UpcomingRun:
    """One run to come: when (aware), of which plan, on which schedule.

    `is_estimate` where the schedule counts from a last run, which is not known here.
    """

    time: datetime
    plan: str
    schedule: Schedule

    @property
    def is_estimate(self) -> bool:
        """Whether the time depends on when the plan really ran last."""
        return not self.schedule.cron


@dataclass(frozen=True, slots=True)
class IdlePlan:
    """A plan without a run in these hours, why, and its next run if it has one."""

    plan: str
    reason: str
    next: datetime | None = None


@dataclass(frozen=True, slots=True)
class UpcomingRuns:
    """The runs from `start` on for some `hours`, by time, and the plans without one.

    `start` is in the runner's `zone`. `shown` are the names of plans by their ids.
    """

    config: str
    start: datetime
    hours: int
    zone: Zone
    runs: tuple[UpcomingRun, ...]
    idle: tuple[IdlePlan, ...]
    shown: Mapping[str, str] = field(default_factory=dict)

    def name(self, plan: str) -> str:
        """Return what a plan is called."""
        return self.shown.get(plan, plan)

    @property
    def until(self) -> datetime:
        """The end of these hours, in the runner's zone."""
        return _later(self.start, timedelta(hours=self.hours))


def read_upcoming(
    plans: Mapping[str, Object],
    config: str,
    start: datetime,
    hours: int,
    zone: Zone,
    shown: Mapping[str, str] = MappingProxyType({}),
) -> UpcomingRuns:
    """Return the runs of all plans, also of those that are not ours; `start` is in `zone`.

    `shown` are the names of plans by their ids.
    """
    until = _later(start, timedelta(hours=hours))
    runs: list[UpcomingRun] = []
    idle: list[IdlePlan] = []
    for plan_id, plan in plans.items():
        raw = plan.get("schedule") or {}
        schedule = schedule_of(raw) if isinstance(raw, Mapping) else None
        if schedule is None:
            idle.append(IdlePlan(plan_id, "its schedule cannot be read here"))
            continue
        fires = backrest_fires(schedule, start, until, hours * 60)
        runs += [UpcomingRun(fire, plan_id, schedule) for fire in fires]
        if not fires:
            idle.append(_idle(plan_id, raw, schedule, start))
    runs.sort(key=lambda run: (run.time.astimezone(UTC), run.plan))
    idle.sort(key=lambda one: one.plan)
    return UpcomingRuns(config, start, hours, zone, tuple(runs), tuple(idle), shown)


def _later(moment: datetime, pause: timedelta) -> datetime:
    """Add elapsed time, not wall time: a day has 23 to 25 hours where clocks are changed."""
    return (moment.astimezone(UTC) + pause).astimezone(moment.tzinfo)


def _idle(plan_id: str, raw: Any, schedule: Schedule, start: datetime) -> IdlePlan:
    if schedule == Schedule():
        return IdlePlan(plan_id, "its schedule is disabled" if raw else "it has no schedule")
    fires = backrest_fires(schedule, start, _later(start, _FAR), 1)
    return IdlePlan(plan_id, describe_schedule(schedule), next(iter(fires), None))


def render_upcoming(
    upcoming: UpcomingRuns, form: str, width: int | None = None, *, is_wide: bool = False
) -> str:
    """Write upcoming runs as `timeline`, `table`, `json`, or `all`: both that are for people.

    `width` is that of the terminal; None: none shows them. A wide table has the ids of plans.
    """
    if form == "json":
        return _render_json(upcoming)
    lines = [folded(_heading(upcoming), width), ""]
    if form != "table":
        lines += _timeline(upcoming, width)
    if form != "timeline":
        lines += _table(upcoming, width, is_wide=is_wide)
    lines += [folded(line, width, "    ") for line in _idle_lines(upcoming)]
    return "\n".join(lines).rstrip("\n")


def _heading(upcoming: UpcomingRuns) -> str:
    count, form = len(upcoming.runs), "%a %Y-%m-%d %H:%M %Z"
    span = f"from {upcoming.start.strftime(form)} to {upcoming.until.strftime(form)}"
    zone = f"time zone {upcoming.zone.name} ({printable(upcoming.zone.source)})"
    return f"{counted(count, 'run')} {span}, {zone}"


def _timeline(upcoming: UpcomingRuns, width: int | None) -> Iterator[str]:
    """Yield a row for each hour or some hours: its runs in twelve parts, their number, a bar."""
    step = next((s for s in _STEPS if upcoming.hours <= s * _MOST_ROWS), _STEPS[-1])
    counts = _count_cells(upcoming, step)
    totals = {row: sum(cells.values()) for row, cells in counts.items()}
    most = max(totals.values(), default=0)
    widest = _WIDEST_BAR if width is None else max(1, min(_WIDEST_BAR, width - _BEFORE_BAR))
    day = ""
    for row, moment in enumerate(_rows(upcoming, step)):
        today = f"{moment:%a %m-%d %Z}"
        label = f"{today if today != day else '':14} {moment:%H:%M}"
        day = today
        cells, total = counts.get(row, Counter()), totals.get(row, 0)
        strip = "".join(_mark(cells[cell]) for cell in range(_CELLS))
        bar = f"{total:3}  {_bar(total, most, widest)}" if total else ""
        yield f"{label}  {strip}  {bar}".rstrip()
    yield ""
    part = counted(step * 60 // _CELLS, "minute")
    yield folded(f"one mark is {part}: the number of runs, + from ten on", width)
    yield from (folded(line, width) for line in _busiest_minute(upcoming))
    yield ""


def _first_row(upcoming: UpcomingRuns) -> datetime:
    """Return the full hour, by the runner's clock, in which the timeline starts; in UTC."""
    start = upcoming.start
    return start.astimezone(UTC) - timedelta(
        minutes=start.minute, seconds=start.second, microseconds=start.microsecond
    )


def _rows(upcoming: UpcomingRuns, step: int) -> Iterator[datetime]:
    moment, until = _first_row(upcoming), upcoming.until.astimezone(UTC)
    while moment <= until:
        yield moment.astimezone(upcoming.start.tzinfo)
        moment += timedelta(hours=step)


def _count_cells(upcoming: UpcomingRuns, step: int) -> dict[int, Counter[int]]:
    """Count the runs by row and by part of the row."""
    first, part = _first_row(upcoming), timedelta(minutes=step * 60 // _CELLS)
    counts: dict[int, Counter[int]] = {}
    for run in upcoming.runs:
        row, cell = divmod((run.time.astimezone(UTC) - first) // part, _CELLS)
        counts.setdefault(row, Counter())[cell] += 1
    return counts


def _mark(count: int) -> str:
    if count > 9:
        return "+"
    return str(count) if count else "·"


def _bar(total: int, most: int, widest: int) -> str:
    return "#" * (total if most <= widest else max(1, total * widest // most))


def _busiest_minute(upcoming: UpcomingRuns) -> Iterator[str]:
    """Yield the minute in which most plans start, if several do."""
    by_minute = Counter(_minute(run.time) for run in upcoming.runs)
    moment, count = max(by_minute.items(), key=lambda one: one[1], default=(upcoming.start, 0))
    if count > 1:
        plans = [upcoming.name(r.plan) for r in upcoming.runs if _minute(r.time) == moment]
        more = f" and {count - _NAMED} more" if count > _NAMED else ""
        local = moment.astimezone(upcoming.start.tzinfo)
        yield (
            f"most at once: {count} at {local:%a %H:%M %Z}, one after the other in Backrest: "
            f"{printable(', '.join(plans[:_NAMED]))}{more}"
        )


def _minute(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def _table(upcoming: UpcomingRuns, width: int | None, *, is_wide: bool) -> Iterator[str]:
    """Yield a row for each plan: its next run, and how many more follow on its schedule."""
    if not upcoming.runs:
        return
    plans: dict[str, list[UpcomingRun]] = {}
    for run in upcoming.runs:
        plans.setdefault(run.plan, []).append(run)
    columns = [one for one in _COLUMNS if is_wide or one.title != "id"]
    yield table(
        columns, [_cells(runs, upcoming, is_wide=is_wide) for runs in plans.values()], width
    )
    if any(run.is_estimate for run in upcoming.runs):
        yield folded("~ counts from the plan's last run, taken as if that ended now", width)
    yield ""


def _cells(
    runs: Sequence[UpcomingRun], upcoming: UpcomingRuns, *, is_wide: bool
) -> tuple[Cell, ...]:
    first, last = runs[0], runs[-1]
    return (
        _when(first),
        upcoming.name(first.plan),
        *((first.plan,) if is_wide else ()),
        str(len(runs)),
        _when(last) if len(runs) > 1 else "",
        describe_schedule(first.schedule),
    )


def _when(run: UpcomingRun) -> str:
    return f"{'~' if run.is_estimate else ''}{run.time:%a %m-%d %H:%M %Z}"


def _idle_lines(upcoming: UpcomingRuns) -> Sequence[str]:
    if not upcoming.idle:
        return []
    shown = [
        f"  {printable(upcoming.name(one.plan))}: {printable(one.reason)}{_next(one)}"
        for one in upcoming.idle
    ]
    span = "this hour" if upcoming.hours == 1 else f"these {upcoming.hours} hours"
    return [f"no run in {span}:", *shown]


def _next(one: IdlePlan) -> str:
    return f", next {one.next:%a %Y-%m-%d %H:%M %Z}" if one.next else ""


def _render_json(upcoming: UpcomingRuns) -> str:
    shown = {
        "config": upcoming.config,
        "timezone": upcoming.zone.name,
        "timezone_source": upcoming.zone.source,
        "from": upcoming.start.isoformat(timespec="seconds"),
        "until": upcoming.until.isoformat(timespec="seconds"),
        "runs": [
            {
                "time": run.time.isoformat(timespec="seconds"),
                "plan": run.plan,
                "name": upcoming.name(run.plan),
                "schedule": describe_schedule(run.schedule),
                "estimate": run.is_estimate,
            }
            for run in upcoming.runs
        ],
        "idle": [
            {
                "plan": one.plan,
                "name": upcoming.name(one.plan),
                "reason": one.reason,
                "next": one.next.isoformat(timespec="seconds") if one.next else None,
            }
            for one in upcoming.idle
        ],
    }
    return json.dumps(shown, indent=2, ensure_ascii=False)
