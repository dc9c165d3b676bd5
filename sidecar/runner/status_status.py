"""The facts of the daemon as JSON, and the numbers of its plans.

They show ids, numbers, times and classes of failures: nothing that is secret, and nothing
that a program said.
"""

from datetime import UTC, datetime
from typing import Any

from sidecar.runner.journal import Outcome
from sidecar.runner.status import PlanStatus, StatusFacts


def last_success_of(plan: PlanStatus, _: StatusFacts) -> float | None:
    """Give when it was last saved, in unix seconds."""
    return None if plan.past is None else plan.past.last_success


def age_of(plan: PlanStatus, facts: StatusFacts) -> float | None:
    """Give the seconds since it was last saved."""
    at = last_success_of(plan, facts)
    return None if at is None else max(0.0, facts.now - at)


def verified_age_of(plan: PlanStatus, facts: StatusFacts) -> float | None:
    """Give the seconds since it was last verified."""
    return None if plan.verified is None else max(0.0, facts.now - plan.verified.at)


def seconds_of(plan: PlanStatus, _: StatusFacts) -> float | None:
    """Give how long its last good run took."""
    good = plan.last_good
    return None if good is None or good.ended is None else good.ended.at - good.started


def size_of(plan: PlanStatus, _: StatusFacts) -> float | None:
    """Give the bytes that its last good run read."""
    good = plan.last_good
    stats = None if good is None or good.ended is None else good.ended.stats
    return None if stats is None else stats.bytes_processed


def added_of(plan: PlanStatus, _: StatusFacts) -> float | None:
    """Give the bytes that its last good run added to the repository."""
    good = plan.last_good
    stats = None if good is None or good.ended is None else good.ended.stats
    return None if stats is None else stats.bytes_added


def is_failed_of(plan: PlanStatus, _: StatusFacts) -> float | None:
    """Tell whether its last run failed, as 1 or 0; None: there was none."""
    outcome = None if plan.past is None else plan.past.last_outcome
    return None if outcome is None else float(outcome in {Outcome.FAILED, Outcome.INTERRUPTED})


def status_json(facts: StatusFacts) -> dict[str, Any]:
    """Give the object of /status; times are ISO 8601 in UTC, sizes bytes, ages seconds."""
    return {
        "version": facts.version,
        "now": _iso(facts.now),
        "started": _iso(facts.now - facts.uptime),
        "healthy": facts.verdict.is_healthy,
        "ready": not facts.verdict.process,
        "reasons": list(facts.verdict.reasons),
        "document_good": facts.loaded.config is not None and not facts.loaded.trouble,
        "running": facts.running,
        "waiting": facts.waiting,
        "plans": [_plan_json(plan, facts) for plan in facts.plans],
        "repos": [
            {
                "repo": repo,
                "reachable": probed.is_reachable,
                "failure": probed.failure and probed.failure.value,
                "at": _iso(probed.at),
            }
            for repo, probed in sorted(facts.probes.items())
        ],
        "disks": {path: round(used, 4) for path, used in sorted(facts.disks.items())},
    }


def _plan_json(plan: PlanStatus, facts: StatusFacts) -> dict[str, Any]:
    past, good, progress = plan.past, plan.last_good, plan.progress
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
        "last_success": _iso(last_success_of(plan, facts)),
        "age": _rounded(age_of(plan, facts)),
        "duration": _rounded(seconds_of(plan, facts)),
        "size": size_of(plan, facts),
        "added": added_of(plan, facts),
        "snapshot": (good.ended.snapshot or None) if good and good.ended else None,
        "verified": _iso(None if plan.verified is None else plan.verified.at),
        "verified_age": _rounded(verified_age_of(plan, facts)),
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
