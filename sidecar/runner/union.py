"""Put the runner's two documents together: what is executed, and what waits or is refused. Pure.

`config.json` is Backrest's, `runner.json` the runner's alone. Whatever stands in either can be
named; which of it is executed is decided by `--documents`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from sidecar.backrest.engine_name import EngineName, check_scheme, engine_of
from sidecar.backrest.reading import Config, Repo, RunPlan
from sidecar.lib.errors import UsageError
from sidecar.lib.text import counted
from sidecar.runner.due import Job, JobKind

AddressOf = Callable[[Repo], str]
"""Returns the address of a repository, in which `${NAME}` is expanded."""

_OF_PLANS = frozenset({JobKind.BACKUP, JobKind.RESTORE, JobKind.VERIFY})
_OF_BACKREST = (
    "it stands in config.json, which Backrest executes: this runner executes runner.json "
    "(--documents runner)"
)


class DocumentChoice(StrEnum):
    """Which documents a runner executes."""

    ALL = "all"
    """Both: nobody else executes `config.json`."""
    RUNNER = "runner"
    """`runner.json` alone: Backrest executes `config.json`."""


@dataclass(frozen=True, slots=True)
class DocumentFiles:
    """Where the two documents are, and which of them are executed."""

    config: Path
    runner: Path
    choice: DocumentChoice = DocumentChoice.ALL

    @property
    def locked_folders(self) -> tuple[Path, ...]:
        """The folders of the documents that are executed, also of one that is not there yet."""
        own = self.runner.parent
        return (own,) if self.choice is DocumentChoice.RUNNER else (self.config.parent, own)


class DocumentName(StrEnum):
    """One of the two documents."""

    __hash__ = str.__hash__

    CONFIG = "config.json"
    RUNNER = "runner.json"


class NoticeReason(StrEnum):
    """What people are told of the two documents together: a stable code."""

    MOVING = "plan.moving"
    NOT_RESTIC = "repo.not-restic"
    TWICE = "repo.twice"
    NO_ENGINE = "repo.no-engine"


@dataclass(frozen=True, slots=True)
class DocumentNotice:
    """Something about a plan or repository, by its id `about`, that people are told.

    `hint` is what to do about it; empty if it passes by itself.
    """

    reason: NoticeReason
    about: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.reason}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


@dataclass(frozen=True, slots=True)
class Documents:
    """Both documents as one.

    Attributes:
        config: all that can be named: the repositories and plans of both.
        executed: of these what this runner executes.
        refused: why nothing of a repository is run, by its id.
        backrest_plans, backrest_repos: the ids of those that Backrest executes.
        runner_plans, runner_repos: the ids of those that stand in `runner.json`.
        moving: the plans of `runner.json` that wait, for `config.json` has them too.
        notices: what people are told.
    """

    config: Config = field(default_factory=Config)
    executed: Config = field(default_factory=Config)
    refused: Mapping[str, str] = field(default_factory=dict)
    backrest_plans: frozenset[str] = frozenset()
    backrest_repos: frozenset[str] = frozenset()
    runner_plans: frozenset[str] = frozenset()
    runner_repos: frozenset[str] = frozenset()
    moving: tuple[RunPlan, ...] = ()
    notices: tuple[DocumentNotice, ...] = ()

    @property
    def leaving(self) -> tuple[RunPlan, ...]:
        """The plans that this runner has executed, and that Backrest executes from now on."""
        return self.moving if self.backrest_plans else ()

    @property
    def usable_repos(self) -> tuple[Repo, ...]:
        """The repositories that this runner executes something of."""
        return tuple(repo for repo in self.executed.repos if repo.id not in self.refused)

    def refusal(self, job: Job) -> str:
        """Return why a job is not run, by what the documents say; empty if it may be."""
        theirs = self.backrest_plans if job.kind in _OF_PLANS else self.backrest_repos
        if job.subject in theirs and self._leaving(job) is None:
            return _OF_BACKREST
        return self.refused.get(job.repo, "")

    def config_of(self, job: Job) -> Config | None:
        """Return what can be named as a job that has waited for its turn sees it.

        A plan that waits in `runner.json` is that of a job that was due before it was to wait.
        Return None if the plan has moved, and the job is due anew where it is now.
        """
        plan = self.config.plan(job.subject) if job.kind is JobKind.BACKUP else None
        if plan is None or (plan.repo == job.repo and job.subject not in self.backrest_plans):
            return self.config
        if (waiting := self._leaving(job)) is None:
            return None
        others = (waiting if one.id == waiting.id else one for one in self.config.plans)
        return replace(self.config, plans=tuple(others))

    def _leaving(self, job: Job) -> RunPlan | None:
        """Return the plan of a backup that was due before Backrest was to execute it."""
        if job.kind is not JobKind.BACKUP:
            return None
        return next((one for one in self.leaving if (one.id, one.repo) == job[1:]), None)

    def find_repo(self, repo: str) -> Repo:
        """Return a repository by its id; raises UsageError if there is none, or it is refused."""
        found = self.config.repo(repo)
        if found is None:
            names = ", ".join(sorted(one.id for one in self.config.repos))
            raise UsageError(f"there is no repository {repo!r}", f"there are: {names or 'none'}")
        if reason := self.refused.get(repo):
            raise UsageError(reason)
        return found

    def name_of_plan(self, plan: str) -> DocumentName:
        """Return in which document a plan stands that is executed, or that Backrest executes."""
        return DocumentName.RUNNER if plan in self.runner_plans else DocumentName.CONFIG


def only_config(config: Config) -> Documents:
    """Return a `config.json` that this runner executes, without a `runner.json` beside it."""
    return Documents(config, config)


def unite(
    config: Config | None,
    runner: Config | None,
    choice: DocumentChoice,
    address_of: AddressOf,
    engines: Collection[EngineName],
) -> Documents:
    """Put the two documents together; None: that one is not there. `engines` are those we have.

    A repository or a plan in both is that of `config.json`. The name of the instance is that of
    `config.json` too, unless there is none.
    """
    first, second = config or Config(), runner or Config()
    names, plans = {repo.id for repo in first.repos}, {plan.id for plan in first.plans}
    twice = [repo.id for repo in second.repos if repo.id in names]
    repos = tuple(repo for repo in second.repos if repo.id not in names)
    usable = tuple(plan for plan in second.plans if plan.repo not in names)
    own = tuple(plan for plan in usable if plan.id not in plans)
    moving = tuple(plan for plan in usable if plan.id in plans)
    instance = first.instance or second.instance
    whole = Config(instance, (*first.repos, *repos), (*first.plans, *own))
    is_whole = choice is DocumentChoice.ALL
    faults = (*_not_restic(first.repos, address_of), *_no_engine(repos, address_of, engines))
    return Documents(
        config=whole,
        executed=whole if is_whole else Config(instance, repos, own),
        refused={fault.about: str(fault) for fault in faults},
        backrest_plans=frozenset() if is_whole else frozenset(plans),
        backrest_repos=frozenset() if is_whole else frozenset(names),
        runner_plans=frozenset(plan.id for plan in own),
        runner_repos=frozenset(repo.id for repo in repos),
        moving=moving,
        notices=(*faults, *_twice(twice, second.plans), *_moving(moving, first)),
    )


def _not_restic(repos: Iterable[Repo], address_of: AddressOf) -> Iterator[DocumentNotice]:
    for repo in repos:
        address = address_of(repo)
        engine = engine_of(address)
        if (fault := check_scheme(address)) is not None:
            message = f"the address of repository {repo.id} of config.json {fault.message}"
            hint = f"{fault.hint}, in runner.json"
            yield DocumentNotice(NoticeReason.NOT_RESTIC, repo.id, message, hint)
        elif engine is not EngineName.RESTIC:
            yield DocumentNotice(
                NoticeReason.NOT_RESTIC,
                repo.id,
                f"the repository {repo.id} of config.json is for {engine.value}, and Backrest "
                "runs restic for each",
                "move it to runner.json",
            )


def _no_engine(
    repos: Iterable[Repo], address_of: AddressOf, engines: Collection[EngineName]
) -> Iterator[DocumentNotice]:
    for repo in repos:
        address = address_of(repo)
        engine = engine_of(address)
        if (fault := check_scheme(address)) is not None:
            message = f"the address of repository {repo.id} {fault.message}"
            yield DocumentNotice(NoticeReason.NO_ENGINE, repo.id, message, fault.hint)
        elif engine not in engines:
            message = f"the repository {repo.id} is for {engine.value}, which this runner lacks"
            known = ", ".join(sorted(one.value for one in engines))
            yield DocumentNotice(NoticeReason.NO_ENGINE, repo.id, message, f"it has {known}")


def _twice(repos: Iterable[str], plans: Iterable[RunPlan]) -> Iterator[DocumentNotice]:
    listed = tuple(plans)
    for repo in repos:
        count = sum(plan.repo == repo for plan in listed)
        left = f", nor is what goes to it run: {counted(count, 'plan')}" if count else ""
        yield DocumentNotice(
            NoticeReason.TWICE,
            repo,
            f"a repository {repo} stands in both documents: that of runner.json is not used{left}",
            "give one of them another id",
        )


def _moving(plans: Iterable[RunPlan], config: Config) -> Iterator[DocumentNotice]:
    places = {plan.id: plan.repo for plan in config.plans}
    for plan in plans:
        yield DocumentNotice(
            NoticeReason.MOVING,
            plan.id,
            f"the plan {plan.id} stands in both documents: that of config.json, to repository "
            f"{places[plan.id]}, is executed, that of runner.json, to {plan.repo}, waits",
        )
