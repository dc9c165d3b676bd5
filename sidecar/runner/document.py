"""The documents that are executed now, and what follows from them, for all threads."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sidecar.backrest.reading import Config, Timing
from sidecar.runner.due import Job, JobKind, backup_job, timings
from sidecar.runner.hooks.check import HookProblem, check_hooks, find_blocker, name_plan, name_repo
from sidecar.runner.hooks.containers import containers_of
from sidecar.runner.union import Documents


@dataclass(frozen=True, slots=True)
class Executed:
    """Both documents as they are executed.

    Attributes:
        documents: what can be named, and what of it is executed.
        timings: when the jobs run that are executed.
        problems: the hooks that cannot be used, and why.
        touched: the containers that hooks are known to stop, by the names of their owners.
    """

    documents: Documents = field(default_factory=Documents)
    timings: Mapping[Job, Timing] = field(default_factory=dict)
    problems: tuple[HookProblem, ...] = ()
    touched: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        """All that can be named."""
        return self.documents.config

    @property
    def own(self) -> Config:
        """What of it this runner executes."""
        return self.documents.executed

    def blocker(self, job: Job) -> str:
        """Return why a job must not be run; empty if it may."""
        if refusal := self.documents.refusal(job):
            return refusal
        problem = find_blocker(self.problems, job)
        return "" if problem is None else str(problem)

    def containers(self, job: Job) -> frozenset[str]:
        """Return the containers that hooks around a job are known to stop."""
        is_of_plan = job.kind in {JobKind.BACKUP, JobKind.RESTORE}
        of_plan = self.touched.get(name_plan(job.subject)) if is_of_plan else None
        return (of_plan or frozenset()) | self.touched.get(name_repo(job.repo), frozenset())


def blocked_plans(executed: Executed) -> Mapping[str, str]:
    """Return why plans are not run, by their ids; no secret is in it."""
    # The commands of hooks may hold secrets: only the log says what is wrong with them.
    return {
        plan.id: "one of its hooks cannot be used, the log says why"
        for plan in executed.own.plans
        if executed.problems and executed.blocker(backup_job(plan))
    } | {
        plan.id: refusal
        for plan in executed.own.plans
        if (refusal := executed.documents.refused.get(plan.repo))
    }


class ExecutedDocument:
    """Holds the documents that are executed; whoever works with one looks at `now` once."""

    def __init__(self, documents: Documents | None = None) -> None:
        self._now = Executed() if documents is None else _executed(documents)

    @property
    def now(self) -> Executed:
        """The documents as they are executed now."""
        return self._now

    @property
    def config(self) -> Config:
        """All that can be named."""
        return self._now.config

    def take(self, documents: Documents) -> Executed:
        """Execute others from now on."""
        if documents is not self._now.documents:
            self._now = _executed(documents)
        return self._now


def _executed(documents: Documents) -> Executed:
    # What has waited for its turn is run although its plan is Backrest's by now.
    own = replace(documents.executed, plans=(*documents.executed.plans, *documents.leaving))
    owners = [(name_repo(repo.id), repo.hooks) for repo in own.repos]
    owners += [(name_plan(plan.id), plan.hooks) for plan in own.plans]
    found = ((owner, containers_of(hooks)) for owner, hooks in owners)
    touched = {owner: names for owner, names in found if names}
    return Executed(documents, timings(documents.executed), check_hooks(own), touched)
