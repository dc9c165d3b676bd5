"""Putting right what a run left that did not come to its end.

What a run leaves for the next start of the runner, in case it does not come to its end.

It holds the repository and the plan as they were when the run began, hooks and all, so
that what was stopped is started again though the document has changed since. There are
secrets in it: it goes into the journal, which only its owner can read, and nowhere else.

Ending what a runner that died has left running.

A runner marks all programs that it starts, and those that these start, by a variable of
their environment. So none is overlooked, however short before its death it was started:
a START hook that is still at work would otherwise stop what is started again now.
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import RootModel, ValidationError

from sidecar.backrest.reading import Config, Repo, RunPlan
from sidecar.engines.base import FailureClass, ResultKind
from sidecar.lib.log import log_event
from sidecar.lib.process import Child, child_of, end_leftover
from sidecar.runner.due import JobKind
from sidecar.runner.job.steps import EVENTS, Facts, Programs, render_name
from sidecar.runner.journal import Ended, Journal, Phase, Run, RunOutcome, Unfinished


@dataclass(frozen=True, slots=True)
class Resume:
    """The repository and the plan of a run, and the name that the document's instance had."""

    repo: Repo
    plan: RunPlan | None = None
    instance: str = field(default="")


_BYTES = RootModel[Resume]


def render_resume(resume: Resume) -> str:
    """Return the text for the journal."""
    return _BYTES(resume).model_dump_json()


def parse_resume(text: str) -> Resume | None:
    """Read a text of the journal; None if it is not one."""
    try:
        return _BYTES.model_validate_json(text).root
    except ValidationError:
        return None


MARK = "BACKREST_RUNNER_STATE"
"""The variable; its value is the journal's folder."""

_PROC = Path("/proc")
_LOOK_SECONDS = 0.05


def marked(environ: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Return the environment for all programs of the runner whose journal lies there."""
    return {**environ, MARK: str(directory.absolute())}


def find_leftovers(directory: Path) -> tuple[Child, ...]:
    """List the living processes with the mark of this folder, except ourselves."""
    wanted = os.fsencode(f"{MARK}={directory.absolute()}")
    return tuple(child for child in _others() if wanted in _environment(child.pid))


def end_leftovers(
    directory: Path,
    patience: float,
    grace: float,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Wait `patience` seconds for them to end, then end them; give how many had to be ended.

    Whoever calls this has to be the only runner of that folder. A hook is better waited
    for: the engine goes on stopping a container though nobody waits for its answer.
    """

    def wait(seconds: float) -> tuple[Child, ...]:
        deadline = monotonic() + seconds
        while (left := find_leftovers(directory)) and monotonic() < deadline:
            sleep(_LOOK_SECONDS)
        return left

    overdue = wait(patience)
    for which in (signal.SIGTERM, signal.SIGKILL):
        for child in wait(0) if overdue else ():
            _send(child, which)
        wait(grace if overdue else 0)
    wait_until_buried(overdue, grace, monotonic, sleep)
    return len(overdue)


def wait_until_buried(
    children: Iterable[Child],
    seconds: float,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until nobody has to be told any more that these have ended, at most so long.

    Until then restic takes a lock of theirs for that of a living process.
    """
    deadline = monotonic() + seconds
    waiting = tuple(children)
    while any(_is_dead_but_there(child.pid) for child in waiting) and monotonic() < deadline:
        sleep(_LOOK_SECONDS)


def _is_dead_but_there(pid: int) -> bool:
    return (_PROC / str(pid)).exists() and not child_of(pid).started


def _send(child: Child, which: signal.Signals) -> None:
    """Send a signal to this process, never to another that has its number by now."""
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(child.pid)
        try:
            if child_of(child.pid) == child:
                signal.pidfd_send_signal(descriptor, which)
        finally:
            os.close(descriptor)


def _others() -> Iterator[Child]:
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            child = child_of(int(entry.name))
            if child.started:
                yield child


def _environment(pid: int) -> list[bytes]:
    """Give the environment that a process was started with; nothing if that is not ours to see."""
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


_INTERRUPTED = "the runner died during this run"
_UNREADABLE = "what was to be done after it cannot be read: see whether everything runs again"

_log = logging.getLogger(__name__)


class Repair:
    """Ends the programs of a runner that died, and its runs; each step can be done again."""

    def __init__(self, journal: Journal, programs: Programs, now: Callable[[], float]) -> None:
        self._journal = journal
        self._programs = programs
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
        elif one.run.job.kind in EVENTS:
            notes.append(_UNREADABLE)
        ended = Ended(
            RunOutcome.INTERRUPTED,
            self._now(),
            one.snapshot,
            failure=FailureClass.INTERRUPTED,
            reason="; ".join(notes),
        )
        self._journal.end(one.run.id, ended)
        fields = {"run": one.run.id, "kind": one.run.job.kind, "subject": one.run.job.subject}
        log_event(_log, logging.WARNING, "run.interrupted", reason=ended.reason, **fields)
        return replace(one.run, ended=ended)

    def _run_hooks(self, one: Unfinished, resume: Resume) -> tuple[str, ...]:
        """Run the hooks as they were when the run began; give what went wrong."""
        job = one.run.job
        # Of a run that came to its retention all hooks after the backup are through.
        kind = JobKind.FORGET if one.run.phase is Phase.FORGETTING else job.kind
        now = self._now()
        facts = Facts(
            task=render_name(job),
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
        if unlocked.verdict is ResultKind.SUCCESS:
            return ()
        return (f"the repository could not be unlocked: {unlocked.reason}",)


def _current(repo: Repo, config: Config | None) -> Repo:
    """Return the repository as it is now: its password may have been put right since."""
    return (None if config is None else config.repo(repo.id)) or repo


def _never() -> bool:
    return False
