"""The hook events of each kind of job, and what a run asks of whoever runs its hooks.

The names and their order are Backrest's: of several events that a hook has, the first counts.
Beyond Backrest, a backup's END hooks also run where a START hook halts the run or a stale lock
cannot be removed: what START hooks stopped has to start again. And where a run ends before its
START hooks, as of a repository that does not answer, no END hooks run, only those of the failure.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecar.backrest.plan import OnError
from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.base import Stats
from sidecar.runner.due import Job, JobKind

_ANY = "CONDITION_ANY_ERROR"
_TASKS: Mapping[JobKind, str] = {
    JobKind.BACKUP: 'backup for plan "{}"',
    JobKind.FORGET: 'scheduled forget for repo "{}"',
    JobKind.PRUNE: 'prune repo "{}"',
    JobKind.CHECK: 'check for repo "{}"',
    JobKind.RESTORE: 'restore of plan "{}"',
    JobKind.VERIFY: 'verification of plan "{}"',
}


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one kind of job, by the point of the run at which their hooks run."""

    start: tuple[str, ...] = ()
    success: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    warning: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    """The engine failed."""
    halted: tuple[str, ...] = ()
    """The engine was never asked."""

    @property
    def end(self) -> tuple[str, ...]:
        """Those that only tell that the source is not read any more."""
        return tuple(event for event in self.failed if event.endswith("_END"))

    @property
    def refused(self) -> tuple[str, ...]:
        """The run ended before its START hooks, as of a lock: so no END hook runs either."""
        return tuple(event for event in self.halted if not event.endswith("_END"))


def _of_repo(name: str) -> Events:
    start, success, error = (f"CONDITION_{name}_{end}" for end in ("START", "SUCCESS", "ERROR"))
    done = (success,)
    return Events((start,), done, done, done, failed=(error, _ANY), halted=(_ANY, error))


EVENTS: Mapping[JobKind, Events] = {
    JobKind.BACKUP: Events(
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
    ),
    JobKind.FORGET: _of_repo("FORGET"),
    JobKind.PRUNE: _of_repo("PRUNE"),
    JobKind.CHECK: _of_repo("CHECK"),
}
"""Restoring and verifying have no events."""


@dataclass(frozen=True, slots=True)
class HookFacts:
    """What the templates of hooks can show of a run.

    Attributes:
        task: what Backrest calls the job, see `backrest_name`.
        repo: the repository, whose hooks run too.
        plan: the plan; None: the job is of the repository.
        at: now, in unix seconds.
        seconds: how long the run took so far.
        snapshot: the id of the new snapshot; empty if there is none.
        stats: what a backup counted.
        error: why the run failed, in one sentence; empty if it did not.
    """

    task: str
    repo: Repo
    plan: RunPlan | None
    at: float
    seconds: float = 0.0
    snapshot: str = ""
    stats: Stats | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class HookOutcome:
    """How the hooks of a set of events ended.

    `halt` is how the hook that halts the run asks to go on, None if none does; `failures` are
    sentences.
    """

    halt: OnError | None = None
    failures: tuple[str, ...] = ()


class Hooks(Protocol):
    """Runs the hooks that have one of several events."""

    def run(
        self,
        events: Sequence[str],
        facts: HookFacts,
        stopping: threading.Event,
        *,
        notifies: bool = True,
        ran: Collection[str] = (),
    ) -> HookOutcome:
        """Run each hook at most once, the repository's first, until one halts the run.

        No START hook begins once `stopping` is set. Without `notifies` only commands. Commands
        that have one of the events `ran` have run before: they are left out. Raises nothing for
        what a hook does.
        """
        ...


def backrest_name(job: Job) -> str:
    """Return what Backrest calls a job: `backup for plan "web"`."""
    return _TASKS[job.kind].format(job.subject)
