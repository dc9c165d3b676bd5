"""The runner's report: the status of a running daemon, and its health, whenever somebody asks."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from sidecar.backrest.reading import Config, RunPlan
from sidecar.engines.base import FailureClass
from sidecar.lib.errors import SidecarError
from sidecar.lib.text import short_id
from sidecar.runner.document import blocked_plans
from sidecar.runner.due import LONGEST_SLEEP, Job, JobKind, backup_job
from sidecar.runner.execution import Execution
from sidecar.runner.health import UPKEEP, judge
from sidecar.runner.job.progress import ProgressHub
from sidecar.runner.job.report import EndedRuns
from sidecar.runner.job.upkeep import Prober
from sidecar.runner.journal import (
    AheadSnapshot,
    Journal,
    Past,
    Run,
    RunCause,
    RunHistory,
    RunOutcome,
    Verified,
)
from sidecar.runner.latest import BELIEVED_AHEAD, is_ahead
from sidecar.runner.loader import Loaded, Loader
from sidecar.runner.maintenance import DiskUsage, Maintenance
from sidecar.runner.notify.delivery import DeliveryQueue
from sidecar.runner.pool import Pool
from sidecar.runner.status import PlanState, RunnerStatus, UpkeepState
from sidecar.runner.timetable import Timetable
from sidecar.runner.union import DocumentName, Documents
from sidecar.service.health import Health
from sidecar.service.report import Reporter

_GOOD = tuple(outcome for outcome in RunOutcome if outcome.is_good)


class _ListedPlan(NamedTuple):
    """A plan with what stays the same as long as the document does."""

    plan: RunPlan
    job: Job
    period: float | None
    document: DocumentName


@dataclass(frozen=True, slots=True)
class StatusSources:
    """Where the facts come from; all are cheap to ask and safe for threads."""

    execution: Execution
    loader: Loader
    pool: Pool
    hub: ProgressHub
    prober: Prober
    maintenance: Maintenance
    disks: DiskUsage
    delivery: DeliveryQueue

    def blocked(self) -> Mapping[str, str]:
        """Return why plans are not run, by their ids."""
        return blocked_plans(self.execution.document.now)


class RunnerReport(Reporter[RunnerStatus]):
    """Keeps the runner's facts, and adds those of its parts whenever somebody asks.

    `grace` is that of `RunnerStatus`, `now` gives unix seconds, `monotonic` seconds of a clock that
    nobody sets.
    """

    def __init__(
        self,
        sources: StatusSources,
        grace: float,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        super().__init__(RunnerStatus(interval=LONGEST_SLEEP, grace=grace), now, monotonic)
        execution = sources.execution
        self._sources = sources
        self._timetable = Timetable(execution.scheduler)
        self._runs = _LastRuns(execution.journal, execution.reporter.runs)
        self._listed: tuple[Documents, tuple[_ListedPlan, ...]] = (Documents(), ())
        self._upkeep: tuple[RunHistory, Config | None, tuple[Job, ...]] = (RunHistory(), None, ())

    def health(self) -> Health:
        """Return what is wrong now."""
        return judge(self._facts_of_health())

    def snapshot(self) -> RunnerStatus:
        """Return the status as it is now."""
        status, sources = self._facts_of_health(), self._sources
        running = sources.hub.running
        waiting = sources.pool.busy - running.keys()
        verified = self._runs.verifications()
        plans: list[PlanState] = []
        for state in status.plans:
            job, past = backup_job(state.plan), state.past
            plans.append(
                replace(
                    state,
                    failure=self._runs.failure(job, past),
                    next_fire=self._timetable.next_fire(state.plan.timing, past, status.now),
                    last_good=self._runs.last(job, past, is_good=True),
                    latest=self._runs.latest(job, past, status.now),
                    verified=verified.get(state.plan.id),
                    is_waiting=job in waiting,
                    is_running=job in running,
                    progress=running.get(job),
                )
            )
        return replace(
            status,
            health=judge(status),
            plans=tuple(plans),
            runs=sources.execution.reporter.runs.outcomes,
            missed=sources.execution.reporter.runs.missed,
            running=len(running),
            waiting=len(waiting),
        )

    def _facts_of_health(self) -> RunnerStatus:
        """Return what health depends on: less than the whole status, for it is asked more often."""
        status, sources = super().snapshot(), self._sources
        loaded, blocked, ahead = sources.loader.loaded, sources.blocked(), self._runs.ahead()
        history = sources.execution.journal.past.history()
        return replace(
            status,
            loaded=loaded,
            plans=tuple(
                PlanState(
                    plan=listed.plan,
                    document=listed.document,
                    past=(past := history.past.get(listed.job)),
                    period=listed.period,
                    failure=self._runs.failure_of_bad(listed.job, past),
                    blocked=blocked.get(listed.plan.id, ""),
                    ahead=tuple(
                        short_id(one.snapshot)
                        for one in ahead.get(listed.plan.id, ())
                        if is_ahead(one.time, status.now)
                    ),
                    was_cut_off=self._runs.was_cut_off(listed.job, past),
                )
                for listed in self._list(loaded, status.now)
            ),
            upkeep={
                job: UpkeepState(
                    history.past[job], self._runs.failure_of_bad(job, history.past[job])
                )
                for job in self._upkeep_jobs(loaded, history)
            },
            probes=sources.prober.last(),
            disks=sources.disks.disks,
            stopped=sources.maintenance.stopped,
            unusable=sources.delivery.unusable,
        )

    def _list(self, loaded: Loaded, now: float) -> tuple[_ListedPlan, ...]:
        """List the plans that are executed; computed once for the documents of each state."""
        documents, listed = self._listed
        if loaded.documents is not None and loaded.documents is not documents:
            documents = loaded.documents
            listed = tuple(
                _ListedPlan(
                    plan,
                    backup_job(plan),
                    self._timetable.period(plan.timing, now),
                    documents.name_of_plan(plan.id),
                )
                for plan in documents.executed.plans
            )
            self._listed = (documents, listed)
        return listed

    def _upkeep_jobs(self, loaded: Loaded, history: RunHistory) -> tuple[Job, ...]:
        """List what was done for plans and repositories of the documents, sorted."""
        config = None if loaded.documents is None else loaded.documents.config
        seen, of, jobs = self._upkeep
        if seen is not history or of is not config:
            plans = {(plan.id, plan.repo) for plan in config.plans} if config else set()
            repos = {(repo.id, repo.id) for repo in config.repos} if config else set()
            jobs = tuple(
                sorted(
                    job
                    for job in history.past
                    if job.kind in UPKEEP
                    and (job.subject, job.repo) in (plans if job.kind is JobKind.VERIFY else repos)
                )
            )
            self._upkeep = (history, config, jobs)
        return jobs


class _LastRuns:
    """The last runs of each job, from memory or else, read once, from the journal."""

    def __init__(self, journal: Journal, ended: EndedRuns) -> None:
        self._journal = journal
        self._ended = ended
        self._lock = threading.Lock()
        self._read: dict[tuple[Job, bool], tuple[float | None, Run | None]] = {}
        self._latest: dict[Job, tuple[float | None, Run | None]] = {}

    def failure(self, job: Job, past: Past | None) -> str:
        """Return the class of the last run's failure; empty if it had none."""
        last = self.last(job, past)
        failure = last.ended.failure if last is not None and last.ended is not None else None
        return "" if failure is None else failure.value

    def failure_of_bad(self, job: Job, past: Past | None) -> str:
        """Return the same; empty for a good run, of which nothing is read."""
        outcome = None if past is None else past.last_outcome
        return "" if outcome is None or outcome.is_good else self.failure(job, past)

    def was_cut_off(self, job: Job, past: Past | None) -> bool:
        """Return whether the end of the runner cancelled a run that nobody had asked for."""
        if past is None or past.last_outcome is not RunOutcome.CANCELLED:
            return False
        last = self.last(job, past)
        is_asked_for = last is not None and last.trigger is RunCause.MANUAL
        return not is_asked_for and self.failure(job, past) == FailureClass.INTERRUPTED.value

    def last(self, job: Job, past: Past | None, *, is_good: bool = False) -> Run | None:
        """Return the last run, or the last that saved what it should; None: there is none.

        One of before this process, or of another as `backrest-runner check`, is in the journal.
        """
        if past is None:
            return None
        at = past.last_success if is_good else past.last_end
        last = self._ended.last(job, is_good=is_good)
        if last is not None and last.ended is not None and last.ended.at == at:
            return last
        with self._lock:
            read_at, read = self._read.get((job, is_good), (None, None))
        if at is None or read_at == at:
            return read
        try:
            found = self._journal.runs.last(job, _GOOD if is_good else ())
        except SidecarError:
            return last
        with self._lock:
            self._read[job, is_good] = at, found
        return found

    def latest(self, job: Job, past: Past | None, now: float) -> Run | None:
        """Return the run that has made the latest snapshot, as far as the journal tells."""
        at = None if past is None else past.last_end
        with self._lock:
            read_at, known = self._latest.get(job, (None, None))
        if at is None or (read_at == at and (known is None or not is_ahead(known.started, now))):
            return known
        try:
            found = self._journal.runs.latest(job, now + BELIEVED_AHEAD)
        except SidecarError:
            return None
        with self._lock:
            self._latest[job] = at, found
        return found

    def ahead(self) -> Mapping[str, tuple[AheadSnapshot, ...]]:
        """Return the snapshots ahead of the clock by plan."""
        try:
            return self._journal.findings.ahead()
        except SidecarError:
            return {}

    def verifications(self) -> Mapping[str, Verified]:
        """Return the last verification of each plan by its id."""
        try:
            return self._journal.findings.verifications()
        except SidecarError:
            return {}
