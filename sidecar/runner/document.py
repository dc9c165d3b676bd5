"""The document that is executed now, and what follows from it: all threads look at one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.backrest.reading import Config, Timing
from sidecar.runner.due import Job, JobKind, timings
from sidecar.runner.hooks.check import HookProblem, check_hooks, find_blocker, name_plan, name_repo
from sidecar.runner.hooks.containers import containers_of


@dataclass(frozen=True, slots=True)
class Executed:
    """A document as it is executed.

    Attributes:
        config: the document, typed.
        timings: when its jobs run.
        problems: the hooks that cannot be used, and why.
        touched: the containers that hooks are known to stop, by the names of their owners.
    """

    config: Config = field(default_factory=Config)
    timings: Mapping[Job, Timing] = field(default_factory=dict)
    problems: tuple[HookProblem, ...] = ()
    touched: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def blocker(self, job: Job) -> str:
        """Return why a job must not be run; empty if it may."""
        problem = find_blocker(self.problems, job)
        return "" if problem is None else str(problem)

    def containers(self, job: Job) -> frozenset[str]:
        """Return the containers that hooks around a job are known to stop."""
        is_of_plan = job.kind in {JobKind.BACKUP, JobKind.RESTORE}
        of_plan = self.touched.get(name_plan(job.subject)) if is_of_plan else None
        return (of_plan or frozenset()) | self.touched.get(name_repo(job.repo), frozenset())


class ExecutedDocument:
    """Holds the document that is executed; whoever works with one looks at `now` once."""

    def __init__(self, config: Config | None = None) -> None:
        self._now = Executed() if config is None else _executed(config)

    @property
    def now(self) -> Executed:
        """The document as it is executed now."""
        return self._now

    @property
    def config(self) -> Config:
        """Its typed form."""
        return self._now.config

    def take(self, config: Config) -> Executed:
        """Execute another document from now on."""
        if config is not self._now.config:
            self._now = _executed(config)
        return self._now


def _executed(config: Config) -> Executed:
    owners = [(name_repo(repo.id), repo.hooks) for repo in config.repos]
    owners += [(name_plan(plan.id), plan.hooks) for plan in config.plans]
    found = ((owner, containers_of(hooks)) for owner, hooks in owners)
    touched = {owner: names for owner, names in found if names}
    return Executed(config, timings(config), check_hooks(config), touched)
