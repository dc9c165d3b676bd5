"""The steps of one run of a job; `Session.run` takes them in Backrest's order.

A look at locks where START hooks stop something, those hooks, stale locks, the engine, the hooks
after it, and after a backup the retention.
"""

import logging
import shlex
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar.backrest.plan import OnError, Retention
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import (
    BackupType,
    CommandResult,
    Engine,
    EngineError,
    Engines,
    FailureClass,
    Report,
    ResultKind,
    Snapshot,
    as_result,
    failed,
    failure_of,
)
from sidecar.lib.duration import render_duration
from sidecar.lib.log import log_event
from sidecar.lib.text import is_hash
from sidecar.runner.due import Job, JobKind, Retry
from sidecar.runner.job.events import EVENTS, Events, HookFacts, HookOutcome, Hooks, backrest_name
from sidecar.runner.job.lock_wait import wait_for_locks
from sidecar.runner.job.retention_guard import BackupVerdict, RetentionGuard
from sidecar.runner.job.upkeep import run_check, run_forget, run_prune, run_unlock
from sidecar.runner.journal import Ended, Journal, JournalError, Phase, RunOutcome
from sidecar.runner.retries import RetryRules, TryEnd
from sidecar.runner.source_links import refuse_links

_MOST_FORGED = 3
_WORKED = frozenset({ResultKind.SUCCESS, ResultKind.WARNING})
_UPKEEP = {JobKind.PRUNE: run_prune, JobKind.CHECK: run_check}

