"""The status of the daemon and its plans: records, numbers for metrics, JSON. Pure.

It shows ids, numbers, times and classes of failures: nothing that is secret, and no output of a
program.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sidecar.backrest.reading import RunPlan
from sidecar.engines.base import Progress
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.upkeep import Probed
from sidecar.runner.journal import Past, Run, RunOutcome, Verified
from sidecar.runner.loader import Loaded
from sidecar.runner.union import DocumentName, DocumentNotice
from sidecar.service.health import Health
from sidecar.service.report import DaemonFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanState:
    """A plan and its runs; times in unix seconds, None: never, or not known.

    What health depends on comes first, then what only the status shows.

    Attributes:
        document: where it stands.
        period: the longest pause of its schedule, in seconds.
        failure: the class of the last failure.
        blocked: why the plan is not run at all.
        ahead: the beginnings of the ids of its snapshots that are ahead of the clock.
        was_cut_off: the last run was cancelled by the end of the runner, and no person had asked
            for that run.
        latest: the run that has made the latest snapshot.
    """

    plan: RunPlan
    document: DocumentName = DocumentName.CONFIG
    past: Past | None = None
    period: float | None = None
    failure: str = ""
    blocked: str = ""
    ahead: tuple[str, ...] = ()
    was_cut_off: bool = False
    next_fire: float | None = None
    last_good: Run | None = None
    latest: Run | None = None
    verified: Verified | None = None
    is_waiting: bool = False
    is_running: bool = False
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class UpkeepState:
    """Work of a kind for a plan or a repository; `failure` is the class of the last failure."""

    past: Past
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerStatus(DaemonFacts):
    """All that is known of the runner and its backups at one moment.

    Attributes:
        grace: how many seconds beyond twice its period a plan may be late.
        loaded: the documents.
        plans: all plans that are executed.
        upkeep: what was done for them and for their repositories besides backups.
        probes: the last probe of each repository.
        disks: how full each disk is, from 0 to 1, by path.
        stopped: a sentence for each container that is stopped and could not be started.
        unusable: a sentence for each address of notifications that cannot be used.
        runs: how many runs have ended so since the start.
        missed: fires since the start that no run answers.
    """

    grace: float = 0.0
    health: Health = field(default_factory=Health)
    loaded: Loaded = field(default_factory=Loaded)
    plans: tuple[PlanState, ...] = ()
    upkeep: Mapping[Job, UpkeepState] = field(default_factory=dict)
    probes: Mapping[str, Probed] = field(default_factory=dict)
    disks: Mapping[str, float] = field(default_factory=dict)
    stopped: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()
    runs: Mapping[str, int] = field(default_factory=dict)
    missed: int = 0
    running: int = 0
    waiting: int = 0


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
        job.subject: one.past.last_success
        for job, one in status.upkeep.items()
        if job.kind is kind and one.past.last_success is not None
    }


def upkeep_failed_of(kind: JobKind, status: RunnerStatus) -> dict[str, float]:
    """Tell whether the last work of a kind failed or was cut off, as 1 or 0; see above."""
    return {
        job.subject: float(not one.past.last_outcome.is_good)
        for job, one in status.upkeep.items()
        if job.kind is kind and one.past.last_outcome is not None
    }


def status_json(status: RunnerStatus) -> dict[str, Any]:
    """Return the object of /status; times are ISO 8601 in UTC, sizes bytes, ages seconds."""
    health = status.health
    return {
        "version": status.version,
        "now": _iso(status.now),
        "started": _iso(status.now - status.uptime),
        "healthy": health.is_healthy,
        "ready": health.is_ready,
        "reasons": list(health.sentences),
        "document_good": status.loaded.is_good,
        "broken": [trouble.name.value for trouble in status.loaded.troubles],
        "notices": [
            {"reason": one.reason.value, "about": one.about, "message": one.message}
            for one in _notices(status)
        ],
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
                "last_run": _iso(one.past.last_start),
                "last_outcome": one.past.last_outcome and one.past.last_outcome.value,
                "last_success": _iso(one.past.last_success),
            }
            for job, one in status.upkeep.items()
        ],
        "disks": {path: round(used, 4) for path, used in sorted(status.disks.items())},
    }


def _notices(status: RunnerStatus) -> tuple[DocumentNotice, ...]:
    return () if status.loaded.documents is None else status.loaded.documents.notices


def _plan_json(plan: PlanState, status: RunnerStatus) -> dict[str, Any]:
    past, latest, progress = plan.past, plan.latest, plan.progress
    return {
        "plan": plan.plan.id,
        "repo": plan.plan.repo,
        "document": plan.document.value,
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
