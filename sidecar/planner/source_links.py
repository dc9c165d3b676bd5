"""Problems of paths that were seen to be symbolic links: a backup saves the link alone."""

from collections.abc import Iterable, Iterator, Mapping

from sidecar.labels.problem import Problem, problem_of
from sidecar.planner.host_path import is_under
from sidecar.planner.plan import RenderedWorkload
from sidecar.planner.workload import located


def source_link_problems(
    rendered: Iterable[RenderedWorkload], linked: Mapping[str, str], prefix: str
) -> Iterator[Problem]:
    """Yield a problem for each path of a plan in `linked`: host path → where it leads to.

    A link into another path of the plan is saved as what it is.
    """
    for item in rendered:
        entries = () if item.plan is None else item.paths.entries
        saved = [entry.host for entry in entries if entry.host not in linked]
        for entry in entries:
            target = linked.get(entry.host, "")
            if target and not any(is_under(target, other) for other in saved):
                problem = problem_of(
                    "path.link",
                    f"{entry.host} ({entry.container}) is a symbolic link to {target}: "
                    "the link would be saved, not what it leads to",
                    f"mount {target} itself, or name it in {prefix}paths.include, as in "
                    f"host:{target} if the runner sees it there",
                )
                yield located(problem, item.workload)
