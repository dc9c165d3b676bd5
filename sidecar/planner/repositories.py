"""Which repository a plan goes to."""

from dataclasses import dataclass

from sidecar.backrest.document import DocumentView, PlanView
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Problem, problem_of
from sidecar.labels.spec import LabelSpec
from sidecar.lib.text import closest, quoted


@dataclass(frozen=True, slots=True)
class RepoChooser:
    """Chooses repositories for one pass: `assumed` is used when nobody names one.

    `overriding` are the repositories whose own forget policy decides what is kept.
    """

    view: DocumentView
    policy: Policy
    assumed: str
    overriding: frozenset[str]

    def resolve(self, spec: LabelSpec, existing: PlanView | None) -> tuple[str, list[Problem]]:
        """Return the repository id, empty with an error, and the problems (no workload yet)."""
        repo, problems = self._choose(spec, existing)
        if repo and (reason := self.view.repo_by_id[repo].not_restic):
            return "", [self._not_restic(repo, reason)]
        return repo, problems

    def _choose(self, spec: LabelSpec, existing: PlanView | None) -> tuple[str, list[Problem]]:
        known = self.view.repo_by_id
        if spec.repo is not None:
            return self._named(spec.repo, f"{self.policy.label_prefix}repo")
        if existing is not None and existing.repo in known:
            return existing.repo, []
        if self.policy.default_repo:
            return self._named(self.policy.default_repo, "")
        if not self.assumed:
            return "", [_unresolved()]
        several = len(known) > 1
        return self.assumed, [self._assumed()] if several else []

    def _named(self, name: str, label: str) -> tuple[str, list[Problem]]:
        if name in self.view.repo_by_id:
            return name, []
        known = ", ".join(self.view.repo_by_id)
        where = label or "--default-repo"
        hint = f"write one of: {known}" if known else "add a repository in Backrest first"
        if meant := closest(name, self.view.repo_by_id):
            hint = f"did you mean {meant}? Else {hint}"
        message = f"{where} names the repository {quoted(name)}, which is not in the document"
        return "", [problem_of("repo.missing", message, hint, label=label)]

    def _not_restic(self, repo: str, reason: str) -> Problem:
        label = f"{self.policy.label_prefix}repo"
        return problem_of(
            "repo.not-restic",
            f"the repository {quoted(repo)} cannot be used: {reason.partition(': ')[2]}",
            f"name another one by {label}, or move it to runner.json, which backrest-runner reads",
            label=label,
        )

    def _assumed(self) -> Problem:
        label = f"{self.policy.label_prefix}repo"
        return problem_of(
            "repo.assumed",
            f"nobody says which of several repositories: {self.assumed} is taken",
            f"set {label}, or pass --default-repo",
            label=label,
        )


def choose_repos(view: DocumentView, policy: Policy) -> RepoChooser:
    """Return the chooser: it assumes that of the first owned plan, of a foreign plan, or any."""
    owned = [plan.repo for plan in view.plans if plan.id.startswith(policy.plan_id_prefix)]
    foreign = [plan.repo for plan in view.plans if not plan.id.startswith(policy.plan_id_prefix)]
    candidates = (*owned, *foreign, *(repo.id for repo in view.repos))
    known = [name for name in candidates if name in view.repo_by_id]
    usable = [name for name in known if not view.repo_by_id[name].not_restic]
    assumed = next(iter(usable or known), "")
    overriding = frozenset(repo.id for repo in view.repos if repo.overrides_retention)
    return RepoChooser(view, policy, assumed, overriding)


def _unresolved() -> Problem:
    return problem_of(
        "repo.unresolved",
        "the document has no repository",
        "add one in Backrest, or start with `backrest-sidecar init`",
    )
