"""Whether the snapshots of a plan are thinned out after a run of it."""

from dataclasses import dataclass

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.runner.journal import Outcome


@dataclass(frozen=True, slots=True)
class Keep:
    """What of a plan's snapshots is kept."""

    plan: RunPlan
    retention: Retention


def keep_of(repo: Repo, plan: RunPlan | None, outcome: Outcome) -> Keep | None:
    """Give what is kept after a run; None: all that there is.

    The plan's own retention applies if what should be saved is saved, and if the repository
    has no active policy of its own.
    """
    if plan is None or plan.retention is None or plan.retention.keep_all:
        return None
    return None if repo.overrides_retention or not outcome.is_good else Keep(plan, plan.retention)
