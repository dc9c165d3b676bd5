"""Answer whether everything is backed up, of what is known of workloads, plans and runs. Pure.

Both programs ask it, each with what it can read: so they cannot differ. What nobody can know is
never taken for good.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from sidecar.backrest.workloads import ProblemRecord, WorkloadRecord

_PERIODS = 2
_BELIEVED_AHEAD = 86_400.0
_ERROR = "error"
_RUN = "`backup` runs it now"
_VERIFY = "`backrest-runner verify` does it again, and shows what differs"
_SEE_RUNS = "see how its last runs ended; `backup` runs it now"


def is_late(since: float, period: float, grace: float, now: float) -> bool:
    """Return whether what was saved at `since` is older than its schedule of `period` allows.

    All in seconds. A run may take long and begin when another has ended, so it may be as old as
    two periods, and by `grace` more.
    """
    return now - since > _PERIODS * period + grace


def is_believed(at: float, now: float) -> bool:
    """Return whether something may have happened at a time, both in unix seconds.

    Clocks differ, but what is more than a day ahead was noted while a clock was wrong.
    """
    return at <= now + _BELIEVED_AHEAD


class ProtectionState(StrEnum):
    """What is the case with a service, in a word or two: the first that applies."""

    NO_PLAN = "no plan"
    """Nothing of it is saved, and no label says that this is meant."""
    BLOCKED = "blocked"
    """A problem with its labels, its repository or its hooks keeps its plan from being run."""
    NOT_SCHEDULED = "not scheduled"
    """Its plan never runs by itself."""
    UNKNOWN = "unknown"
    """Nobody can tell how its plan runs, or what its snapshot holds."""
    NEVER_SAVED = "never saved"
    LATE = "late"
    """Its last success is older than its schedule allows."""
    EMPTY = "empty"
    """Its last snapshot holds no file."""
    DOUBTFUL = "doubtful"
    """Its last verification failed: what was saved may not come back."""
    PROTECTED = "protected"
    IDLE = "idle"
    """A plan without a workload that never runs: nobody expects anything of it."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is missing."""
        return self in {ProtectionState.PROTECTED, ProtectionState.IDLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRuns:
    """What is known of the runs of a plan.

    Attributes:
        last_success: when the last run that saved what it should ended, in unix seconds; None: it
            never did.
        failure: how the last run failed, in a word or two; empty if it did not.
        files: how many files the last good run has saved; None: nobody has counted.
        size: their bytes; None likewise.
        is_running: whether one runs now.
    """

    last_success: float | None = None
    failure: str = ""
    files: int | None = None
    size: int | None = None
    is_running: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFacts:
    """A plan that stands in a document, and what is known of it; times in unix seconds.

    Attributes:
        plan, repository, document: its id, that of its repository, the name of its document.
        period: the longest pause of its schedule, in seconds; None: it never runs by itself.
        runs: None: nothing is known of them; then `unknown` is why, and `hint` what to do.
        next_run: None: never, or not known.
        verified: when it was last verified; None: never, or not known.
        doubt: how its last verification failed, in a word or two; empty if it did not.
        blocked: why it is not run at all; empty if it is.
    """

    plan: str
    repository: str = ""
    document: str = ""
    period: float | None = None
    runs: KnownRuns | None = None
    unknown: str = ""
    hint: str = ""
    next_run: float | None = None
    verified: float | None = None
    doubt: str = ""
    blocked: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """The state of a service; `why` is what is wrong as a part of a sentence, `hint` the remedy."""

    state: ProtectionState
    why: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """One row: a workload, or a plan of which no workload is known.

    `name` is the workload's, else the plan's id. `facts` is None where no plan stands.
    """

    name: str
    judged: Judged
    facts: PlanFacts | None = None
    is_plan: bool = False

    @property
    def last_success(self) -> float | None:
        """When it was last saved, in unix seconds; None: never, or not known."""
        runs = None if self.facts is None else self.facts.runs
        return None if runs is None else runs.last_success

    @property
    def failure(self) -> str:
        """How its last run failed; empty if it did not, or nothing is known."""
        runs = None if self.facts is None else self.facts.runs
        return "" if runs is None else runs.failure


@dataclass(frozen=True, slots=True)
class UnsavedMount:
    """A data mount that no plan holds: whose it is, where it is there, and why."""

    service: str
    path: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Protection:
    """The answer at a moment, in unix seconds.

    `unsaved` is None where nobody tells which mounts there are; then `unlisted` is why.
    """

    services: tuple[Service, ...]
    unsaved: tuple[UnsavedMount, ...] | None
    now: float
    unlisted: str = ""

    @property
    def counted(self) -> tuple[Service, ...]:
        """The services of which something is expected."""
        return tuple(one for one in self.services if one.judged.state is not ProtectionState.IDLE)

    @property
    def protected(self) -> int:
        """How many of them are protected."""
        return sum(one.judged.state is ProtectionState.PROTECTED for one in self.services)

    @property
    def newest(self) -> float | None:
        """When anything was last saved, in unix seconds; None: never, or not known."""
        found = (one.last_success for one in self.services)
        return max(
            (at for at in found if at is not None and is_believed(at, self.now)), default=None
        )

    @property
    def is_known(self) -> bool:
        """Whether nothing that decides the answer is unknown."""
        states = {one.judged.state for one in self.services}
        return self.unsaved is not None and ProtectionState.UNKNOWN not in states

    @property
    def is_everything(self) -> bool:
        """Whether all is backed up that should be, and the last run of none has failed."""
        return (
            self.unsaved == ()
            and bool(self.services)
            and all(one.judged.state.is_good and not one.failure for one in self.services)
        )


def assess(
    workloads: Iterable[WorkloadRecord] | None,
    plans: Mapping[str, PlanFacts],
    grace: float,
    now: float,
    unlisted: str = "",
) -> Protection:
    """Judge each workload, and each plan of which none is known; sorted by name.

    `workloads` is None where nobody tells them, and `unlisted` then says why. `plans` has the
    plans of all documents by their ids. `grace` and `now` in seconds, see `is_late`.
    """
    listed = tuple(workloads or ())
    known = {one.plan for one in listed if one.plan and not one.is_gone}
    services = [_service(one, plans, grace, now) for one in listed if _is_asked_for(one)]
    services += [
        Service(plan, _judge_plan(facts, grace, now, is_asked_for=False), facts, is_plan=True)
        for plan, facts in plans.items()
        if plan not in known
    ]
    unsaved = tuple(
        UnsavedMount(one.name, mount.path, mount.why)
        for one in sorted(listed, key=lambda one: one.name)
        for mount in one.unsaved
    )
    ordered = tuple(sorted(services, key=lambda one: (one.is_plan, one.name)))
    return Protection(ordered, None if workloads is None else unsaved, now, unlisted)


def _is_asked_for(workload: WorkloadRecord) -> bool:
    """Return whether a workload is a row: one without a plan is, unless that is meant so."""
    if workload.is_gone:
        return False
    return bool(workload.plan or workload.unsaved or any(_blocking(workload)))


def _service(
    workload: WorkloadRecord, plans: Mapping[str, PlanFacts], grace: float, now: float
) -> Service:
    facts = plans.get(workload.plan)
    return Service(workload.name, _judge(workload, facts, grace, now), facts)


def _judge(workload: WorkloadRecord, facts: PlanFacts | None, grace: float, now: float) -> Judged:
    if problem := next(_blocking(workload), None):
        return Judged(ProtectionState.BLOCKED, f"{problem.reason}: {problem.message}", problem.hint)
    if facts is not None:
        return _judge_plan(facts, grace, now, is_asked_for=True)
    if workload.plan:
        return Judged(ProtectionState.NO_PLAN, "its plan is not written yet")
    return Judged(ProtectionState.NO_PLAN, "no plan saves it")


def _blocking(workload: WorkloadRecord) -> Iterator[ProblemRecord]:
    return (one for one in workload.problems if one.severity == _ERROR)


def _judge_plan(facts: PlanFacts, grace: float, now: float, *, is_asked_for: bool) -> Judged:
    if facts.period is None and not is_asked_for:
        return Judged(ProtectionState.IDLE)
    if facts.blocked:
        return Judged(ProtectionState.BLOCKED, facts.blocked)
    if facts.period is None:
        return Judged(
            ProtectionState.NOT_SCHEDULED, "its plan never runs by itself", "give it a schedule"
        )
    if facts.runs is None:
        return Judged(ProtectionState.UNKNOWN, facts.unknown, facts.hint)
    judged = _judge_runs(facts.runs, facts.period, grace, now)
    if facts.doubt and judged.state is ProtectionState.PROTECTED:
        why = f"its last verification {facts.doubt}, so what was saved may not come back"
        return Judged(ProtectionState.DOUBTFUL, why, _VERIFY)
    return judged


def _judge_runs(runs: KnownRuns, period: float, grace: float, now: float) -> Judged:
    failed = f", and its last run {runs.failure}" if runs.failure else ""
    if runs.last_success is None:
        hint = _SEE_RUNS if failed else _RUN
        return Judged(ProtectionState.NEVER_SAVED, f"no run has saved it yet{failed}", hint)
    if not is_believed(runs.last_success, now):
        why = f"its last success is ahead of the clock{failed}"
        return Judged(ProtectionState.UNKNOWN, why, _RUN)
    if is_late(runs.last_success, period, grace, now):
        why = f"its last success is older than twice its period{failed}"
        return Judged(ProtectionState.LATE, why, _SEE_RUNS)
    if runs.files is None:
        return Judged(
            ProtectionState.UNKNOWN, "nothing tells whether its snapshot holds a file", _RUN
        )
    if runs.files == 0:
        return Judged(
            ProtectionState.EMPTY, "its last snapshot holds no file", "see what is at its paths"
        )
    return Judged(ProtectionState.PROTECTED)


def merged_runs(first: KnownRuns | None, second: KnownRuns | None) -> KnownRuns | None:
    """Return what two programs that may both have run a plan know of it together.

    What the later success tells counts, and that one runs it now.
    """
    if first is None or second is None:
        return first or second
    newer = max(first, second, key=lambda one: one.last_success or 0.0)
    return replace(newer, is_running=first.is_running or second.is_running)
