"""The steps of one attempt at a piece of work, in Backrest's order.

Which events there are in a run, in Backrest's names and order: an earlier one counts first.

Ours beyond Backrest: END also where START hooks halt or where stale locks cannot be removed.

Whether the snapshots of a plan are thinned out after a run of it.

What a session needs of those who run programs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sidecar.backrest.plan import OnError, Retention
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import (
    Engine,
    FailureClass,
    Interpreted,
    Report,
    ResultKind,
    Stats,
    failed,
)
from sidecar.lib.process import Child
from sidecar.runner.due import Job, JobKind
from sidecar.runner.job.upkeep import run_check, run_forget, run_prune, run_unlock
from sidecar.runner.journal import Ended, Journal, Phase, RunOutcome

_ANY = "CONDITION_ANY_ERROR"


@dataclass(frozen=True, slots=True)
class Events:
    """The event sets of one kind of work; `failed` if the work itself fails."""

    start: tuple[str, ...] = ()
    success: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    warning: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    halted: tuple[str, ...] = ()
    """It did not come to the work."""


_BACKUP = Events(
    start=("CONDITION_SNAPSHOT_START",),
    success=("CONDITION_SNAPSHOT_SUCCESS", "CONDITION_SNAPSHOT_END"),
    skipped=(
        "CONDITION_SNAPSHOT_SKIPPED",
        "CONDITION_SNAPSHOT_SUCCESS",
        "CONDITION_SNAPSHOT_END",
    ),
    warning=("CONDITION_SNAPSHOT_WARNING", "CONDITION_SNAPSHOT_END"),
    failed=("CONDITION_SNAPSHOT_ERROR", _ANY, "CONDITION_SNAPSHOT_END"),
    halted=(_ANY, "CONDITION_SNAPSHOT_ERROR", "CONDITION_SNAPSHOT_END"),
)


def _of_repo(name: str) -> Events:
    start, success, error = (f"CONDITION_{name}_{end}" for end in ("START", "SUCCESS", "ERROR"))
    done = (success,)
    return Events((start,), done, done, done, failed=(error, _ANY), halted=(_ANY, error))


EVENTS: Mapping[JobKind, Events] = {
    JobKind.BACKUP: _BACKUP,
    JobKind.FORGET: _of_repo("FORGET"),
    JobKind.PRUNE: _of_repo("PRUNE"),
    JobKind.CHECK: _of_repo("CHECK"),
}
"""Restoring and verifying have no events."""


@dataclass(frozen=True, slots=True)
class RetentionDecision:
    """What of a plan's snapshots is kept."""

    plan: RunPlan
    retention: Retention


def keep_of(repo: Repo, plan: RunPlan | None, outcome: RunOutcome) -> RetentionDecision | None:
    """Return what is kept after a run; None: all that there is.

    The plan's own retention applies if what should be saved is saved, and if the repository
    has no active policy of its own.
    """
    if plan is None or plan.retention is None or plan.retention.keep_all:
        return None
    return (
        None
        if repo.overrides_retention or not outcome.is_good
        else RetentionDecision(plan, plan.retention)
    )


OnStart = Callable[[Child], None]


@dataclass(frozen=True, slots=True)
class Facts:
    """What hooks may tell of a run: Backrest's template variables; `seconds` is its duration.

    `at` is now, in unix seconds.
    """

    task: str
    at: float
    seconds: float = 0.0
    snapshot: str = ""
    stats: Stats | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class HookOutcome:
    """What came of an event set: how a failing hook halts the run, and what failed, in words."""

    halt: OnError | None = None
    failures: tuple[str, ...] = ()


class Hooks(Protocol):
    """What runs the hooks of an event set: each at most once, the repository's first."""

    def run(
        self,
        events: Sequence[str],
        repo: Repo,
        plan: RunPlan | None,
        facts: Facts,
        is_stopping: Callable[[], bool],
    ) -> HookOutcome:
        """Run them in order until one halts; raises nothing for what a hook does."""
        ...


@dataclass(frozen=True, slots=True)
class Programs:
    """What runs programs: the maker of a repository's engine, told each child, and the hooks."""

    engines: Callable[[Repo, OnStart], Engine]
    hooks: Hooks


MOST_TRIES = 10
"""How often START hooks are run that ask for it; Backrest would never cease."""

_FIRST_BACKOFF = 10.0
_LONGEST_BACKOFF = 3600.0
_WAITS = {OnError.RETRY_1_MINUTE: 60.0, OnError.RETRY_10_MINUTES: 600.0}

_UNFORESEEN = failed(FailureClass.UNKNOWN, "something unforeseen happened in the runner itself")
_STOPPED = failed(FailureClass.INTERRUPTED, "the runner was asked to end")

