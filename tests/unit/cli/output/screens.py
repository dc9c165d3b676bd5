"""What tables look like on terminals of several widths: samples, and the files that show them.

After a change that is meant, write the files anew and look at the difference, and at pictures:

    PYTHONPATH=. .venv/bin/python tests/unit/cli/output/screens.py [FOLDER OF THE PICTURES]
"""

import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from sidecar.backrest.protection import KnownRuns, PlanFacts, assess
from sidecar.backrest.reading import RunPlan, Timing
from sidecar.backrest.workloads import MountRecord, WorkloadRecord
from sidecar.cli.output.listing import render_uses
from sidecar.cli.output.protection import render_protection
from sidecar.cli.output.runner_tables import (
    HistoryView,
    PlanRow,
    render_history,
    render_plans,
    render_snapshots,
)
from sidecar.cli.output.runs import render_line
from sidecar.cli.output.timeline import read_upcoming, render_upcoming
from sidecar.engines.base import Progress, Snapshot, Stats
from sidecar.reconciler.zones import Zone
from sidecar.runner.browse import SnapshotUse
from sidecar.runner.due import Job, JobKind
from sidecar.runner.journal import Ended, MissedFires, Past, Run, RunCause, RunOutcome
from sidecar.runner.union import DocumentName

FOLDER = Path(__file__).parents[4] / "testdata" / "screens"
WIDTHS = (60, 80, 120, 200)
MOMENT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
NOW = MOMENT.timestamp()
HOUR, DAY = 3600.0, 86400.0
PLANS = tuple(
    f"backrest_sidecar_{name}"
    for name in ("media_jellyfin", "media_redis", "media_postgres_primary", "media_www")
)

NAMES = {plan: plan.removeprefix("backrest_sidecar_").replace("_", "/", 1) for plan in PLANS}


def plans(width: int) -> str:
    """Plans of the runner: one well, one that warned, one that failed, one that never ran."""
    outcomes = (RunOutcome.SUCCESS, RunOutcome.WARNING, RunOutcome.FAILED, None)
    rows = [
        PlanRow(
            RunPlan(plan, "nas" if number else "default", timing=Timing(f"{7 * number} 3 * * *")),
            None
            if outcome is None
            else Past(
                NOW, NOW - DAY * number - 9 * HOUR, None, None, outcome, NOW - DAY * (number + 1)
            ),
            NOW + 15 * HOUR + 420 * number,
            NOW,
            DocumentName.RUNNER if number == 1 else DocumentName.CONFIG,
            name=NAMES[plan],
        )
        for number, (plan, outcome) in enumerate(zip(PLANS, outcomes, strict=True))
    ]
    return render_plans(rows, "table", width)


def history(width: int) -> str:
    """Runs: one well, one with a long reason, one that still runs, and fires that were missed."""
    jobs = [Job(JobKind.BACKUP, plan, "default") for plan in PLANS]
    ended = (
        Ended(
            RunOutcome.SUCCESS,
            NOW - 3000,
            "0123456789abcdef" * 4,
            Stats(files_processed=120, bytes_added=3_400_000, bytes_processed=52_000_000_000),
        ),
        Ended(
            RunOutcome.FAILED,
            NOW - 3590,
            reason="the hook before the snapshot failed: pg_dump: error: connection to server on "
            "socket /var/run/postgresql/.s.PGSQL.5432 failed: No such file or directory",
            excerpt="pg_dump: error: connection to server failed\nexit status 1",
        ),
        None,
    )
    runs: list[Run | MissedFires] = [
        Run(number, job, RunCause.SCHEDULE, NOW - HOUR * (1 + number), ended=end)
        for number, (job, end) in enumerate(zip(jobs, ended, strict=False))
    ]
    runs.append(MissedFires(jobs[3], NOW - 3 * DAY, NOW - 2 * DAY, 2, NOW))
    return render_history(runs, "table", width, HistoryView(NAMES, is_verbose=True))


def snapshots(width: int) -> str:
    """Snapshots of a plan with several paths."""
    paths = ("/var/lib/docker/volumes/media_config/_data", "/srv/media/films", "/srv/media/series")
    rows = [
        Snapshot(
            f"{digit}" * 64,
            datetime(2026, 11, 20 + digit, 3, 0, tzinfo=UTC),
            paths,
            (),
            10**digit,
            digit * 111,
        )
        for digit in (1, 5, 9)
    ]
    return render_snapshots(rows, "table", width)


