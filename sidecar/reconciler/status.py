"""How each labelled workload's backups fare: the plans, what would change, and Backrest's log."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sidecar.backrest.api import ApiError, BackrestApi
from sidecar.backrest.operations import Operation, OperationEnd, PlanRuns, runs_by_plan
from sidecar.backrest.workloads import WorkloadRecord, join_lines, parse_workloads
from sidecar.labels.problem import Problem, Severity, problem_of
from sidecar.planner.propose import DesiredState, Proposal
from sidecar.planner.records import WorkloadRecords
from sidecar.reconciler.reconcile import preview_now
from sidecar.reconciler.settings import BackrestLogin, ReconcilerSettings
from sidecar.reconciler.state import State
from sidecar.reconciler.waits import Wait, find_waits
from sidecar.reconciler.zones import resolve_zone
from sidecar.schedule.fires import backrest_fires
from sidecar.schedule.parse import schedule_of

NO_API = "none"
"""The trouble where no API was named."""

_RENAMED = "plan.renamed"
_FAR = timedelta(days=4 * 366)


@dataclass(frozen=True, slots=True)
class NextRun:
    """When a plan runs next, in unix seconds; computed where it is not in Backrest's queue."""

    time: float
    is_computed: bool


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """A labelled workload with its plan, or an orphaned plan (`workload` is empty then).

    `is_written`: the plan stands in the document. `orphan_since` in unix seconds, None
    where that is not known. `drift` names the owned keys that the next pass would change.
    `is_unloaded`: Backrest answers and should have its next run in the queue, but has not.
    `owner`: the natural key of the workload that the plan is remembered to belong to.
    `is_runners`: the plan is of the runner's document. `former`: repositories that it has moved
    away from, whose snapshots of it get no retention any more.
    """

    workload: str
    plan: str
    is_written: bool
    runs: PlanRuns = field(default_factory=PlanRuns)
    next: NextRun | None = None
    orphan_since: float | None = None
    is_disabled: bool = False
    drift: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    is_unloaded: bool = False
    owner: str = ""
    is_runners: bool = False
    former: tuple[str, ...] = ()

    @property
    def is_orphan(self) -> bool:
        """Whether the plan has no workload."""
        return not self.workload

    @property
    def needs_attention(self) -> bool:
        """Whether something failed, or is not backed up as it was asked for."""
        last = self.runs.last
        has_failed = last is not None and last.ending in {
            OperationEnd.FAILED,
            OperationEnd.CANCELLED,
        }
        return has_failed or any(p.severity is not Severity.WARNING for p in self.problems)


@dataclass(frozen=True, slots=True)
class StatusReport:
    """All rows at one moment; `now` is aware, in the zone that times are shown in.

    `trouble`: why Backrest's log is not known, None when it is; `words`: the same as a part of a
    sentence, `hint` what to do. `runs`: what the log tells of each plan, by its id. `waits`:
    changes that Backrest has not loaded, what a backup left stopped, an edit that Backrest has not
    read. `workloads`: all that have a plan or data.
    """

    rows: tuple[WorkloadStatus, ...]
    now: datetime
    config: str = ""
    trouble: str | None = None
    words: str = ""
    hint: str = ""
    runs: Mapping[str, PlanRuns] | None = None
    waits: tuple[Wait, ...] = ()
    workloads: tuple[WorkloadRecord, ...] = ()

    @property
    def needs_attention(self) -> bool:
        """Whether a row or a wait does, or an API that was named could not be read."""
        is_lost = self.trouble not in {None, NO_API}
        has_waits = any(wait.needs_attention for wait in self.waits)
        return is_lost or has_waits or any(row.needs_attention for row in self.rows)


def run_status(
    settings: ReconcilerSettings, environment: dict[str, str], timezone: str | None = None
) -> StatusReport:
    """Read containers, document and Backrest's log once, and change nothing.

    `timezone` names Backrest's zone; None: see `resolve_zone`. Raises SidecarError when
    the containers or the document cannot be read; that the log cannot is `trouble`.
    """
    source, policy = settings.source, settings.policy
    zone = resolve_zone(timezone, source.docker_sock, policy.runner_container)
    now = datetime.now(zone.zone)
    outcome = preview_now(settings, now, environment)
    operations, trouble, words, hint = None, None, "", ""
    try:
        operations = read_operations(settings.access)
    except ApiError as error:
        trouble, words, hint = str(error.kind), error.message, error.hint
    else:
        trouble = NO_API if operations is None else None
    report = gather_status(outcome.proposal, operations, outcome.state, now)
    return replace(
        report,
        config=outcome.config,
        trouble=trouble,
        words=words,
        hint=hint,
        waits=find_waits(settings, outcome.desired, outcome.state),
        workloads=workloads_of(outcome.proposal, outcome.desired),
    )


