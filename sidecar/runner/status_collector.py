"""Collect the status of a running daemon, and judge its health, whenever somebody asks."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sidecar.backrest.reading import Config, RunPlan
from sidecar.engines.base import FailureClass
from sidecar.lib.errors import SidecarError
from sidecar.runner.due import Job, JobKind, backup_job
from sidecar.runner.health import HealthFacts, PlanHealth, UpkeepHealth, judge
from sidecar.runner.job.progress import ProgressHub
from sidecar.runner.job.upkeep import Probed
from sidecar.runner.journal import (
    AheadSnapshot,
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
from sidecar.runner.parts import RunnerDependencies
from sidecar.runner.pool import Pool
from sidecar.runner.status import PlanState, RunnerStatus
from sidecar.runner.timetable import Timetable
from sidecar.service.health import Health

_GOOD = tuple(outcome for outcome in RunOutcome if outcome.is_good)
_NEVER = Past(0.0)
_SHORT_ID = 8
_UPKEEP = {
    JobKind.CHECK: ("check", "repository"),
    JobKind.PRUNE: ("prune", "repository"),
    JobKind.FORGET: ("retention", "repository"),
    JobKind.VERIFY: ("verification", "plan"),
}


class _ListedPlan(NamedTuple):
    """A plan with what stays the same as long as the document does."""

    plan: RunPlan
    job: Job
    period: float | None


@dataclass(frozen=True, slots=True)
class StatusSources:
    """Where the facts come from; all are cheap to ask and safe for threads."""

    parts: RunnerDependencies
    loader: Loader
    pool: Pool
    hub: ProgressHub
    maintenance: Maintenance
    disks: DiskUsage

    def blocked(self) -> Mapping[str, str]:
        """Return why plans are not run, by their ids."""
        # The commands of hooks may hold secrets: only the log says what is wrong with them.
        executed = self.parts.document.now
        return {
            plan.id: "one of its hooks cannot be used, the log says why"
            for plan in executed.config.plans
            if executed.problems and executed.blocker(backup_job(plan))
        }


class StatusCollector:
    """Puts the facts together; safe for threads.

    `now` gives unix seconds, `monotonic` seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        sources: StatusSources,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._sources = sources
        self._timetable = Timetable(sources.parts.scheduler)
        self._grace = sources.parts.settings.health_grace
        self._now, self._monotonic = now, monotonic
        self._lock = threading.Lock()
        self._began = self._beat = monotonic()
        self._is_stopping = False
        self._listed: tuple[Config, tuple[_ListedPlan, ...]] = (Config(), ())
        self._upkeep: tuple[RunHistory, Config | None, tuple[Job, ...]] = (RunHistory(), None, ())
        self._read: dict[tuple[Job, bool], tuple[float | None, Run | None]] = {}
        self._latest: dict[Job, tuple[float | None, Run | None]] = {}

    def beat(self) -> Health:
        """Note that the main loop moves; return what is wrong."""
        with self._lock:
            self._beat = self._monotonic()
        return self.health()

    def stopping(self) -> None:
        """Note that the daemon ends."""
        with self._lock:
            self._is_stopping = True

    def health(self) -> Health:
        """Return what is wrong now."""
        loaded = self._sources.loader.loaded
        history, blocked = self._sources.parts.journal.past.history(), self._sources.blocked()
        ahead = self._ahead()
        with self._lock:
            beat_age, is_stopping = self._monotonic() - self._beat, self._is_stopping
        now = self._now()
        facts = HealthFacts(
            now=now,
            beat_age=beat_age,
            has_document=loaded.config is not None,
            trouble=bool(loaded.trouble),
            is_stopping=is_stopping,
            plans=tuple(
                self._plan_health(listed, history.past.get(listed.job), blocked, ahead, now)
                for listed in self._list(loaded, now)
            ),
            upkeep=tuple(
                self._upkeep_health(job, history.past[job])
                for job in self._upkeep_jobs(loaded, history)
            ),
            disks=self._sources.disks.disks,
            unreachable=_unreachable(self._sources.parts.prober.last()),
            stopped=self._sources.maintenance.stopped,
            unusable=self._sources.parts.delivery.unusable,
        )
        return judge(facts, self._grace)

    def collect(self) -> RunnerStatus:
        """Return the status as it is now."""
        loaded, running = self._sources.loader.loaded, self._sources.hub.running
        waiting = self._sources.pool.busy - running.keys()
        verified, blocked = self._verifications(), self._sources.blocked()
        history, now = self._sources.parts.journal.past.history(), self._now()
        past = history.past
        return RunnerStatus(
            now=now,
            uptime=self._monotonic() - self._began,
            health=self.health(),
            loaded=loaded,
            plans=tuple(
                PlanState(
                    plan=listed.plan,
                    past=past.get(listed.job),
                    period=listed.period,
                    next_fire=self._timetable.next_fire(
                        listed.plan.timing, past.get(listed.job), now
                    ),
                    last_good=self._last_run(listed.job, past.get(listed.job), is_good=True),
                    latest=self._latest_run(listed.job, past.get(listed.job), now),
                    failure=self._failure(listed.job, past.get(listed.job)),
                    verified=verified.get(listed.plan.id),
                    blocked=blocked.get(listed.plan.id, ""),
                    is_waiting=listed.job in waiting,
                    is_running=listed.job in running,
                    progress=running.get(listed.job),
                )
                for listed in self._list(loaded, now)
            ),
            upkeep={job: past[job] for job in self._upkeep_jobs(loaded, history)},
            probes=self._sources.parts.prober.last(),
            disks=self._sources.disks.disks,
            runs=self._sources.parts.reporter.runs.outcomes,
            missed=self._sources.parts.reporter.runs.missed,
            running=len(running),
            waiting=len(waiting),
        )

    def _list(self, loaded: Loaded, now: float) -> tuple[_ListedPlan, ...]:
        """List the plans of the document; computed once for each document."""
        config, listed = self._listed
        if loaded.config is not None and loaded.config is not config:
            config = loaded.config
            listed = tuple(
                _ListedPlan(plan, backup_job(plan), self._timetable.period(plan.timing, now))
                for plan in config.plans
            )
            self._listed = (config, listed)
        return listed

    def _plan_health(
        self,
        listed: _ListedPlan,
        past: Past | None,
        blocked: Mapping[str, str],
        ahead: Mapping[str, tuple[AheadSnapshot, ...]],
        now: float,
    ) -> PlanHealth:
        known = past or _NEVER
        is_good = known.last_outcome is None or known.last_outcome.is_good
        failure = "" if is_good else self._failure(listed.job, past)
        was_cut_off = (
            known.last_outcome is RunOutcome.CANCELLED
            and failure == FailureClass.INTERRUPTED.value
            and not self._was_asked_for(listed.job, past)
        )
        return PlanHealth(
            listed.plan.id,
            listed.period,
            None if past is None else past.first_seen,
            known.last_success,
            known.last_outcome,
            failure,
            blocked.get(listed.plan.id, ""),
            tuple(
                one.snapshot[:_SHORT_ID]
                for one in ahead.get(listed.plan.id, ())
                if is_ahead(one.time, now)
            ),
            was_cut_off,
        )

    def _was_asked_for(self, job: Job, past: Past | None) -> bool:
        """Return whether a person has asked for the last run."""
        last = self._last_run(job, past)
        return last is not None and last.trigger is RunCause.MANUAL

    def _upkeep_jobs(self, loaded: Loaded, history: RunHistory) -> tuple[Job, ...]:
        """List what was done for plans and repositories of the document, sorted."""
        config = loaded.config
        seen, of, jobs = self._upkeep
        if seen is not history or of is not config:
            plans = {(plan.id, plan.repo) for plan in config.plans} if config else set()
            repos = {(repo.id, repo.id) for repo in config.repos} if config else set()
            jobs = tuple(
                sorted(
                    job
                    for job in history.past
                    if job.kind in _UPKEEP
                    and (job.subject, job.repo) in (plans if job.kind is JobKind.VERIFY else repos)
                )
            )
            self._upkeep = (history, config, jobs)
        return jobs

    def _upkeep_health(self, job: Job, past: Past) -> UpkeepHealth:
        work, subject = _UPKEEP[job.kind]
        is_good = past.last_outcome is None or past.last_outcome.is_good
        failure = "" if is_good else self._failure(job, past)
        return UpkeepHealth(work, f"{subject} {job.subject}", past.last_outcome, failure)

    def _failure(self, job: Job, past: Past | None) -> str:
        """Return the class of the last run's failure; empty if it had none."""
        last = self._last_run(job, past)
        failure = last.ended.failure if last is not None and last.ended is not None else None
        return "" if failure is None else failure.value

    def _last_run(self, job: Job, past: Past | None, *, is_good: bool = False) -> Run | None:
        """Return the last run, or the last that saved what it should; None: there is none.

        One of before this process, or of another as `backrest-runner check`, is in the journal.
        """
        if past is None:
            return None
        at = past.last_success if is_good else past.last_end
        last = self._sources.parts.reporter.runs.last(job, is_good=is_good)
        if last is not None and last.ended is not None and last.ended.at == at:
            return last
        with self._lock:
            read_at, read = self._read.get((job, is_good), (None, None))
        if at is None or read_at == at:
            return read
        try:
            found = self._sources.parts.journal.runs.last(job, _GOOD if is_good else ())
        except SidecarError:
            return last
        with self._lock:
            self._read[job, is_good] = at, found
        return found

    def _latest_run(self, job: Job, past: Past | None, now: float) -> Run | None:
        """Return the run that has made the latest snapshot, as far as the journal tells."""
        at = None if past is None else past.last_end
        with self._lock:
            read_at, known = self._latest.get(job, (None, None))
        if at is None or (read_at == at and (known is None or not is_ahead(known.started, now))):
            return known
        try:
            found = self._sources.parts.journal.runs.latest(job, now + BELIEVED_AHEAD)
        except SidecarError:
            return None
        with self._lock:
            self._latest[job] = at, found
        return found

    def _ahead(self) -> Mapping[str, tuple[AheadSnapshot, ...]]:
        try:
            return self._sources.parts.journal.findings.ahead()
        except SidecarError:
            return {}

    def _verifications(self) -> Mapping[str, Verified]:
        try:
            return self._sources.parts.journal.findings.verifications()
        except SidecarError:
            return {}


def _unreachable(probes: Mapping[str, Probed]) -> dict[str, str]:
    return {
        repo: probed.failure.value for repo, probed in probes.items() if probed.failure is not None
    }
