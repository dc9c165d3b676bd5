"""What the runner knows of itself and its backups, and who can see it.

Whether all is well, and why not: facts in, a verdict in words out. Pure.

The words name plans, repositories and paths; what a program said does not reach them.

A small file for each plan that says how its last run ended, for scripts and other eyes.

`PLAN.success` holds the time of the last success; `PLAN.failed` is there as long as the last
run failed, and holds three lines: FAILED, the time, and why. Times are unix seconds.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from sidecar.lib.duration import render_duration
from sidecar.lib.log import log_event
from sidecar.lib.write_file import write_small
from sidecar.runner.due import JobKind
from sidecar.runner.journal import Run, RunOutcome

MOST_USED = 0.95
"""How full a disk may be, as df counts."""
_PERIODS = 2
_BAD = frozenset({RunOutcome.FAILED, RunOutcome.INTERRUPTED})


@dataclass(frozen=True, slots=True)
class PlanHealth:
    """What is known of a plan; times in unix seconds, `period` in seconds, None: never, not known.

    `blocked` says why it is not run at all.
    """

    id: str
    period: float | None = None
    first_seen: float | None = None
    last_success: float | None = None
    last_outcome: RunOutcome | None = None
    failure: str = ""
    blocked: str = ""


@dataclass(frozen=True, slots=True)
class HealthFacts:
    """All that a verdict depends on; ages in seconds.

    `trouble`: the document at hand is not the one that is executed. `disks` are used parts
    from 0 to 1 by path, `unreachable` the classes of failures by repository, `stopped` says of
    containers, by their names, that they are stopped and could not be started.
    """

    now: float
    beat_age: float = 0.0
    allowance: float = 180.0
    has_document: bool = True
    trouble: bool = False
    is_stopping: bool = False
    plans: tuple[PlanHealth, ...] = ()
    disks: Mapping[str, float] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)
    stopped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthProblems:
    """Why something is wrong: with the process, or with the backups; empty: nothing is."""

    process: tuple[str, ...] = ()
    backups: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """All of it."""
        return self.process + self.backups

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.reasons


def judge(facts: HealthFacts, grace: float) -> HealthProblems:
    """Judge; `grace` is in seconds."""
    return HealthProblems(tuple(_process(facts)), tuple(_backups(facts, grace)))


def _process(facts: HealthFacts) -> Iterator[str]:
    if facts.is_stopping:
        yield "it is stopping"
    if facts.beat_age > facts.allowance:
        yield f"the main loop has not moved for {render_duration(facts.beat_age)}"
    if not facts.has_document:
        yield "there is no document that could be executed"
    elif facts.trouble:
        yield "the document is broken: the last good one is executed"


def _backups(facts: HealthFacts, grace: float) -> Iterator[str]:
    for plan in facts.plans:
        yield from _plan(plan, facts.now, grace)
    for path, used in sorted(facts.disks.items()):
        if used > MOST_USED:
            yield f"the disk of {path} is {used:.0%} full"
    for repo, failure in sorted(facts.unreachable.items()):
        yield f"the repository {repo} cannot be reached ({failure})"
    for sentence in facts.stopped:
        yield f"the container {sentence}"


def _plan(plan: PlanHealth, now: float, grace: float) -> Iterator[str]:
    if plan.blocked:
        yield f"the plan {plan.id} is not run: {plan.blocked}"
    if plan.last_outcome in _BAD:
        because = f" ({plan.failure})" if plan.failure else ""
        yield f"the last run of the plan {plan.id} {_WORDS[plan.last_outcome]}{because}"
    if plan.period is None or plan.first_seen is None:
        return
    since = plan.first_seen if plan.last_success is None else plan.last_success
    if now - since > _PERIODS * plan.period + grace:
        age = render_duration(now - since)
        saved = f"was never saved in {age}" if plan.last_success is None else f"was saved {age} ago"
        yield (
            f"the plan {plan.id} {saved}, "
            f"more than twice its period of {render_duration(plan.period)}"
        )


_WORDS = {RunOutcome.FAILED: "failed", RunOutcome.INTERRUPTED: "was interrupted"}

_MOST_NAME = 200
_log = logging.getLogger(__name__)


def write_marker(directory: Path, run: Run) -> None:
    """Write down how a backup ended; raises nothing, and tells what cannot be written."""
    ended = run.ended
    if run.job.kind is not JobKind.BACKUP or ended is None:
        return
    name = marker_name(run.job.subject)
    try:
        if ended.outcome.is_good:
            write_small(directory, f"{name}.success", f"{ended.at:.0f}\n".encode(), durable=True)
            (directory / f"{name}.failed").unlink(missing_ok=True)
        elif ended.outcome in _BAD:
            reason = " ".join(ended.reason.split()) or ended.outcome.value
            content = f"FAILED\n{ended.at:.0f}\n{reason}\n".encode(errors="replace")
            write_small(directory, f"{name}.failed", content, durable=True)
    except OSError as error:
        log_event(
            _log, logging.ERROR, "marker.not-written", plan=run.job.subject, reason=str(error)
        )


def marker_name(plan: str) -> str:
    """Return the name under which a plan's files stand: its id, if that can be one."""
    name = quote(plan, safe="")
    if len(name) <= _MOST_NAME:
        return name
    return f"{name[:_MOST_NAME]}-{hashlib.sha256(plan.encode()).hexdigest()[:16]}"
