"""Bring runs to their end that a runner which died has left unfinished.

Each run leaves the repository and the plan as they were when it began in the journal, hooks and
all, so that what was stopped is started again though the document has changed since. They hold
secrets: they go into the journal, which only its owner can read, and nowhere else.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from sidecar.backrest.reading import Config, Repo, RunPlan
from sidecar.engines.base import CommandResult, FailureClass, ResultKind, as_result
from sidecar.lib.duration import render_duration
from sidecar.lib.log import log_event
from sidecar.lib.process import end_leftover
from sidecar.runner.due import JobKind, Retry
from sidecar.runner.job.events import EVENTS, HookFacts, backrest_name
from sidecar.runner.job.leftover_processes import end_leftovers, wait_until_reaped
from sidecar.runner.job.steps import Programs
from sidecar.runner.journal import Ended, Journal, Phase, Run, RunOutcome, Unfinished
from sidecar.runner.retries import RetryRules, TryEnd

if TYPE_CHECKING:
    from pydantic import RootModel

_INTERRUPTED = "the runner died during this run"
_UNREADABLE = "what was to be done after it cannot be read: see whether everything runs again"

# In the first are only the hooks of a failure before START hooks.
_WITH_HOOKS = frozenset({Phase.BEGUN, Phase.STARTING, Phase.ENDING, Phase.SEALING})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resume:
    """The repository and the plan of a run, and the name that the document's instance had."""

    repo: Repo
    plan: RunPlan | None = None
    instance: str = field(default="")


@cache
def _resume_model() -> "type[RootModel[Resume]]":
    from pydantic import RootModel  # noqa: PLC0415 - most commands of the runner make no run

    return RootModel[Resume]


def render_resume(resume: Resume) -> str:
    """Return the text for the journal, as JSON."""
    return _resume_model()(resume).model_dump_json()


def parse_resume(text: str) -> Resume | None:
    """Read a text of the journal; None if it is not one."""
    try:
        return _resume_model().model_validate_json(text).root
    except ValueError:
        return None


class RunRecovery:
    """Ends the programs of a runner that died, and its runs.

    Each step can be done again. `cleanup` runs the hooks and unlocks the repository, `retries` is
    what is tried again.
    """

    def __init__(
        self,
        journal: Journal,
        cleanup: Programs,
        now: Callable[[], float],
        retries: RetryRules,
    ) -> None:
        self._retries = retries
        self._journal = journal
        self._cleanup = cleanup
        self._now = now

    def end_programs(self, runs: Iterable[Unfinished], patience: float, grace: float) -> None:
        """End what these runs have left running; hooks may take `patience` seconds to end."""
        runs = tuple(runs)
        if not runs:
            return
        children = tuple(one.child for one in runs if one.child is not None)
        for child in children:
            if end_leftover(child, grace):
                log_event(_log, logging.WARNING, "leftover.ended", count=1)
        wait_until_reaped(children, grace)
        in_hooks = any(one.run.phase in _WITH_HOOKS for one in runs)
        ended = end_leftovers(self._journal.path.parent, patience if in_hooks else 0.0, grace)
        if ended:
            log_event(_log, logging.WARNING, "leftover.ended", count=ended)

    def finish(self, one: Unfinished, config: Config | None) -> Run:
        """Run the hooks that follow a failure, free the repository, and record the end."""
        resume = parse_resume(one.resume)
        notes = [_INTERRUPTED]
        kept = self._plan_retry(one)
        again = None if kept is None else kept.at
        if resume is not None:
            notes += self._run_hooks(one, resume, notifies=again is None)
        elif one.run.job.kind in EVENTS:
            notes.append(_UNREADABLE)
        if _may_have_locked(one):
            notes += self._unlock(one, None if resume is None else resume.repo, config)
        if again is not None:
            notes.append(f"it is tried again in {render_duration(round(again - self._now()))}")
        ended = Ended(
            RunOutcome.INTERRUPTED,
            self._now(),
            one.snapshot,
            failure=FailureClass.INTERRUPTED,
            reason="; ".join(notes),
        )
        self._journal.runs.end(one.run.id, ended, kept)
        fields = {"run": one.run.id, "kind": one.run.job.kind, "subject": one.run.job.subject}
        log_event(_log, logging.WARNING, "run.interrupted", reason=ended.reason, **fields)
        return replace(one.run, ended=ended, again=again)

    def _plan_retry(self, one: Unfinished) -> Retry | None:
        """Return what is tried again after it; one that has made a snapshot has saved all."""
        past = self._journal.past.history().past.get(one.run.job)
        known = None if past is None else past.retry
        if known is None or known.at is not None:
            # It answered no fire; one that waits goes on to wait.
            return known
        if one.snapshot:
            return None
        end = TryEnd(RunOutcome.INTERRUPTED, FailureClass.INTERRUPTED)
        return self._retries.plan(one.run.job, known, end, self._now())

    def _run_hooks(self, one: Unfinished, resume: Resume, *, notifies: bool) -> tuple[str, ...]:
        """Run the hooks as they were when the run began; return what went wrong."""
        job = one.run.job
        # A run that came to its retention has run all hooks after the backup.
        kind = JobKind.FORGET if one.run.phase is Phase.FORGETTING else job.kind
        now = self._now()
        facts = HookFacts(
            task=backrest_name(job),
            repo=resume.repo,
            plan=resume.plan,
            at=now,
            seconds=max(0.0, now - one.run.started),
            snapshot=one.snapshot,
            error=_INTERRUPTED,
        )
        events = EVENTS[kind].failed if kind in EVENTS else ()
        if one.run.phase is Phase.BEGUN and kind in EVENTS:
            # No START hook ran.
            events = EVENTS[kind].refused
        ran = EVENTS[kind].end if one.run.phase is Phase.SEALING and kind in EVENTS else ()
        outcome = self._cleanup.hooks.run(
            events, facts, threading.Event(), notifies=notifies, ran=ran
        )
        return outcome.failures

    def _unlock(
        self, one: Unfinished, resumed: Repo | None, config: Config | None
    ) -> tuple[str, ...]:
        """Remove the locks of programs that died; return what went wrong."""
        # The password may have been corrected since.
        name = one.run.job.repo if resumed is None else resumed.id
        repo = (None if config is None else config.repo(name)) or resumed
        if repo is None:
            return ()

        def unlock() -> CommandResult:
            return self._cleanup.engines.make(
                repo, lambda child: self._journal.runs.child(one.run.id, child)
            ).unlock()

        unlocked = as_result(unlock)
        if unlocked.kind is ResultKind.SUCCESS:
            return ()
        return (f"the repository could not be unlocked: {unlocked.reason}",)


def _may_have_locked(one: Unfinished) -> bool:
    """Return whether the engine had begun; what runs without hooks has no phases."""
    return one.run.job.kind not in EVENTS or one.run.phase not in {Phase.BEGUN, Phase.STARTING}
