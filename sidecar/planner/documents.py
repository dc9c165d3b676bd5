"""Which of the two documents each plan belongs to, and the plans that move between them.

A plan belongs to the document that holds its repository: config.json, or the runner's document.
A changed label moves it: it is added to the other document first, and removed here once it is
certain that nobody runs it by this one any more. As long as it stands in both, config.json's
counts. So whenever we die, it is in one of them, and at most one is run.
"""

from dataclasses import dataclass, replace

from sidecar.backrest.document import Document, DocumentView
from sidecar.backrest.jsontext import Object
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Problem, problem_of
from sidecar.lib.errors import DocumentError
from sidecar.planner.lifecycle import is_disabled
from sidecar.planner.plan import RenderedWorkload
from sidecar.planner.plans import Rendered
from sidecar.planner.workload import located

_NOTHING: frozenset[str] = frozenset()


class RunnerDocumentError(DocumentError):
    """Something is wrong with the runner's document."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the owned plans of two documents belong.

    Attributes:
        of_runner: plans of the runner's document; all others are of config.json.
        leaving: those of them that stand in config.json too, so that Backrest has to let go.
        arriving: those of config.json that stand in the runner's document too.
        awaited: leaving and arriving ones whose move ends once Backrest has let go of them.
        ended: those of them whose move ends with this pass.
        moving: plans that stand in both documents after this pass, where a workload has them.
    """

    of_runner: frozenset[str] = _NOTHING
    leaving: frozenset[str] = _NOTHING
    arriving: frozenset[str] = _NOTHING
    awaited: frozenset[str] = _NOTHING
    ended: frozenset[str] = _NOTHING
    moving: frozenset[str] = _NOTHING

    @property
    def kept(self) -> frozenset[str]:
        """The plans that stay in config.json for now although they belong to the runner's."""
        return self.leaving - self.ended


NO_RUNNER = Placement()
"""Everything is config.json's."""


def place_plans(
    config: Document,
    runner: Document,
    rendered: Rendered,
    policy: Policy,
    settled: frozenset[str],
    *,
    served: bool = False,
) -> Placement:
    """Return where each owned plan belongs.

    `settled` are plans that Backrest has loaded as config.json has them, and does not run.
    `served`: config.json is as Backrest's API served it. What Backrest saves it has loaded, and
    nothing is sent while it runs anything: then the move of a leaving plan ends with the save.
    """
    prefix, repos = policy.plan_id_prefix, runner.view.repo_by_id
    here, there = _owned(config, prefix), _owned(runner, prefix)
    wanted = {plan.id: plan.repo in repos for plan in rendered.plans}
    both = here.keys() & there.keys()
    of_runner = {plan_id for plan_id in there if plan_id not in here}
    # Of a plan that labels do not decide now, a move that Backrest was told of goes on.
    of_runner |= {
        plan_id
        for plan_id in both & rendered.claimed
        if is_disabled(here[plan_id]) and not is_disabled(there[plan_id])
    }
    of_runner = {plan_id for plan_id in of_runner if wanted.get(plan_id, True)}
    of_runner |= {plan_id for plan_id, is_runners in wanted.items() if is_runners}
    leaving = both & of_runner
    arriving = {plan_id for plan_id in both if not wanted.get(plan_id, True)}
    awaited = {plan_id for plan_id in leaving if is_disabled(here[plan_id])} | arriving
    ended = (awaited & settled) | (leaving if served else set())
    new = {p for p in here if p in of_runner} | {p for p in there if not wanted.get(p, True)}
    moving = ((both | new) & rendered.claimed) - ended
    found = (of_runner, leaving, arriving, awaited, ended, moving)
    return Placement(*map(frozenset, found))


def _owned(document: Document, prefix: str) -> dict[str, Object]:
    return {key: plan for key, plan in document.plans.items() if key.startswith(prefix)}


def check_repositories(config: Document, runner: Document) -> None:
    """Raise RunnerDocumentError where both documents have a repository of the same id."""
    known = config.view.repo_by_id
    for repo_id in runner.view.repo_by_id:
        if repo_id in known:
            raise RunnerDocumentError(
                f"the repository {repo_id!r} stands in config.json too",
                "give it another id in one of them",
            )


def limited(rendered: Rendered, of_runner: frozenset[str], *, is_runners: bool) -> Rendered:
    """Return the same with the plans of one document only; all workloads keep their ids."""
    workloads = [
        item if item.plan is None or (item.plan_id in of_runner) is is_runners else _unplanned(item)
        for item in rendered.workloads
    ]
    return replace(rendered, workloads=tuple(workloads))


def _unplanned(item: RenderedWorkload) -> RenderedWorkload:
    return item._replace(plan=None)


def with_moving(rendered: Rendered, placement: Placement, view: DocumentView) -> Rendered:
    """Return the same with a problem for each workload whose plan is on its way.

    `view` is the view of both documents.
    """
    if not placement.moving:
        return rendered
    workloads = [
        item._replace(problems=(*item.problems, _moving(item, placement, view)))
        if item.plan_id in placement.moving
        else item
        for item in rendered.workloads
    ]
    return replace(rendered, workloads=tuple(workloads))


def _moving(item: RenderedWorkload, placement: Placement, view: DocumentView) -> Problem:
    """Return the problem of a plan that stands in both documents for now."""
    where = ("the runner's document", "config.json")
    here, there = where if item.plan_id not in placement.of_runner else where[::-1]
    repo = f" to {item.plan.repo}" if item.plan is not None else ""
    message = f"the plan {item.plan_id} moves from {here} to {there}{repo}"
    if item.plan_id in placement.of_runner:
        message += f": until Backrest has let go of it, {view.plan_by_id[item.plan_id].repo} counts"
    else:
        message += ": it is run again once Backrest has loaded it"
    hint = "wait, or without `--apply` restart Backrest"
    return located(problem_of("plan.moving", message, hint), item.workload)
