"""Paths as a container sees them → paths as they stand in a plan and its snapshots. Pure."""

import posixpath
from collections.abc import Iterable
from difflib import get_close_matches

from sidecar.backrest.reading import RunPlan
from sidecar.backrest.workloads import WorkloadRecord
from sidecar.docker.usage import is_within
from sidecar.lib.errors import UsageError

_NEAR = 0.7


def find_saved_path(path: str, plan: RunPlan, workload: WorkloadRecord | None) -> str:
    """Return where a plan has what a container has at a path.

    A path of the host, or of the plan, is taken too where the container has none of that name.
    Only what the plan holds is returned, whatever the record of the workload says. Raises
    UsageError, with the paths that there are.
    """
    if not path.startswith("/"):
        raise UsageError(f"{path!r} is no absolute path", "write it from the root: /...")
    wanted = posixpath.normpath(path).replace("//", "/", 1)
    mounts = () if workload is None else workload.mounts
    found = "" if workload is None else workload.seen(wanted)
    on_host = (
        _moved(wanted, mount.host, mount.seen)
        for mount in mounts
        if mount.host and mount.seen and is_within(wanted, mount.host)
    )
    for one in (found, wanted, *on_host):
        if one and _is_saved(one, plan):
            return one
    raise _not_saved(wanted, plan, workload)


def paths_inside(plan: RunPlan, workload: WorkloadRecord | None) -> tuple[tuple[str, str], ...]:
    """Return pairs of a path of a plan and of where its data is in the container.

    What is in no known mount keeps its path.
    """
    mounts = () if workload is None else workload.mounts
    saved = [
        (posixpath.normpath(one.seen), posixpath.normpath(one.path))
        for one in mounts
        if one.seen.startswith("/") and one.path.startswith("/")
    ]
    # The first of two mounts of the same folder counts.
    known = dict(sorted(saved, reverse=True))
    return (("/", "/"), *((seen, path) for seen, path in known.items() if _touches(seen, plan)))


def _moved(path: str, source: str, place: str) -> str:
    return posixpath.normpath(posixpath.join(place, posixpath.relpath(path, source)))


def _is_saved(path: str, plan: RunPlan) -> bool:
    return any(is_within(path, posixpath.normpath(one)) for one in plan.paths)


def _touches(path: str, plan: RunPlan) -> bool:
    """Return whether a plan holds a path, or something within it."""
    return _is_saved(path, plan) or any(is_within(one, path) for one in plan.paths)


def _not_saved(path: str, plan: RunPlan, workload: WorkloadRecord | None) -> UsageError:
    if workload is None:
        return UsageError(
            f"{path} is in none of the paths of {plan.id}",
            f"it has: {', '.join(plan.paths) or 'none'}; paths of containers are known where the "
            "sidecar has written .sidecar/workloads.json",
        )
    around = [one for one in workload.mounts if is_within(path, posixpath.normpath(one.path))]
    inner = max(around, key=lambda one: len(one.path), default=None)
    if inner is not None:
        why = f": {inner.why}" if inner.why else ""
        return UsageError(f"{path} of {workload.name} is not saved{why}", _known(path, workload))
    return UsageError(f"{path} is in no mount of {workload.name}", _known(path, workload))


def _known(path: str, workload: WorkloadRecord) -> str:
    saved = [one.path for one in workload.mounts if one.plan]
    near = _nearest(path, saved)
    asked = f"did you mean {near}? " if near else ""
    return f"{asked}saved are: {', '.join(saved) or 'none'}"


def _nearest(path: str, saved: Iterable[str]) -> str:
    """Return what was probably meant: a mount, and the rest of the path; "" if none is near."""
    parts = path.split("/")
    for mount in saved:
        depth = mount.count("/") + 1
        if get_close_matches("/".join(parts[:depth]), [mount], cutoff=_NEAR):
            return "/".join([mount, *parts[depth:]])
    return ""
