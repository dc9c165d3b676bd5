"""What the core may know of a document: its plans and repositories, in order."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan that stands in the document."""

    id: str
    repo: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RepoView:
    """A repository; `overrides_retention` when its own forget policy is active."""

    id: str
    overrides_retention: bool = False


@dataclass(frozen=True, slots=True)
class DocumentView:
    """The plans and repositories of a document, in its order; the first of an id counts."""

    plans: tuple[PlanView, ...] = ()
    repos: tuple[RepoView, ...] = ()
    plan_by_id: dict[str, PlanView] = field(init=False, compare=False, repr=False)
    repo_by_id: dict[str, RepoView] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan_by_id", {plan.id: plan for plan in reversed(self.plans)})
        object.__setattr__(self, "repo_by_id", {repo.id: repo for repo in reversed(self.repos)})
