"""Putting right what a run left that did not come to its end."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from sidecar.backrest.reading import Config, Repo
from sidecar.engines.base import FailureClass, Verdict
from sidecar.lib.log import log_event
from sidecar.lib.process import end_leftover
from sidecar.runner.due import Kind
from sidecar.runner.job.events import EVENTS
from sidecar.runner.job.leftover import end_leftovers, wait_until_buried
from sidecar.runner.job.ports import Facts, Programs
from sidecar.runner.job.resume import Resume, parse_resume
from sidecar.runner.job.steps import render_name
from sidecar.runner.journal import Ended, Journal, Outcome, Phase, Run, Unfinished

_INTERRUPTED = "the runner died during this run"
_UNREADABLE = "what was to be done after it cannot be read: see whether everything runs again"

_log = logging.getLogger(__name__)


class Repair:
    """Ends the programs of a runner that died, and its runs; each step can be done again."""

    def __init__(self, journal: Journal, programs: Programs, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._programs = programs
        self._clock = clock

    def end_programs(self, runs: Iterable[Unfinished], patience: float, grace: float) -> None:
        """End what these runs have left running; hooks may take `patience` seconds to end."""
        runs = tuple(runs)
        if not runs:
            return
        children = tuple(one.child for one in runs if one.child is not None)
        for child in children:
            if end_leftover(child, grace):
                log_event(_log, logging.WARNING, "leftover.ended", count=1)
        wait_until_buried(children, grace)
        in_hooks = any(one.run.phase in {Phase.STARTING, Phase.ENDING} for one in runs)
        ended = end_leftovers(self._journal.path.parent, patience if in_hooks else 0.0, grace)
        if ended:
            log_event(_log, logging.WARNING, "leftover.ended", count=ended)

    def resume(self, one: Unfinished, config: Config | None) -> Run:
        """Run the hooks that follow a failure, free the repository, and record the end."""
        resume = parse_resume(one.resume)
        notes = [_INTERRUPTED]
        if resume is not None:
            notes += self._run_hooks(one, resume)
            notes += self._unlock(one, resume, config)
        elif one.run.work.kind in EVENTS:
            notes.append(_UNREADABLE)
        ended = Ended(
            Outcome.INTERRUPTED,
            self._clock(),
            one.snapshot,
            failure=FailureClass.INTERRUPTED,
            reason="; ".join(notes),
        )
        self._journal.end(one.run.id, ended)
        fields = {"run": one.run.id, "kind": one.run.work.kind, "subject": one.run.work.subject}
        log_event(_log, logging.WARNING, "run.interrupted", reason=ended.reason, **fields)
        return replace(one.run, ended=ended)

    def _run_hooks(self, one: Unfinished, resume: Resume) -> tuple[str, ...]:
        """Run the hooks as they were when the run began; give what went wrong."""
        work = one.run.work
        # Of a run that came to its retention all hooks after the backup are through.
        kind = Kind.FORGET if one.run.phase is Phase.FORGETTING else work.kind
        now = self._clock()
        facts = Facts(
            task=render_name(work),
            at=now,
            seconds=max(0.0, now - one.run.started),
            snapshot=one.snapshot,
            error=_INTERRUPTED,
        )
        events = EVENTS[kind].failed if kind in EVENTS else ()
        found = self._programs.hooks.run(events, resume.repo, resume.plan, facts, _never)
        return found.failures

    def _unlock(self, one: Unfinished, resume: Resume, config: Config | None) -> tuple[str, ...]:
        """Remove the locks of programs that died; before the work there were none."""
        if one.run.phase in {Phase.BEGUN, Phase.STARTING}:
            return ()
        engine = self._programs.engines(
            _current(resume.repo, config), lambda child: self._journal.child(one.run.id, child)
        )
        unlocked = engine.unlock()
        if unlocked.verdict is Verdict.SUCCESS:
            return ()
        return (f"the repository could not be unlocked: {unlocked.reason}",)


def _current(repo: Repo, config: Config | None) -> Repo:
    """Give the repository as it is now: its password may have been put right since."""
    return (None if config is None else config.repo(repo.id)) or repo


def _never() -> bool:
    return False