def progress(width: int) -> str:
    """One run early and late, another with a long name, and two side by side."""
    early = Progress(0.004, 12, 48_000, 9_000_000, 52_000_000_000, 5400.0)
    late = Progress(0.97, 47_210, 48_000, 51_000_000_000, 52_000_000_000)
    long = f"backup {PLANS[2]}"
    lines = (
        {"backup web": early},
        {"verify web": late},
        {long: early},
        {long: late, "backup web": early},
    )
    return "\n".join(render_line(line, width) for line in lines)


def schedule(width: int) -> str:
    """A plan that runs each quarter of an hour, some each night, and one that has no schedule."""
    crons = ("*/15 * * * *", "7 3 * * *", "7 3 * * *")
    schedules = {
        plan: {"schedule": {"cron": cron}} for plan, cron in zip(PLANS, crons, strict=False)
    }
    document: dict[str, Any] = schedules | {PLANS[3]: {"schedule": {"disabled": True}}}
    zone = Zone(UTC, "UTC", "--timezone")
    return render_upcoming(
        read_upcoming(document, "config.json", MOMENT, 12, zone, NAMES), "all", width
    )


def _protected(width: int, *, is_wide: bool) -> str:
    names = ("media/jellyfin", "media/postgres-primary", "media/www", "media/new")
    runs = (
        KnownRuns(last_success=NOW - 3 * HOUR, files=1200, size=52_000_000_000),
        KnownRuns(last_success=NOW - 4 * DAY, failure="failed (network)", files=3, size=8_000_000),
        KnownRuns(last_success=NOW - 9 * HOUR, files=40, size=940, is_running=True),
        None,
    )
    plans = [
        PlanFacts(
            plan=f"backrest_sidecar_{name.replace('/', '_')}",
            repository="default",
            document="config.json",
            period=DAY,
            runs=known,
            unknown="nothing is known of its runs: Backrest refused our user name or password",
            hint="see --backrest-user and --backrest-password-file",
            next_run=NOW + 15 * HOUR,
            verified=NOW - 2 * DAY if known is runs[0] else None,
        )
        for name, known in zip(names, runs, strict=True)
    ]
    workloads = [
        WorkloadRecord(name, name.partition("/")[2], "media", plan=facts.plan)
        for name, facts in zip(names, plans, strict=True)
    ]
    redis = MountRecord("/data", why="not labelled")
    workloads.append(WorkloadRecord("media/redis", "redis", "media", mounts=(redis,)))
    answer = assess(workloads, {facts.plan: facts for facts in plans}, HOUR, NOW)
    return render_protection(answer, width, is_wide=is_wide)


def protection(width: int) -> str:
    """Whether everything is backed up: one thing of each kind that may be the case."""
    return _protected(width, is_wide=False)


def protection_wide(width: int) -> str:
    """The same with ids."""
    return _protected(width, is_wide=True)


def stats(width: int) -> str:
    """What plans have of snapshots: one of restic, one of rsync, one that is out of reach."""
    names = ("media/jellyfin", "media/postgres-primary", "media/www")
    kept = tuple(
        Snapshot(
            f"{day}" * 64, datetime(2026, 11, 20 + day, 3, 0, tzinfo=UTC), ("/data",), (), size
        )
        for day, size in ((1, 51_000_000_000), (9, 52_000_000_000))
    )
    uses = (
        SnapshotUse(names[0], "default", is_plan=True, snapshots=kept, stored=61_000_000_000),
        SnapshotUse(names[1], "nas", is_plan=True, snapshots=kept),
        SnapshotUse(names[2], "nas", is_plan=True, reason="the repository does not answer"),
    )
    return render_uses(uses, "table", width)


SCREENS: dict[str, Callable[[int], str]] = {
    one.__name__: one
    for one in (
        *(plans, history, snapshots, stats, schedule, progress),
        *(protection, protection_wide),
    )
}


def drawn(name: str) -> str:
    """Return what a file shows: the screen at each width, below a line that is as wide."""
    return "".join(
        f"{f' {width} columns ':=^{width}}\n{click.unstyle(SCREENS[name](width))}\n"
        for width in WIDTHS
    )


def pictures() -> Iterator[tuple[str, str]]:
    """Yield a picture of each screen at each width, as SVG, and its name."""
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    for name, screen in SCREENS.items():
        for width in WIDTHS:
            console = Console(record=True, width=width, file=StringIO(), force_terminal=True)
            console.print(Text.from_ansi(screen(width)))
            yield f"{name}-{width}.svg", console.export_svg(title=f"{name}, {width} columns")


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    for name in SCREENS:
        (FOLDER / f"{name}.txt").write_text(drawn(name), encoding="utf-8")
    for folder in map(Path, sys.argv[1:]):
        for name, picture in pictures():
            (folder / name).write_text(picture, encoding="utf-8")
