"""Judge whether the daemon and the backups are well: facts in, findings out. Pure.

The sentences name plans, repositories, paths and containers; no output of a program reaches
them, for it may hold secrets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sidecar.lib.duration import render_duration
from sidecar.lib.text import counted
from sidecar.runner.due import LONGEST_SLEEP
from sidecar.runner.journal import RunOutcome
from sidecar.service.health import Finding, Health, HealthAspect, judge_process

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
    has_document: bool = True
    trouble: bool = False
    is_stopping: bool = False
    plans: tuple[PlanHealth, ...] = ()
    upkeep: tuple[UpkeepHealth, ...] = ()
    disks: Mapping[str, float] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)
    stopped: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()


def judge(facts: HealthFacts, grace: float) -> Health:
    """Return what is wrong; `grace`: how late a plan may be beyond twice its period, seconds."""
    findings = [*_process(facts)]
    for plan in facts.plans:
        findings += _plan(plan, facts.now, grace)
    return Health((*findings, *_other(facts)))


def _process(facts: HealthFacts) -> Iterator[Finding]:
    yield from judge_process(facts.beat_age, LONGEST_SLEEP, is_stopping=facts.is_stopping)
    both = (HealthAspect.READY, HealthAspect.HEALTHY)
    if not facts.has_document:
        sentence = "there is no document that could be executed"
        yield Finding("document-missing", sentence, breaks=both)
    elif facts.trouble:
        sentence = "the document is broken: the last good one is executed"
        yield Finding("document-broken", sentence, breaks=both)


def _other(facts: HealthFacts) -> Iterator[Finding]:
    for one in facts.upkeep:
        if one.outcome in _CUT_OFF:
            because = f" ({one.failure})" if one.failure else ""
            sentence = f"the last {one.work} of the {one.subject} {_CUT_OFF[one.outcome]}{because}"
            yield Finding("upkeep-failed", sentence, one.subject)
    for path, used in sorted(facts.disks.items()):
        if used > MOST_USED:
            yield Finding("disk-full", f"the disk of {path} is {used:.0%} full", path)
    for repo, failure in sorted(facts.unreachable.items()):
        sentence = f"the repository {repo} cannot be reached ({failure})"
        yield Finding("repo-unreachable", sentence, repo)
    for sentence in facts.stopped:
        yield Finding("container-stopped", f"the container {sentence}")
    for sentence in facts.unusable:
        yield Finding("notify-unusable", sentence)


def _plan(plan: PlanHealth, now: float, grace: float) -> Iterator[Finding]:
    if plan.blocked:
        sentence = f"the plan {plan.id} is not run: {plan.blocked}"
        yield Finding("plan-blocked", sentence, plan.id)
    if plan.was_cut_off:
        sentence = f"the last run of the plan {plan.id} was cut off by the end of the runner"
        yield Finding("plan-cut-off", sentence, plan.id)
    if plan.last_outcome in _FAILURES:
        because = f" ({plan.failure})" if plan.failure else ""
        sentence = f"the last run of the plan {plan.id} {_FAILURES[plan.last_outcome]}{because}"
        yield Finding("plan-failed", sentence, plan.id)
    if plan.ahead:
        sentence = (
            f"the plan {plan.id} has {counted(len(plan.ahead), 'snapshot')} ahead of the clock: "
            f"nothing is forgotten until `restic forget {' '.join(plan.ahead)}`"
        )
        yield Finding("plan-ahead", sentence, plan.id)
    if plan.period is None or plan.first_seen is None:
        return
    since = plan.first_seen if plan.last_success is None else plan.last_success
    if now - since > _PERIODS * plan.period + grace:
        age = render_duration(now - since)
        saved = f"was never saved in {age}" if plan.last_success is None else f"was saved {age} ago"
        period = render_duration(plan.period)
        sentence = f"the plan {plan.id} {saved}, more than twice its period of {period}"
        yield Finding("plan-late", sentence, plan.id)
