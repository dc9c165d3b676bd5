"""Container path → host path → runner path: what a workload's plan backs up."""

from collections.abc import Iterable
from typing import NamedTuple

from sidecar.labels.problem import Problem
from sidecar.labels.spec import LabelSpec
from sidecar.planner.excludes import map_patterns
from sidecar.planner.host_path import Locator, is_under, move, normal_path
from sidecar.planner.paths import PathEntry, PathSearch, Skipped
from sidecar.planner.workload import Workload

__all__ = ["PathEntry", "PathResult", "Skipped", "covers", "resolve_paths"]


class PathResult(NamedTuple):
    """What the path labels and mounts of one workload come to.

    `entries` are all found paths before nested ones are dropped; `iexcludes` is
    None where no label speaks.
    """

    entries: tuple[PathEntry, ...]
    excludes: tuple[str, ...]
    iexcludes: tuple[str, ...] | None
    skipped: tuple[Skipped, ...]
    problems: tuple[Problem, ...]


def resolve_paths(workload: Workload, spec: LabelSpec, locator: Locator, prefix: str) -> PathResult:
    """Resolve the mounts and path labels of one workload; problems carry no workload yet."""
    search = PathSearch(workload, locator, prefix)
    if spec.include is None:
        search.take_default()
    else:
        search.take_included(spec.include)
    excludes = map_patterns(search, spec.exclude, f"{prefix}paths.exclude")
    iexcludes = None
    if spec.iexclude is not None:
        iexcludes = map_patterns(search, spec.iexclude, f"{prefix}paths.iexclude")
    entries = tuple([search.entries[runner] for runner in sorted(search.entries)])
    return PathResult(entries, excludes, iexcludes, tuple(search.skipped), tuple(search.problems))


def covers(workload: Workload, locator: Locator, paths: Iterable[str], target: str) -> bool | None:
    """Whether `paths` (the runner's) hold the container path `target`; None: in no mount."""
    search = PathSearch(workload, locator, "")
    located = [(path, place) for path, place in search.located(target, "") if place.host]
    if not located:
        return None
    hosts = (move(path, normal_path(p.mount.destination), p.host) for path, p in located)
    seen = [runner for host in hosts if (runner := locator.runner_path(host)) is not None]
    return any(is_under(runner, path) for runner in seen for path in paths)