_NAMES: Mapping[JobKind, str] = {
    JobKind.BACKUP: 'backup for plan "{}"',
    JobKind.FORGET: 'scheduled forget for repo "{}"',
    JobKind.PRUNE: 'prune repo "{}"',
    JobKind.CHECK: 'check for repo "{}"',
    JobKind.RESTORE: 'restore of plan "{}"',
    JobKind.VERIFY: 'verification of plan "{}"',
}
_UPKEEP = {JobKind.FORGET: run_forget, JobKind.PRUNE: run_prune, JobKind.CHECK: run_check}


@dataclass(frozen=True, slots=True)
class JobScope:
    """What an attempt is about; `plan` is None for what concerns the whole repository."""

    job: Job
    repo: Repo
    plan: RunPlan | None = None
    instance: str = ""
    sharers: tuple[RunPlan, ...] = ()
    """All plans of the repository, for what concerns the whole of it."""

    @property
    def events(self) -> Events:
        """The events of this kind of work."""
        return EVENTS[self.job.kind]


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """All that attempts have in common.

    `work` runs what a stop of the runner ends, `after` what it must not end: the hooks that
    start again what was stopped. `wait` waits so many seconds, or until the runner is asked to
    end, which `is_stopping` tells. `may_forget` gives a reason not to forget snapshots of a
    plan, or nothing. `now` gives unix seconds.
    """

    journal: Journal
    job: Programs
    after: Programs
    now: Callable[[], float]
    wait: Callable[[float], object]
    is_stopping: Callable[[], bool]
    may_forget: Callable[[RunPlan], str]


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What came of it: the events that follow, and `notes` on what else went wrong."""

    outcome: RunOutcome
    events: tuple[str, ...]
    result: Interpreted
    notes: tuple[str, ...] = ()

    def noted(self, *notes: str) -> "AttemptResult":
        """Add what went wrong besides: a success with notes is a warning."""
        worse = RunOutcome.WARNING if notes and self.outcome.is_good else self.outcome
        return replace(self, outcome=worse, notes=(*self.notes, *notes))

    def ended(self, at: float) -> Ended:
        """Return the record of it."""
        result = self.result
        failure = result.failure or (FailureClass.HOOK if self.notes else None)
        reason = "; ".join(filter(None, (result.reason, *self.notes)))
        return Ended(
            self.outcome, at, result.snapshot, result.stats, failure, reason, result.excerpt
        )


class Attempt:
    """One attempt, which is run `run` of the journal; `unrecorded`: why it is not in it."""

    def __init__(
        self,
        around: AttemptContext,
        scope: JobScope,
        run: int,
        report: Report,
        unrecorded: Interpreted | None = None,
    ) -> None:
        self._around = around
        self._scope = scope
        self._run = run
        self._report = report
        self._unrecorded = unrecorded
        self._began = around.now()
        self.ended: Ended | None = None
        """How it ended; None until the hooks after it are through."""

    def perform(self) -> None:
        """Do all of it."""
        done = self._halted(_UNFORESEEN)
        try:
            done = self._start() or self._job()
        finally:
            # Also where something unforeseen is raised: what was stopped starts again.
            after = self._after(done)
            self.ended = after.ended(self._around.now())
        self.ended = self._retain(after).ended(self._around.now())

    def _start(self) -> AttemptResult | None:
        """Run the START hooks, again where they ask for it; None if nothing is in the way."""
        if self._unrecorded is not None and self._stops_something():
            return self._halted(self._unrecorded)
        for tries in range(MOST_TRIES):
            if self._around.is_stopping():
                break
            self._phase(Phase.STARTING)
            found = self._run_hooks(self._around.job, self._scope.events.start)
            halted = self._judge_start(found)
            wait = _wait_after(found, tries)
            if halted is None or wait is None or tries + 1 == MOST_TRIES:
                return halted
            # What the hooks before it stopped must not stay so while we wait.
            self._after(halted)
            self._around.wait(wait)
        return self._stopped()

    def _judge_start(self, found: HookOutcome) -> AttemptResult | None:
        if found.halt is None:
            return None
        if self._around.is_stopping():
            return self._stopped()
        outcome = RunOutcome.CANCELLED if found.halt is OnError.CANCEL else RunOutcome.FAILED
        reason = f"a START hook failed: {'; '.join(found.failures)}"
        return self._halted(failed(FailureClass.HOOK, reason), outcome)

    def _stops_something(self) -> bool:
        """Return whether START hooks might stop something: notifications do not."""
        plan = self._scope.plan
        hooks = (*self._scope.repo.hooks, *(() if plan is None else plan.hooks))
        start = self._scope.events.start
        return any(
            hook.action == "actionCommand" and not hook.conditions.isdisjoint(start)
            for hook in hooks
        )

    def _job(self) -> AttemptResult:
        """Remove stale locks where that is wanted, and do the work."""
        if self._around.is_stopping():
            return self._stopped()
        self._phase(Phase.WORKING)
        engine = self._engine(self._around.job)
        unlocked = run_unlock(engine, self._scope.repo)
        if unlocked is not None and unlocked.verdict is not ResultKind.SUCCESS:
            return self._stopped() if self._around.is_stopping() else self._halted(unlocked)
        return self._judge(self._run_engine(engine))

    def _run_engine(self, engine: Engine) -> Interpreted:
        if self._scope.plan is not None:
            return engine.backup(self._scope.plan, self._scope.instance, self._report)
        if self._scope.job.kind is JobKind.FORGET and (refusal := self._may_not_forget()):
            return Interpreted(ResultKind.WARNING, reason=f"nothing is forgotten: {refusal}")
        return _UPKEEP[self._scope.job.kind](engine, self._scope.repo)

    def _may_not_forget(self) -> str:
        """Why not of this repository: its policy knows no plan, so one reason counts for all."""
        reasons = map(self._around.may_forget, self._scope.sharers)
        return next(filter(None, reasons), "")

    def _judge(self, result: Interpreted) -> AttemptResult:
        events = self._scope.events
        if result.verdict is ResultKind.SUCCESS:
            if self._scope.plan is None or result.snapshot:
                return AttemptResult(RunOutcome.SUCCESS, events.success, result)
            return AttemptResult(RunOutcome.SKIPPED, events.skipped, result)
        if result.verdict is ResultKind.WARNING:
            return AttemptResult(RunOutcome.WARNING, events.warning, result)
        if self._around.is_stopping():
            return replace(self._stopped(), events=events.failed)
        return AttemptResult(RunOutcome.FAILED, events.failed, result)

    def _after(self, done: AttemptResult) -> AttemptResult:
        """Run the hooks that follow, whatever came before them."""
        self._around.journal.child(self._run, None)
        self._phase(Phase.ENDING, done.result.snapshot)
        found = self._run_hooks(self._around.after, done.events, done.result)
        return done.noted(*found.failures)

    def _retain(self, done: AttemptResult) -> AttemptResult:
        """Forget the plan's snapshots beyond its retention; that this fails is a warning."""
        keep = keep_of(self._scope.repo, self._scope.plan, done.outcome)
        if keep is None:
            return done
        if refusal := self._around.may_forget(keep.plan):
            return done.noted(f"retention was left out: {refusal}")
        if self._around.is_stopping():
            return done
        if not done.notes:
            # Else the hooks after the backup are run once more if we die from here on.
            self._phase(Phase.FORGETTING)
        return done.noted(*self._forget(keep))

    def _forget(self, keep: RetentionDecision) -> tuple[str, ...]:
        """Forget between hooks of its own, as Backrest does; give what went wrong."""
        events = EVENTS[JobKind.FORGET]
        halted = self._run_hooks(self._around.job, events.start)
        if halted.halt is not None:
            result = failed(FailureClass.HOOK, "; ".join(halted.failures))
            follow = events.halted
        else:
            engine = self._engine(self._around.job)
            result = engine.forget(keep.plan, self._scope.instance, keep.retention)
            follow = events.failed if result.verdict is ResultKind.FAILED else events.success
        found = self._run_hooks(self._around.after, follow, result)
        reason = (f"retention failed: {result.reason}",) if result.reason else ()
        return (*reason, *found.failures)

    def _run_hooks(
        self, programs: Programs, events: tuple[str, ...], result: Interpreted | None = None
    ) -> HookOutcome:
        now = self._around.now()
        facts = Facts(
            task=render_name(self._scope.job),
            at=now,
            seconds=max(0.0, now - self._began),
            snapshot="" if result is None else result.snapshot,
            stats=None if result is None else result.stats,
            error="" if result is None else result.reason,
        )
        is_stopping = self._around.is_stopping if programs is self._around.job else _never
        scope = self._scope
        return programs.hooks.run(events, scope.repo, scope.plan, facts, is_stopping)

    def _engine(self, programs: Programs) -> Engine:
        journal, run = self._around.journal, self._run
        return programs.engines(self._scope.repo, lambda child: journal.child(run, child))

    def _phase(self, phase: Phase, snapshot: str = "") -> None:
        self._around.journal.phase(self._run, phase, snapshot)

    def _halted(
        self, result: Interpreted, outcome: RunOutcome = RunOutcome.FAILED
    ) -> AttemptResult:
        return AttemptResult(outcome, self._scope.events.halted, result)

    def _stopped(self) -> AttemptResult:
        return self._halted(_STOPPED, RunOutcome.CANCELLED)


def render_name(job: Job) -> str:
    """Return what Backrest calls a piece of work, for hooks that tell people."""
    return _NAMES[job.kind].format(job.subject)


def _never() -> bool:
    return False


def _wait_after(found: HookOutcome, tries: int) -> float | None:
    """Return the seconds after which START hooks are to be run once more; None: they are not."""
    if found.halt is OnError.RETRY_BACKOFF:
        return min(_FIRST_BACKOFF * 2.0**tries, _LONGEST_BACKOFF)
    return None if found.halt is None else _WAITS.get(found.halt)
