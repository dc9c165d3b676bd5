"""Judge whether the daemon and the backups are well: facts in, findings out. Pure.

The sentences name plans, repositories, paths and containers; no output of a program reaches
them, for it may hold secrets.
"""

from collections.abc import Iterator

from sidecar.backrest.protection import is_late
from sidecar.lib.duration import render_duration
from sidecar.lib.text import counted
from sidecar.runner.due import JobKind
from sidecar.runner.journal import RunOutcome
from sidecar.runner.latest import render_deletion
from sidecar.runner.status import PlanState, RunnerStatus
from sidecar.runner.union import NoticeReason
from sidecar.service.health import Finding, Health, HealthAspect, judge_process

MOST_USED = 0.95
"""How full a disk may be, as df counts."""
FAILURES = {RunOutcome.FAILED: "failed", RunOutcome.INTERRUPTED: "was interrupted"}
"""The ends of a backup that is to be told, as the end of a sentence."""
# A backup that a hook or a person has cancelled was not wanted; a check has found nothing then.
_CUT_OFF = {**FAILURES, RunOutcome.CANCELLED: "was cancelled"}
UPKEEP = {
    JobKind.CHECK: ("check", "repository"),
    JobKind.PRUNE: ("prune", "repository"),
    JobKind.FORGET: ("retention", "repository"),
    JobKind.VERIFY: ("verification", "plan"),
}
"""Work besides backups as words of a sentence: what it is, and for what."""


def judge(status: RunnerStatus) -> Health:
    """Return what is wrong with the process and with the backups."""
    findings = [*_process(status)]
    for plan in status.plans:
        findings += _plan(plan, status)
    return Health((*findings, *_other(status)))


def _process(status: RunnerStatus) -> Iterator[Finding]:
    yield from judge_process(status.beat_age, status.interval, is_stopping=status.is_stopping)
    both = (HealthAspect.READY, HealthAspect.HEALTHY)
    documents = status.loaded.documents
    if documents is None:
        sentence = "there is no document that could be executed"
        yield Finding("document-missing", sentence, breaks=both)
        return
    for trouble in status.loaded.troubles:
        name = trouble.name.value
        rest = "the last good one is executed" if trouble.has_good else "nothing of it is executed"
        sentence = f"the document {name} is broken: {rest}"
        yield Finding("document-broken", sentence, name, breaks=both)
    for notice in documents.notices:
        if notice.reason is not NoticeReason.MOVING:
            yield Finding("repo-refused", notice.message, notice.about)


def _other(status: RunnerStatus) -> Iterator[Finding]:
    for job, one in status.upkeep.items():
        if one.past.last_outcome in _CUT_OFF:
            work, kind = UPKEEP[job.kind]
            end = with_class(_CUT_OFF[one.past.last_outcome], one.failure)
            sentence = f"the last {work} of the {kind} {job.subject} {end}"
            yield Finding(f"{job.kind.value}-failed", sentence, job.subject)
    for path, used in sorted(status.disks.items()):
        if used > MOST_USED:
            yield Finding("disk-full", f"the disk of {path} is {used:.0%} full", path)
    for repo, probed in sorted(status.probes.items()):
        if probed.failure is not None:
            sentence = with_class(f"the repository {repo} cannot be reached", probed.failure.value)
            yield Finding("repo-unreachable", sentence, repo)
    for sentence in status.stopped:
        yield Finding("container-stopped", f"the container {sentence}")
    for sentence in status.unusable:
        yield Finding("notify-unusable", sentence)


def _plan(state: PlanState, status: RunnerStatus) -> Iterator[Finding]:
    plan, past = state.plan.id, state.past
    outcome = None if past is None else past.last_outcome
    if state.blocked:
        yield Finding("plan-blocked", f"the plan {plan} is not run: {state.blocked}", plan)
    if state.was_cut_off:
        sentence = f"the last run of the plan {plan} was cut off by the end of the runner"
        yield Finding("plan-cut-off", sentence, plan)
    if outcome in FAILURES:
        end = with_class(FAILURES[outcome], state.failure)
        yield Finding("plan-failed", f"the last run of the plan {plan} {end}", plan)
    if state.ahead:
        sentence = (
            f"the plan {plan} has {counted(len(state.ahead), 'snapshot')} ahead of the clock: "
            f"nothing is forgotten until `{render_deletion(state.ahead)}`"
        )
        yield Finding("plan-ahead", sentence, plan)
    if state.period is None or past is None:
        return
    # One that was elsewhere for a while was saved there.
    since = max(past.first_seen, past.last_success or 0.0)
    if is_late(since, state.period, status.grace, status.now):
        age = render_duration(status.now - since)
        saved = f"was never saved in {age}" if past.last_success is None else f"was saved {age} ago"
        period = render_duration(state.period)
        sentence = f"the plan {plan} {saved}, more than twice its period of {period}"
        yield Finding("plan-late", sentence, plan)


def with_class(words: str, failure: str) -> str:
    """Return how something ended, with the class of its failure if there is one."""
    return f"{words} ({failure})" if failure else words
