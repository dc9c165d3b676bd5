"""Container paths → host paths, by what is mounted."""

from collections.abc import Iterable

from sidecar.planner.host_path import is_under, move, normal_path
from sidecar.planner.workload import Mount


def find_mount(mounts: Iterable[Mount], path: str) -> Mount | None:
    """Find the mount that a container path lies in: the deepest one."""
    wanted = normal_path(path)
    holding = [mount for mount in mounts if is_under(wanted, normal_path(mount.destination))]
    return max(holding, key=lambda mount: len(normal_path(mount.destination)), default=None)


def host_path(mounts: Iterable[Mount], path: str) -> str | None:
    """Give the host's path of a container path; None for what is no directory of the host."""
    mount = find_mount(mounts, path)
    if mount is None or not mount.source:
        return None
    return move(normal_path(path), normal_path(mount.destination), normal_path(mount.source))
