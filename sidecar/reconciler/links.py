"""Look for symbolic links in paths of plans, where the host can be seen.

On the way to a path that an image names none may lie at all. Of the others the path itself is
looked at, for a backup would save the link alone. The host's files are seen by a process on the
host itself, and in a container that has them mounted. Elsewhere nothing is looked at, and no path
is refused.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sidecar.docker.endpoint import UNIX, parse_address
from sidecar.docker.models import Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.planner.host_path import Locator, normal_path
from sidecar.planner.image_paths import ImagePath, image_paths
from sidecar.planner.plans import Rendered

# To look into a folder, not to read it.
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_MARKS_OF_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def with_links(inventory: Inventory, policy: Policy, docker_sock: str | None) -> Inventory:
    """Add the symbolic links that lie on the way to paths that images name.

    `policy` knows our own container, if we are in one. `docker_sock` is the address of Docker
    as in `parse_address`: beside one that is reached by the network we see another host.
    """
    paths = image_paths(inventory, policy)
    view = _host_view(inventory, policy, docker_sock) if paths else None
    if view is None:
        return inventory
    links: dict[str, tuple[str, ...]] = {}
    for path in paths:
        if (local := view(path.host)) is not None and (link := _first_link(path, local)):
            links[path.container] = (*links.get(path.container, ()), link)
    return replace(inventory, links=links)


def with_source_links(
    inventory: Inventory,
    rendered: Rendered,
    policy: Policy,
    docker_sock: str | None,
    backrest_mounts: tuple[Mount, ...] | None,
) -> Inventory:
    """Add the paths of plans that are symbolic links, as the runner sees them too.

    What the runner has mounted by itself is a folder there, whatever the host has. Of paths
    that are named as the runner sees them (`host:`) nothing is known. See `with_links`.
    """
    mounted = {normal_path(mount.destination) for mount in backrest_mounts or ()}
    hosts = {
        entry.host
        for item in rendered.workloads
        for entry in item.paths.entries
        if entry.runner not in mounted and not entry.container.startswith("host:")
    }
    view = _host_view(inventory, policy, docker_sock) if hosts else None
    if view is None:
        return inventory
    linked = {host: target for host in hosts if (target := _target_of(host, view(host)))}
    return replace(inventory, linked=linked) if linked else inventory


def _target_of(host: str, local: str | None) -> str:
    """Return where a link of the host leads to; empty if it is none, or cannot be seen."""
    try:
        target = os.readlink(local) if local else ""  # noqa: PTH115 - of any characters
    except (OSError, ValueError):
        return ""
    return normal_path(os.path.join(os.path.dirname(host), target)) if target else ""  # noqa: PTH118, PTH120


def _host_view(
    inventory: Inventory, policy: Policy, docker_sock: str | None
) -> Callable[[str], str | None] | None:
    """Return what gives our path of one of the host, None where we see none of them."""
    own = next((c for c in inventory.containers if c.id == policy.own_container_id), None)
    if own is not None:
        # The maps of the policy say what Backrest sees, not what we do.
        plain = replace(policy, path_map=(), volume_prefix="")
        return Locator(plain, inventory.volumes, own.mounts).runner_path
    is_inside = policy.own_container_id or any(map(os.path.lexists, _MARKS_OF_CONTAINERS))
    is_near = parse_address(docker_sock).startswith(UNIX)
    return None if is_inside or not is_near else str


def _first_link(path: ImagePath, local: str) -> str:
    """Return the first link below the mount, as a container path; empty if there is none.

    `local` is where we see the mount. What cannot be looked at counts as no link.
    """
    inside = path.path.removeprefix(path.root).strip("/").split("/")
    try:
        folder = os.open(local, _FOLDER)
    except (OSError, ValueError):
        return ""
    # Folder by folder, so that a deep path costs time in proportion to its length.
    for depth, part in enumerate(inside, 1):
        try:
            if stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
                return f"{path.root.rstrip('/')}/{'/'.join(inside[:depth])}"
            deeper = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        except (OSError, ValueError):
            return ""
        finally:
            os.close(folder)
        folder = deeper
    os.close(folder)
    return ""