UNFORESEEN = failed(FailureClass.UNKNOWN, "something unforeseen happened in the runner itself")
_STOPPED = failed(FailureClass.INTERRUPTED, "the runner was asked to end")
_UNRECORDED = failed(
    FailureClass.UNKNOWN,
    "the journal cannot be written, the log says why: nothing may be stopped that nobody might "
    "start again",
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Programs:
    """What starts programs: repositories' engines, and the hooks."""

    engines: Engines
    hooks: Hooks


@dataclass(frozen=True, slots=True)
class JobScope:
    """What a run is about; `plan` is None for what concerns the whole repository."""

    job: Job
    repo: Repo
    plan: RunPlan | None = None
    instance: str = ""
    sharers: tuple[RunPlan, ...] = ()
    """All plans of the repository, for what concerns the whole of it."""

    @property
    def events(self) -> Events:
        """The events of this kind of job."""
        return EVENTS[self.job.kind]


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """What all runs of a session share.

    Attributes:
        journal: where each step is recorded.
        guard: judges what a backup has made.
        programs: the START hooks and the engine, which a stop of the runner ends.
        cleanup: the hooks after them, which start again what was stopped: never ended.
        now: gives unix seconds.
        stopping: is set when the runner is asked to end.
        lock_wait: seconds that others' locks are waited for, before anything is stopped.
        retries: what is tried again.
        workloads: the sidecar's file that tells in which mounts the paths of plans lie.
    """

    journal: Journal
    guard: RetentionGuard
    programs: Programs
    cleanup: Programs
    now: Callable[[], float]
    stopping: threading.Event
    retries: RetryRules
    lock_wait: float = 0.0
    workloads: Path | None = None


@dataclass(frozen=True, slots=True)
class Unsealed:
    """What an engine has captured, and that very engine."""

    engine: Engine
    captured: CommandResult


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """How a run ended so far; each step makes the next one of it.

    Attributes:
        outcome: how it ended.
        events: those whose hooks follow.
        result: what the engine said, or why it was not asked.
        notes: what else went wrong, in sentences.
        noted_failure: the class of the first note.
        remark: a sentence that changes nothing of the outcome.
        asked: what the START hook asks for that halted it; None: none did.
        is_refused: whether it ended before anything was stopped for it.
        keeps_all: whether no snapshot of the plan may be forgotten after it.
        retry: when it is tried again, if it is.
        unsealed: what is to be sealed before it has ended; None: nothing.
        ran: the events whose commands have run before it was sealed.
    """

    outcome: RunOutcome
    events: tuple[str, ...]
    result: CommandResult
    notes: tuple[str, ...] = ()
    noted_failure: FailureClass | None = None
    remark: str = ""
    asked: OnError | None = None
    is_refused: bool = False
    keeps_all: bool = False
    retry: Retry | None = None
    unsealed: Unsealed | None = None
    ran: tuple[str, ...] = ()

    def noted(self, *notes: str, failure: FailureClass = FailureClass.HOOK) -> "AttemptResult":
        """Return it with what else went wrong, of a class: a success with notes is a warning.

        A run that was skipped by its hook has failed then.
        """
        outcome = self.outcome
        if notes and outcome.is_good:
            outcome = RunOutcome.WARNING
        elif notes and self.is_skipped_by_hook:
            # What a START hook has stopped may not run again.
            outcome = RunOutcome.FAILED
        first = self.noted_failure or (failure if notes else None)
        notes = (*self.notes, *notes)
        return replace(self, outcome=outcome, notes=notes, noted_failure=first)

    @property
    def is_skipped_by_hook(self) -> bool:
        """Whether a START hook said that there is nothing to do."""
        return self.outcome is RunOutcome.CANCELLED and self.result.failure is FailureClass.HOOK

    def ended(self, at: float) -> Ended:
        """Return the journal's record of it; `at` in unix seconds."""
        result = self.result
        failure = result.failure or self.noted_failure
        reason = "; ".join(filter(None, (result.reason, *self.notes, self.remark)))
        return Ended(
            self.outcome, at, result.snapshot, result.stats, failure, reason, result.excerpt
        )


@dataclass(frozen=True, slots=True)
class RunConditions:
    """What a run begins with.

    Attributes:
        answers: the fire that it is to answer, with the tries before; None: a person asked for it.
        refusal: why its repository cannot be used; None: it can.
        remark: a sentence on what was done before it, for its end; empty: nothing.
        wanted: the type of the backup; None: the engine chooses.
    """

    answers: Retry | None = None
    refusal: CommandResult | None = None
    remark: str = ""
    wanted: BackupType | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run, number `run` of the journal, that began at `began`, in unix seconds.

    Each step takes how the run ended so far, and returns how it does now. `conditions` are what it
    begins with; `unrecorded` is why the journal does not hold it: then nothing is stopped.
    """

    context: AttemptContext
    scope: JobScope
    run: int
    began: float
    conditions: RunConditions
    unrecorded: CommandResult | None = None

    def start(self) -> AttemptResult | None:
        """Run the START hooks; return None if the run goes on."""
        if (reason := self._prepare()) is not None:
            return self._refused(reason)
        answers = self.conditions.answers
        is_first = answers is None or not answers.is_again
        start = self.scope.events.start
        return self._judge_start(self._run_hooks(self.context.programs, start, notifies=is_first))

    def _prepare(self) -> CommandResult | None:
        """Do what comes before the START hooks; return why they must not run, None if they may."""
        stops = self._stops_something()
        if self.unrecorded is not None and stops:
            return self.unrecorded
        if self.conditions.refusal is not None and not self._is_stopping():
            return self.conditions.refusal
        if (linked := self._refuse_links()) is not None:
            return linked
        locked = self._await_locks() if stops else None
        if self._is_stopping():
            return _STOPPED
        if locked is not None:
            return locked
        return None if self._phase(Phase.STARTING) or not stops else _UNRECORDED

    def plan_retry(self, result: AttemptResult) -> AttemptResult:
        """Find out whether this was the last try: else notifications wait for that one.

        Where nothing was stopped, as when the repository does not answer, all hooks do.
        """
        end = TryEnd(result.outcome, result.result.failure, result.asked)
        now = self.context.now()
        retry = self.context.retries.plan(self.scope.job, self.conditions.answers, end, now)
        if retry is None or retry.at is None:
            return replace(result, retry=retry)
        wait = render_duration(round(retry.at - now))
        events = () if result.is_refused else result.events
        remark = "; ".join(filter(None, (result.remark, f"it is tried again in {wait}")))
        return replace(result, events=events, remark=remark, retry=retry)

    def _refuse_links(self) -> CommandResult | None:
        plan = self.scope.plan
        return None if plan is None else refuse_links(plan, self.context.workloads)

    def _await_locks(self) -> CommandResult | None:
        """Wait until the repository is free; return why it is not, or why it has no engine."""
        try:
            engine = self._engine()
        except EngineError as error:
            return failure_of(error)
        is_alone = self.scope.job.kind is not JobKind.BACKUP
        seconds, stopping = self.context.lock_wait, self.context.stopping
        return wait_for_locks(
            engine,
            seconds,
            stopping,
            repo=self.scope.repo.id,
            is_alone=is_alone,
            plan=self.scope.job.subject,
        )

    def _judge_start(self, hooks: HookOutcome) -> AttemptResult | None:
        if hooks.halt is None:
            return None
        if self._is_stopping():
            return self._stopped()
        is_skipped = hooks.halt is OnError.CANCEL
        outcome = RunOutcome.CANCELLED if is_skipped else RunOutcome.FAILED
        why = "skipped by its hook" if is_skipped else "a START hook failed"
        reason = f"{why}: {'; '.join(hooks.failures)}"
        return replace(self.halted(failed(FailureClass.HOOK, reason), outcome), asked=hooks.halt)

    def _stops_something(self) -> bool:
        """Return whether START hooks might stop something: notifications do not."""
        plan = self.scope.plan
        hooks = (*self.scope.repo.hooks, *(() if plan is None else plan.hooks))
        start = self.scope.events.start
        return any(
            hook.action == "actionCommand" and not hook.conditions.isdisjoint(start)
            for hook in hooks
        )

    def execute(self, report: Report) -> AttemptResult:
        """Remove stale locks where the repository asks for it, and let the engine do the job."""
        if self._is_stopping():
            return self._stopped()
        self._phase(Phase.WORKING)
        try:
            engine = self._engine()
        except EngineError as error:
            return self.halted(failure_of(error))
        unlocked = run_unlock(engine, self.scope.repo)
        if unlocked is not None and unlocked.kind is not ResultKind.SUCCESS:
            return self._stopped() if self._is_stopping() else self.halted(unlocked)
        done = self._run_engine(engine, report)
        if not done.is_sealed and done.kind in _WORKED:
            unsealed = Unsealed(engine, done)
            return AttemptResult(RunOutcome.SUCCESS, (), done, unsealed=unsealed)
        return self._judge(done, self._weigh(done, engine))

    def resume(self, result: AttemptResult) -> AttemptResult:
        """Start again what was stopped, by the END commands, before what was captured is sealed.

        All other hooks wait for how the run ends.
        """
        self.context.journal.runs.child(self.run, None)
        self._phase(Phase.ENDING)
        ran = self.scope.events.end
        hooks = self._run_hooks(self.context.cleanup, ran, notifies=False)
        return replace(result.noted(*hooks.failures), ran=ran)

    def seal(self, result: AttemptResult, unsealed: Unsealed, report: Report) -> AttemptResult:
        """Let the engine seal what it has captured: that decides how the run ends."""
        if self._is_stopping() or self.scope.plan is None:
            sealed = self._stopped()
        else:
            self._phase(_phase_after(result, Phase.SEALING))
            done = unsealed.engine.seal(self.scope.plan, unsealed.captured, report)
            sealed = self._judge(done, self._weigh(done, unsealed.engine))
        return replace(sealed, ran=result.ran).noted(*result.notes)

    def _weigh(self, result: CommandResult, engine: Engine) -> BackupVerdict:
        """Judge what a backup has made, before the hooks that follow on how it ended."""
        plan = self.scope.plan
        if plan is None or result.kind not in _WORKED:
            return BackupVerdict()
        return self.context.guard.judge(plan, self.scope.instance, engine, result, self.began)

    def _run_engine(self, engine: Engine, report: Report) -> CommandResult:
        if self.scope.plan is not None:
            return engine.capture(
                self.scope.plan,
                self.scope.instance,
                report,
                self._last_snapshot(),
                self.conditions.wanted,
            )
        if self.scope.job.kind is JobKind.FORGET:
            return as_result(lambda: self._forget_all(engine))
        return _UPKEEP[self.scope.job.kind](engine, self.scope.repo)

    def _last_snapshot(self) -> str:
        """Return the newest snapshot with files that the journal knows of; empty: none."""
        try:
            last = self.context.journal.runs.latest(self.scope.job, self.began)
        except JournalError:
            return ""
        return "" if last is None or last.ended is None else last.ended.snapshot

    def _forget_all(self, engine: Engine) -> CommandResult:
        """Forget by the repository's policy, unless that would lose what is needed."""
        scope = self.scope
        judged = self.context.guard.judge_repository(scope.sharers, scope.instance, engine)
        if judged.keeps_all:
            return CommandResult(ResultKind.WARNING, judged.failure, judged.warning)
        return run_forget(engine, self.scope.repo)

    def _judge(self, done: CommandResult, verdict: BackupVerdict) -> AttemptResult:
        result, events = _warned(done, verdict), self.scope.events
        remark = "; ".join(filter(None, (self.conditions.remark, result.note, verdict.remark)))
        if result.kind is ResultKind.SUCCESS:
            is_new = self.scope.plan is None or result.snapshot
            outcome = RunOutcome.SUCCESS if is_new else RunOutcome.SKIPPED
            follow = events.success if is_new else events.skipped
        elif result.kind is ResultKind.WARNING:
            outcome, follow = RunOutcome.WARNING, events.warning
        elif self._is_stopping():
            return replace(self._stopped(), events=events.failed)
        else:
            return AttemptResult(RunOutcome.FAILED, events.failed, result, remark=remark)
        keeps_all = verdict.keeps_all
        return AttemptResult(outcome, follow, result, remark=remark, keeps_all=keeps_all)

    def clean_up(self, result: AttemptResult) -> AttemptResult:
        """Run the hooks after the engine, whatever came before them."""
        self.context.journal.runs.child(self.run, None)
        if not result.is_refused:
            # Else the phase stays BEGUN: after a crash from here on no END hook runs either.
            phase = _phase_after(result, Phase.SEALING) if result.ran else Phase.ENDING
            self._phase(phase, result.result.snapshot)
        is_last = result.retry is None
        hooks = self._run_hooks(
            self.context.cleanup, result.events, result.result, notifies=is_last, ran=result.ran
        )
        return result.noted(*hooks.failures)

    def retain(self, result: AttemptResult) -> AttemptResult:
        """Forget the plan's snapshots beyond its retention; a failure here is a warning.

        The plan's own retention applies if the backup saved what it should, and if the
        repository has no active policy of its own.

        Nor is anything forgotten while a snapshot is forged, from the future or without a file:
        it would count as one of this plan, so that one of its own had to go for it.
        """
        plan, repo = self.scope.plan, self.scope.repo
        if result.result.forged:
            kept = "" if plan is None else "; retention was left out"
            return result.noted(self._tell_forged(result.result.forged, kept))
        if plan is None or repo.overrides_retention or not result.outcome.is_good:
            return result
        if plan.retention is None or plan.retention.keep_all or result.keeps_all:
            return result
        if self._is_stopping():
            return result
        self._phase(_phase_after(result, Phase.FORGETTING))
        notes, failure = self._forget(plan, plan.retention)
        return result.noted(*notes, failure=failure)

    def _forget(self, plan: RunPlan, retention: Retention) -> tuple[tuple[str, ...], FailureClass]:
        """Forget between hooks of its own, as Backrest does; return what went wrong."""
        events = EVENTS[JobKind.FORGET]
        before = self._run_hooks(self.context.programs, events.start)
        if before.halt is not None:
            result = failed(FailureClass.HOOK, "; ".join(before.failures))
            follow = events.halted
        else:
            result = self._engine().forget(plan, self.scope.instance, retention)
            follow = events.failed if result.kind is ResultKind.FAILED else events.success
        after = self._run_hooks(self.context.cleanup, follow, result)
        reason = (f"retention failed: {result.reason}",) if result.reason else ()
        if result.forged:
            later = "; the next retention is left out until it is gone"
            reason = (*reason, self._tell_forged(result.forged, later))
        return (*reason, *after.failures), result.failure or FailureClass.HOOK

    def _tell_forged(self, forged: Sequence[Snapshot], consequence: str) -> str:
        """Log each forged snapshot, up to three, and return a sentence for the run's reason."""
        repo = self.scope.repo.id
        for one in forged[:_MOST_FORGED]:
            fields = {"snapshot": one.id, "tags": one.plan_tags, "hint": _render_repair(one)}
            log_event(_log, logging.WARNING, "snapshot.forged", repo=repo, **fields)
        more = len(forged) - _MOST_FORGED
        others = f" and {more} more" if more > 0 else ""
        said = ", ".join(_render_forged(one) for one in forged[:_MOST_FORGED])
        lines = " ; ".join(map(_render_repair, forged[:_MOST_FORGED]))
        return f"snapshot.forged: {said}{others}{consequence} → {lines}"

    def _run_hooks(
        self,
        programs: Programs,
        events: tuple[str, ...],
        result: CommandResult | None = None,
        *,
        notifies: bool = True,
        ran: tuple[str, ...] = (),
    ) -> HookOutcome:
        now = self.context.now()
        facts = HookFacts(
            task=backrest_name(self.scope.job),
            repo=self.scope.repo,
            plan=self.scope.plan,
            at=now,
            seconds=max(0.0, now - self.began),
            snapshot="" if result is None else result.snapshot,
            stats=None if result is None else result.stats,
            error="" if result is None else result.reason,
        )
        stopping = self.context.stopping
        return programs.hooks.run(events, facts, stopping, notifies=notifies, ran=ran)

    def _engine(self) -> Engine:
        journal, run = self.context.journal, self.run
        return self.context.programs.engines.make(
            self.scope.repo, lambda child: journal.runs.child(run, child)
        )

    def _phase(self, phase: Phase, snapshot: str = "") -> bool:
        """Record how far the run has come; return whether that is on disk."""
        return self.context.journal.runs.phase(self.run, phase, snapshot)

    def halted(
        self, result: CommandResult, outcome: RunOutcome = RunOutcome.FAILED
    ) -> AttemptResult:
        """End the run without the engine's work."""
        return AttemptResult(outcome, self.scope.events.halted, result)

    def _refused(self, result: CommandResult) -> AttemptResult:
        """End the run before anything was stopped for it: no END hook follows."""
        outcome = RunOutcome.CANCELLED if result is _STOPPED else RunOutcome.FAILED
        return AttemptResult(outcome, self.scope.events.refused, result, is_refused=True)

    def _stopped(self) -> AttemptResult:
        return self.halted(_STOPPED, RunOutcome.CANCELLED)

    def _is_stopping(self) -> bool:
        return self.context.stopping.is_set()


def _phase_after(result: AttemptResult, phase: Phase) -> Phase:
    """Return the phase that follows END hooks; if one failed, it stays the phase of those.

    So after a crash from here on they are run once more.
    """
    return Phase.ENDING if result.notes else phase


def _warned(result: CommandResult, verdict: BackupVerdict) -> CommandResult:
    """Return the result with what the verdict warns of."""
    if not verdict.warning:
        return result
    reason = "; ".join(filter(None, (result.reason, verdict.warning)))
    failure = result.failure or verdict.failure
    return replace(result, kind=ResultKind.WARNING, failure=failure, reason=reason)


def _render_forged(snapshot: Snapshot) -> str:
    return f"{snapshot.short} is ignored, it has the tags {' and '.join(snapshot.plan_tags)}"


def _render_repair(snapshot: Snapshot) -> str:
    """Return the line that leaves a snapshot the tag of the plan that made it.

    Only restic calls snapshots by hashes; of others a person corrects the record.
    """
    if not is_hash(snapshot.id):
        return f"leave {snapshot.short} in the repository one tag of a plan"
    return f"restic tag --remove {shlex.quote(','.join(snapshot.plan_tags[1:]))} {snapshot.short}"