def workloads_of(proposal: Proposal, desired: DesiredState) -> tuple[WorkloadRecord, ...]:
    """Return the workloads with a plan or with data, as the daemon writes them into its file."""
    return parse_workloads(join_lines(WorkloadRecords().lines(proposal, desired)))


def read_operations(access: BackrestLogin) -> list[Operation] | None:
    """Read Backrest's log; None where no API was named. Raises ApiError."""
    if not access.url:
        return None
    with BackrestApi(access.url, access.user, access.password) as api:
        return api.operations()


def gather_status(
    proposal: Proposal, operations: Iterable[Operation] | None, state: State, now: datetime
) -> StatusReport:
    """Combine the preview of a pass with Backrest's log; pure.

    `operations` is None when the log is not known; `now` is aware, in Backrest's zone.
    """
    known = None if operations is None else runs_by_plan(operations)
    lost = proposal.ageing.orphans if proposal.ageing else {}
    # An orphan that only the next pass would find is not remembered yet.
    since = {plan: time for plan, time in state.orphans.items() if plan in lost}
    rows = [
        replace(row, owner=owner.key) if (owner := state.owners.get(row.plan)) else row
        for row in _rows(proposal, known, since, frozenset(state.disabled), now)
    ]
    return StatusReport(tuple(rows), now, runs=known)


def _rows(
    proposal: Proposal,
    known: Mapping[str, PlanRuns] | None,
    since: Mapping[str, float],
    disabled: frozenset[str],
    now: datetime,
) -> Iterator[WorkloadStatus]:
    changes = proposal.all_changes
    drift = {e.id: (*e.settings, *e.removals) for e in changes.edits}
    named: list[tuple[str, str, tuple[Problem, ...]]] = [
        (item.workload.key, item.plan_id, item.problems) for item in proposal.rendered.workloads
    ]
    continued = _continued(proposal)
    former = proposal.ageing.former if proposal.ageing else {}
    named += [("", plan_id, ()) for plan_id in changes.orphaned]
    for workload, plan_id, found in named:
        problems = found
        if plan_id in continued and not any(p.reason == _RENAMED for p in found):
            problems = (*found, _renamed(workload, plan_id, continued[plan_id]))
        raw = proposal.standing.get(plan_id)
        # The log of Backrest says nothing of what it does not run.
        log = None if plan_id in proposal.placement.of_runner else known
        row = WorkloadStatus(workload, plan_id, is_written=raw is not None, problems=problems)
        yield replace(
            row if raw is None else _with_runs(row, raw, log, now),
            orphan_since=since.get(plan_id),
            is_disabled=plan_id in disabled,
            drift=tuple(sorted(drift.get(plan_id, ()))),
            is_runners=plan_id in proposal.placement.of_runner,
            former=former.get(plan_id, ()),
        )


def _continued(proposal: Proposal) -> dict[str, str]:
    """Return the orphan that each plan of a workload continues: one with the very same paths."""
    views = [
        proposal.after.view,
        *([] if proposal.runner is None else [proposal.runner.after.view]),
    ]
    plans = {plan.id: plan for view in reversed(views) for plan in view.plans}
    lost = proposal.all_changes.orphaned
    orphans = {tuple(sorted(plans[old].paths)): old for old in lost if old in plans}
    found = (
        (item.plan_id, orphans.get(tuple(sorted(plans[item.plan_id].paths))))
        for item in proposal.rendered.workloads
        if item.plan_id in plans
    )
    return {plan_id: old for plan_id, old in found if old is not None}


def _renamed(workload: str, plan_id: str, old: str) -> Problem:
    message = f"{plan_id} continues {old}, which stands there without a workload"
    hint = f"remove {old} when its snapshots are not needed any more"
    return replace(problem_of(_RENAMED, message, hint), workload=workload)


def _with_runs(
    row: WorkloadStatus, raw: Mapping[str, Any], known: Mapping[str, PlanRuns] | None, now: datetime
) -> WorkloadStatus:
    """Add what is known of the runs of a plan that stands in the document."""
    runs = (known or {}).get(row.plan, PlanRuns())
    coming = _next_run(raw, runs, now)
    is_awaited = coming is not None and coming.is_computed and runs.running_since is None
    return replace(row, runs=runs, next=coming, is_unloaded=known is not None and is_awaited)


def _next_run(raw: Mapping[str, Any], runs: PlanRuns, now: datetime) -> NextRun | None:
    if runs.queued is not None:
        return NextRun(runs.queued, is_computed=False)
    shown = raw.get("schedule") or {}
    schedule = schedule_of(shown) if isinstance(shown, Mapping) else None
    if schedule is None:
        return None
    fires = backrest_fires(schedule, now, now + _FAR, 1)
    return NextRun(fires[0].timestamp(), is_computed=True) if fires else None
