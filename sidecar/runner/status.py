"""What the daemon knows of itself and of the backups, put together when somebody asks.

The facts of the daemon as JSON, and the numbers of its plans.

They show ids, numbers, times and classes of failures: nothing that is secret, and nothing
that a program said.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from sidecar import __version__
from sidecar.backrest.reading import Config, RunPlan
from sidecar.engines.base import Progress
from sidecar.lib.errors import SidecarError
from sidecar.runner.due import Job, JobKind, Scheduler
from sidecar.runner.health import HealthFacts, HealthProblems, PlanHealth, judge
from sidecar.runner.heartbeat import ALLOWANCE
from sidecar.runner.job.upkeep import Probed
from sidecar.runner.journal import Past, Run, RunHistory, RunOutcome, Verified
from sidecar.runner.loader import Loaded
from sidecar.runner.timetable import Timetable

_GOOD = tuple(outcome for outcome in RunOutcome if outcome.is_good)
_NEVER = Past(0.0)


@dataclass(frozen=True, slots=True)
class PlanState:
    """A plan and what became of it; times in unix seconds, None: never, or not known."""

    plan: RunPlan
    past: Past | None
    period: float | None
    next_fire: float | None
    last_good: Run | None
    failure: str
    verified: Verified | None
    blocked: str
    is_waiting: bool
    is_running: bool
    progress: Progress | None


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """One view of everything; times in unix seconds, `uptime` in seconds."""

    now: float
    uptime: float
    verdict: HealthProblems
    loaded: Loaded
    plans: tuple[PlanState, ...] = ()
    probes: Mapping[str, Probed] = field(default_factory=dict)
    disks: Mapping[str, float] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    missed: int = 0
    seats: int = 0
    running: int = 0
    waiting: int = 0
    version: str = __version__


class _ListedPlan(NamedTuple):
    """A plan and what does not change of it as long as the document does not."""

    plan: RunPlan
    job: Job
    period: float | None


class RunRecords(Protocol):
    """What is needed of the journal."""

    def history(self) -> RunHistory:
        """Return what is known of the past."""
        ...

    def last(self, job: Job, outcomes: tuple[RunOutcome, ...] = ...) -> Run | None:
        """Return the newest run of a work; raises JournalError."""
        ...

    def verifications(self) -> Mapping[str, Verified]:
        """Return the last verification of each plan; raises JournalError."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom to ask: each call is cheap, and may come from any thread."""

    journal: RunRecords
    loaded: Callable[[], Loaded]
    busy: Callable[[], frozenset[Job]] = frozenset
    running: Callable[[], Mapping[Job, Progress | None]] = dict
    probes: Callable[[], Mapping[str, Probed]] = dict
    disks: Callable[[], Mapping[str, float]] = dict
    stopped: Callable[[], tuple[str, ...]] = tuple
    blocked: Callable[[], Mapping[str, str]] = dict


