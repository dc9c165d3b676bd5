"""The page of the engines: what each can do, and what a retention keeps."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from page_text import code, page, table
from sidecar.backrest.engine_name import EngineName
from sidecar.backrest.plan import Retention
from sidecar.engines.base import BackupType, Capabilities
from sidecar.engines.restic.features import SINCE, Features, Version
from sidecar.engines.retention import kept
from sidecar.engines.rsync.commands import Keeping
from sidecar.engines.rsync.engine import capabilities_of

# What is asked of Debian 12's, the oldest that is tested.
_OLDEST_RESTIC: Version = (0, 14, 0)
_COARSE = 1e-6
_IF_KEPT = ", if the file system has it"
_LESS = Keeping(
    owners=False,
    acls=False,
    xattrs=False,
    hard_links=False,
    symlinks=False,
    devices=False,
    modes=False,
    case=False,
    sparse=False,
    time_resolution=2.0,
)
_ATTRIBUTE = re.compile(r"^ {4}(\w+): ((?:.+\n?)(?: {8}.+\n?)*)", re.MULTILINE)

RETENTIONS: Mapping[EngineName, str] = {
    EngineName.RESTIC: (
        "restic's own, and exactly this from restic 0.16 on. An older one, as Debian 12's, does "
        "not keep the oldest snapshot while there are too few."
    ),
    EngineName.RSYNC: (
        "exactly this. The snapshot that `latest` leads to always stays. In a flat tree a snapshot "
        "that no daily rule keeps is moved to `weekly`, `monthly` or `yearly`."
    ),
}
"""What a retention means with each engine."""

# A snapshot each six hours: `daily` and `last` are not the same.
_FIRST, _LAST = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 11, 29, 18, tzinfo=UTC)
_EVERY = timedelta(hours=6)
_EXAMPLES = {
    "last=7": Retention(last=7),
    "daily=7": Retention(daily=7),
    "daily=3,weekly=3": Retention(daily=3, weekly=3),
    "monthly=4": Retention(monthly=4),
    "monthly=12": Retention(monthly=12),
}


def render_engines() -> str:
    """Write the page."""
    return page(
        "Engines",
        "An engine is a program that makes snapshots. The address of a repository chooses it: "
        "`rsync:/backup` is for [rsync](../how-to/rsync.md), what names no engine for restic.",
        "## What each can do",
        _capabilities(),
        "## What a retention keeps",
        "Each rule keeps the newest snapshot of so many hours, days, ISO weeks, months or years "
        "that have one; `last` counts snapshots. While there are fewer than that, the oldest "
        "snapshot of all stays too. A snapshot goes when no rule keeps it. Nothing is counted from "
        "today: a machine that was off loses nothing. A day is the day that the clock showed where "
        "and when the snapshot was made, also where clocks change.",
        "Of a plan that was saved every six hours from 1 June to 29 November, 18:00, this is left:",
        table(("retention", "snapshots", "which"), _examples()),
        "A retention that keeps nothing, and one with a count below zero, which Backrest's "
        "document may hold, forgets nothing, and the run says so.",
        table(("engine", "a retention is"), _retentions()),
        "## Coming from backup-container",
        "Its counts are of runs: `DAILY_COUNT=7` keeps the last seven, which are less than two "
        "days of a plan that runs four times a day. `daily=7` keeps seven days. What it copies on "
        "Sundays and on the first of a month is chosen here when snapshots are forgotten: a Sunday "
        "that was missed loses no week.",
        table(
            ("there", "here, the same counts", "here, what is meant"),
            (
                (code("DAILY_COUNT=7"), code("last=7"), code("daily=7")),
                (code("WEEKLY_COUNT=4"), code("weekly=4"), code("weekly=4")),
                (code("MONTHLY_COUNT=6"), code("monthly=6"), code("monthly=6")),
            ),
        ),
    )


def columns() -> dict[EngineName, dict[str, str]]:
    """Return for each engine what stands in its column, by the names of the capabilities."""
    newest = max(SINCE.values())
    restic = {
        one.name: _since(one.name, newest, Features(newest).capabilities())
        for one in fields(Capabilities)
    }
    best, worst = capabilities_of(Keeping()), capabilities_of(_LESS)
    rsync = {
        one.name: render_value(getattr(best, one.name))
        + (_IF_KEPT if getattr(best, one.name) != getattr(worst, one.name) else "")
        for one in fields(Capabilities)
    }
    return {EngineName.RESTIC: restic, EngineName.RSYNC: rsync}


def render_value(value: bool | float | frozenset[BackupType]) -> str:
    """Write what an engine says of one of its capabilities."""
    if isinstance(value, frozenset):
        return ", ".join(one.value for one in BackupType if one in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nanoseconds" if value < _COARSE else "seconds"


def _since(name: str, newest: Version, capabilities: Capabilities) -> str:
    """Write what a current restic can do, and since when if the oldest one cannot."""
    value = getattr(capabilities, name)
    versions = sorted({_OLDEST_RESTIC, *SINCE.values(), newest})
    first = next(one for one in versions if getattr(Features(one).capabilities(), name) == value)
    since = "" if first <= _OLDEST_RESTIC else f", since {'.'.join(map(str, first[:2]))}"
    return f"{render_value(value)}{since}"


def _capabilities() -> str:
    meanings = _meanings()
    told = columns()
    rows = (
        (meanings[one.name], *(column[one.name] for column in told.values()))
        for one in fields(Capabilities)
    )
    return table(("what", *(name.value for name in told)), rows)


def _meanings() -> dict[str, str]:
    """Return the meaning of each capability, as it stands in the code."""
    text = inspect.getdoc(Capabilities) or ""
    return {
        name: f"{name.replace('_', ' ')}: {' '.join(words.split()).rstrip('.')}"
        for name, words in _ATTRIBUTE.findall(text)
    }


def _retentions() -> Iterator[tuple[str, str]]:
    return ((name.value, words) for name, words in RETENTIONS.items())


def _examples() -> Iterator[tuple[str, str, str]]:
    steps = (_LAST - _FIRST) // _EVERY
    times = [_FIRST + _EVERY * number for number in range(steps + 1)]
    for written, retention in _EXAMPLES.items():
        held = kept(times, retention)
        yield code(written), str(len(held)), _dates(held)


def _dates(times: Iterable[datetime]) -> str:
    """Write times as dates; 18:00, the last of each day, is not said."""
    return ", ".join(
        f"{time.day} {time:%B}" + ("" if time.hour == _LAST.hour else f" {time:%H:%M}")
        for time in times
    )
