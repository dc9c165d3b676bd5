"""Judge whether the daemon and the backups are well: facts in, sentences out. Pure.

The sentences name plans, repositories, paths and containers; no output of a program reaches
them, for it may hold secrets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sidecar.lib.duration import render_duration
from sidecar.lib.text import counted
from sidecar.runner.journal import RunOutcome

MOST_USED = 0.95
"""How full a disk may be, as df counts."""
_PERIODS = 2
_FAILURES = {RunOutcome.FAILED: "failed", RunOutcome.INTERRUPTED: "was interrupted"}
# A backup that a hook or a person has cancelled was not wanted; a check has found nothing then.
_CUT_OFF = {**_FAILURES, RunOutcome.CANCELLED: "was cancelled"}


@dataclass(frozen=True, slots=True)
class PlanHealth:
    """What health needs to know of a plan.

    `period` is in seconds, times are unix seconds; None: never, or not known. `failure` is the
    class of the last failure, `blocked` says why the plan is not run at all, `ahead` are the
    beginnings of the ids of its snapshots that are ahead of the clock. `was_cut_off`: the last run
    was cancelled by the end of the runner, and no person had asked for that run.
    """

    id: str
    period: float | None = None
    first_seen: float | None = None
    last_success: float | None = None
    last_outcome: RunOutcome | None = None
    failure: str = ""
    blocked: str = ""
    ahead: tuple[str, ...] = ()
    was_cut_off: bool = False


@dataclass(frozen=True, slots=True)
class UpkeepHealth:
    """How the last check, prune, retention or verification of a subject ended.

    `work` and `subject` are words of a sentence: `check`, `repository store`. `failure` is the
    class of the failure, empty if it is not known.
    """

    work: str
    subject: str
    outcome: RunOutcome | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class HealthFacts:
    """All that health depends on.

    Attributes:
        now: unix seconds.
        beat_age: seconds since the main loop last moved.
        allowance: seconds without a move that are still well.
        has_document: whether any document can be executed.
        trouble: whether the document at hand is not the one that is executed.
        is_stopping: whether the daemon ends.
        plans: all plans of the document.
        upkeep: what was done for them and for their repositories besides backups.
        disks: how full each disk is, from 0 to 1, by path.
        unreachable: the class of failure by repository.
        stopped: a sentence for each container that is stopped and could not be started.
        unusable: a sentence for each address of notifications that cannot be used.
    """

    now: float
    beat_age: float = 0.0
    allowance: float = 180.0
    has_document: bool = True
    trouble: bool = False
    is_stopping: bool = False
    plans: tuple[PlanHealth, ...] = ()
    upkeep: tuple[UpkeepHealth, ...] = ()
    disks: Mapping[str, float] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)
    stopped: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthProblems:
    """What is wrong with the process, and with the backups; empty if nothing is."""

    process: tuple[str, ...] = ()
    backups: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """All problems."""
        return self.process + self.backups

    @property
    def is_healthy(self) -> bool:
        """Whether there is no problem."""
        return not self.reasons


def judge(facts: HealthFacts, grace: float) -> HealthProblems:
    """Return what is wrong; `grace`: how late a plan may be beyond twice its period, seconds."""
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
    for one in facts.upkeep:
        if one.outcome in _CUT_OFF:
            because = f" ({one.failure})" if one.failure else ""
            yield f"the last {one.work} of the {one.subject} {_CUT_OFF[one.outcome]}{because}"
    for path, used in sorted(facts.disks.items()):
        if used > MOST_USED:
            yield f"the disk of {path} is {used:.0%} full"
    for repo, failure in sorted(facts.unreachable.items()):
        yield f"the repository {repo} cannot be reached ({failure})"
    for sentence in facts.stopped:
        yield f"the container {sentence}"
    yield from facts.unusable


def _plan(plan: PlanHealth, now: float, grace: float) -> Iterator[str]:
    if plan.blocked:
        yield f"the plan {plan.id} is not run: {plan.blocked}"
    if plan.was_cut_off:
        yield f"the last run of the plan {plan.id} was cut off by the end of the runner"
    if plan.last_outcome in _FAILURES:
        because = f" ({plan.failure})" if plan.failure else ""
        yield f"the last run of the plan {plan.id} {_FAILURES[plan.last_outcome]}{because}"
    if plan.ahead:
        yield (
            f"the plan {plan.id} has {counted(len(plan.ahead), 'snapshot')} ahead of the clock: "
            f"nothing is forgotten until `restic forget {' '.join(plan.ahead)}`"
        )
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