class RunnerReport:
    """Puts facts together; safe for threads.

    `wall` gives unix seconds, `monotonic` seconds that nobody sets; `grace` is how late beyond
    twice its period a plan may be.
    """

    def __init__(
        self,
        sources: Sources,
        scheduler: Scheduler,
        grace: float,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._sources = sources
        self._timetable = Timetable(scheduler)
        self._grace = grace
        self._wall, self._monotonic = wall, monotonic
        self._lock = threading.Lock()
        self._began = self._beat = monotonic()
        self._is_stopping = False
        self._listed: tuple[Config, tuple[_ListedPlan, ...]] = (Config(), ())
        self._last: dict[Job, Run | None] = {}
        self._last_good: dict[Job, Run | None] = {}
        self._runs = Counter({outcome.value: 0 for outcome in RunOutcome})
        self._missed = 0

    def beat(self) -> HealthProblems:
        """Say that the main loop moves; give what is wrong."""
        with self._lock:
            self._beat = self._monotonic()
        return self.verdict()

    def stopping(self) -> None:
        """Say that the daemon ends."""
        with self._lock:
            self._is_stopping = True

    def ended(self, run: Run) -> None:
        """Note how a run ended."""
        if run.ended is None:
            return
        with self._lock:
            self._runs[run.ended.outcome.value] += 1
            self._last[run.job] = run
            if run.ended.outcome.is_good:
                self._last_good[run.job] = run

    def missed(self, count: int) -> None:
        """Count fires that no run answers."""
        with self._lock:
            self._missed += count

    def verdict(self) -> HealthProblems:
        """Judge how everything is."""
        loaded = self._sources.loaded()
        history, blocked = self._sources.journal.history(), self._sources.blocked()
        with self._lock:
            beat_age, is_stopping = self._monotonic() - self._beat, self._is_stopping
        now = self._wall()
        facts = HealthFacts(
            now=now,
            beat_age=beat_age,
            allowance=ALLOWANCE,
            has_document=loaded.config is not None,
            trouble=bool(loaded.trouble),
            is_stopping=is_stopping,
            plans=tuple(
                self._plan_health(listed, history.past.get(listed.job), blocked)
                for listed in self._list(loaded, now)
            ),
            disks=self._sources.disks(),
            unreachable=_unreachable(self._sources.probes()),
            stopped=self._sources.stopped(),
        )
        return judge(facts, self._grace)

    def facts(self) -> RunnerStatus:
        """Put everything together."""
        loaded, running = self._sources.loaded(), self._sources.running()
        waiting = self._sources.busy() - running.keys()
        verified, blocked = self._verifications(), self._sources.blocked()
        past, now = self._sources.journal.history().past, self._wall()
        with self._lock:
            runs, missed = dict(self._runs), self._missed
        return RunnerStatus(
            now=now,
            uptime=self._monotonic() - self._began,
            verdict=self.verdict(),
            loaded=loaded,
            plans=tuple(
                PlanState(
                    plan=listed.plan,
                    past=past.get(listed.job),
                    period=listed.period,
                    next_fire=self._timetable.next_fire(
                        listed.plan.timing, past.get(listed.job), now
                    ),
                    last_good=self._remembered(self._last_good, listed.job, _GOOD),
                    failure=self._failure(listed.job),
                    verified=verified.get(listed.plan.id),
                    blocked=blocked.get(listed.plan.id, ""),
                    is_waiting=listed.job in waiting,
                    is_running=listed.job in running,
                    progress=running.get(listed.job),
                )
                for listed in self._list(loaded, now)
            ),
            probes=self._sources.probes(),
            disks=self._sources.disks(),
            runs=runs,
            missed=missed,
            running=len(running),
            waiting=len(waiting),
        )

    def _list(self, loaded: Loaded, now: float) -> tuple[_ListedPlan, ...]:
        """List the plans with what is always the same of them."""
        config, listed = self._listed
        if loaded.config is not None and loaded.config is not config:
            config = loaded.config
            listed = tuple(
                _ListedPlan(plan, job_of(plan), self._timetable.period(plan.timing, now))
                for plan in config.plans
            )
            self._listed = (config, listed)
        return listed

    def _plan_health(
        self, listed: _ListedPlan, past: Past | None, blocked: Mapping[str, str]
    ) -> PlanHealth:
        known = past or _NEVER
        is_good = known.last_outcome is None or known.last_outcome.is_good
        return PlanHealth(
            listed.plan.id,
            listed.period,
            None if past is None else past.first_seen,
            known.last_success,
            known.last_outcome,
            "" if is_good else self._failure(listed.job),
            blocked.get(listed.plan.id, ""),
        )

    def _failure(self, job: Job) -> str:
        """Return the class of what made the last run fail."""
        last = self._remembered(self._last, job, ())
        failure = last.ended.failure if last is not None and last.ended is not None else None
        return "" if failure is None else failure.value

    def _remembered(
        self, known: dict[Job, Run | None], job: Job, outcomes: tuple[RunOutcome, ...]
    ) -> Run | None:
        """Return a last run from memory, else from the journal."""
        with self._lock:
            if job in known:
                return known[job]
        try:
            found = self._sources.journal.last(job, outcomes)
        except SidecarError:
            return None
        with self._lock:
            return known.setdefault(job, found)

    def _verifications(self) -> Mapping[str, Verified]:
        try:
            return self._sources.journal.verifications()
        except SidecarError:
            return {}


def job_of(plan: RunPlan) -> Job:
    """Return the backup of a plan as a piece of work."""
    return Job(JobKind.BACKUP, plan.id, plan.repo)


def _unreachable(probes: Mapping[str, Probed]) -> dict[str, str]:
    return {
        repo: probed.failure.value for repo, probed in probes.items() if probed.failure is not None
    }


def last_success_of(plan: PlanState, _: RunnerStatus) -> float | None:
    """Return when it was last saved, in unix seconds."""
    return None if plan.past is None else plan.past.last_success


def age_of(plan: PlanState, facts: RunnerStatus) -> float | None:
    """Return the seconds since it was last saved."""
    at = last_success_of(plan, facts)
    return None if at is None else max(0.0, facts.now - at)


def verified_age_of(plan: PlanState, facts: RunnerStatus) -> float | None:
    """Return the seconds since it was last verified."""
    return None if plan.verified is None else max(0.0, facts.now - plan.verified.at)


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


def status_json(facts: RunnerStatus) -> dict[str, Any]:
    """Return the object of /status; times are ISO 8601 in UTC, sizes bytes, ages seconds."""
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


def _plan_json(plan: PlanState, facts: RunnerStatus) -> dict[str, Any]:
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
