"""The status of the daemon and its plans: records, numbers for metrics, JSON. Pure.

It shows ids, numbers, times and classes of failures: nothing that is secret, and no output of a
program.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sidecar import __version__
from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import Progress
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.upkeep import Probed
from sidecar.runner.journal import Past, Run, RunOutcome, Verified
from sidecar.runner.loader import Loaded
from sidecar.service.health import Health


@dataclass(frozen=True, slots=True)
class PlanState:
    """A plan and its runs; times in unix seconds, None: never, or not known.

    `period` is in seconds, `latest` the run that has made the latest snapshot, `failure` the
    class of the last failure, `blocked` says why the plan is not run at all.
    """

    plan: RunPlan
    past: Past | None
    period: float | None
    next_fire: float | None
    last_good: Run | None
    latest: Run | None
    failure: str
    verified: Verified | None
    blocked: str
    is_waiting: bool
    is_running: bool
    progress: Progress | None


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """All that is known at `now`, in unix seconds; `uptime` in seconds.

    `disks` are used parts from 0 to 1 by path, `runs` counts runs by outcome, `missed` fires
    that no run answers.
    """

    now: float
    uptime: float
    health: Health
    loaded: Loaded
    plans: tuple[PlanState, ...] = ()
    probes: Mapping[str, Probed] = field(default_factory=dict)
    disks: Mapping[str, float] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    missed: int = 0
    running: int = 0
    waiting: int = 0
    upkeep: Mapping[Job, Past] = field(default_factory=dict)
    version: str = __version__


def last_success_of(plan: PlanState, _: RunnerStatus) -> float | None:
    """Return when it was last saved, in unix seconds."""
    return None if plan.past is None else plan.past.last_success


def age_of(plan: PlanState, status: RunnerStatus) -> float | None:
    """Return the seconds since it was last saved."""
    at = last_success_of(plan, status)
    return None if at is None else max(0.0, status.now - at)


def verified_age_of(plan: PlanState, status: RunnerStatus) -> float | None:
    """Return the seconds since it was last verified."""
    return None if plan.verified is None else max(0.0, status.now - plan.verified.at)


def seconds_of(plan: PlanState, _: RunnerStatus) -> float | None:
    """Return how long its last good run took."""
    good = plan.last_good
    return None if good is None or good.ended is None else good.ended.at - good.started


def size_of(plan: PlanState, _: RunnerStatus) -> float | None:
    """Return the bytes that its last good run read."""
    good = plan.last_good
    stats = None if good is None or good.ended is None else good.ended.stats
    return None if stats is None else stats.bytes_processed


def added_of(plan: PlanState, _: RunnerStatus) -> float | None:
    """Return the bytes that its last good run added to the repository."""
    good = plan.last_good
    stats = None if good is None or good.ended is None else good.ended.stats
    return None if stats is None else stats.bytes_added


def is_failed_of(plan: PlanState, _: RunnerStatus) -> float | None:
    """Tell whether its last run failed, as 1 or 0; None: there was none."""
    outcome = None if plan.past is None else plan.past.last_outcome
    return (
        None if outcome is None else float(outcome in {RunOutcome.FAILED, RunOutcome.INTERRUPTED})
    )


def upkeep_success_of(kind: JobKind, status: RunnerStatus) -> dict[str, float]:
    """Return when work of a kind last succeeded, by the plan or repository it was done for."""
    return {
        job.subject: past.last_success
        for job, past in status.upkeep.items()
        if job.kind is kind and past.last_success is not None
    }


def upkeep_failed_of(kind: JobKind, status: RunnerStatus) -> dict[str, float]:
    """Tell whether the last work of a kind failed or was cut off, as 1 or 0; see above."""
    return {
        job.subject: float(not past.last_outcome.is_good)
        for job, past in status.upkeep.items()
        if job.kind is kind and past.last_outcome is not None
    }


def status_json(status: RunnerStatus) -> dict[str, Any]:
    """Return the object of /status; times are ISO 8601 in UTC, sizes bytes, ages seconds."""
    return {
        "version": status.version,
        "now": _iso(status.now),
        "started": _iso(status.now - status.uptime),
        "healthy": status.health.is_healthy,
        "ready": status.health.is_ready,
        "reasons": list(status.health.sentences),
        "document_good": status.loaded.config is not None and not status.loaded.trouble,
        "running": status.running,
        "waiting": status.waiting,
        "plans": [_plan_json(plan, status) for plan in status.plans],
        "repos": [
            {
                "repo": repo,
                "reachable": probed.is_reachable,
                "failure": probed.failure and probed.failure.value,
                "at": _iso(probed.at),
            }
            for repo, probed in sorted(status.probes.items())
        ],
        "upkeep": [
            {
                "kind": job.kind.value,
                "subject": job.subject,
                "last_run": _iso(past.last_start),
                "last_outcome": past.last_outcome and past.last_outcome.value,
                "last_success": _iso(past.last_success),
            }
            for job, past in status.upkeep.items()
        ],
        "disks": {path: round(used, 4) for path, used in sorted(status.disks.items())},
    }


def _plan_json(plan: PlanState, status: RunnerStatus) -> dict[str, Any]:
    past, latest, progress = plan.past, plan.latest, plan.progress
    return {
        "plan": plan.plan.id,
        "repo": plan.plan.repo,
        "state": "running" if plan.is_running else "waiting" if plan.is_waiting else "idle",
        "fraction": None if progress is None else round(progress.fraction, 4),
        "blocked": plan.blocked or None,
        "next_run": _iso(plan.next_fire),
        "last_run": _iso(None if past is None else past.last_start),
        "last_outcome": past and past.last_outcome and past.last_outcome.value,
        "failure": plan.failure or None,
        "last_success": _iso(last_success_of(plan, status)),
        "age": _rounded(age_of(plan, status)),
        "duration": _rounded(seconds_of(plan, status)),
        "size": size_of(plan, status),
        "added": added_of(plan, status),
        "snapshot": latest.ended.snapshot if latest and latest.ended else None,
        "verified": _iso(None if plan.verified is None else plan.verified.at),
        "verified_age": _rounded(verified_age_of(plan, status)),
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
