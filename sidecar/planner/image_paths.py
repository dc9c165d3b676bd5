"""The paths that images ask to be backed up, and the mounts in which they lie.

An image may name a path in a mount of its container, and what runs there may put a symbolic
link in its place, by which a backup would leave the mount. Whether there is one is looked at
outside of this package; this is what has to be looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sidecar.docker.models import PROJECT, SERVICE, SWARM_SERVICE, Container, Inventory
from sidecar.labels.policy import Policy
from sidecar.labels.trust import paths_of_image
from sidecar.planner.host_path import Locator, is_under, normal_path

_NOTHING: Mapping[str, str] = {}


class ImagePath(NamedTuple):
    """A path in a container that only its image names, and the mount in which it lies.

    `root` is where the container has that mount, `host` its directory on the host.
    """

    container: str
    path: str
    root: str
    host: str


def image_paths(inventory: Inventory, policy: Policy) -> list[ImagePath]:
    """Return the paths that images name, for their containers and the other replicas of these."""
    if policy.trust_image_labels:
        return []
    naming = [
        (container, paths)
        for container in inventory.containers
        if (paths := _named_by_image(container, inventory, policy))
    ]
    if not naming:
        return []
    locator = Locator(policy, inventory.volumes)
    return [
        found
        for container, paths in naming
        for replica in _replicas(container, inventory.containers)
        for found in _located(replica, paths, locator)
    ]


def _named_by_image(container: Container, inventory: Inventory, policy: Policy) -> Sequence[str]:
    if container.image_id in inventory.missing_images:
        return paths_of_image(container.labels, None, policy.label_prefix)
    of_image = inventory.image_labels.get(container.image_id, _NOTHING)
    return paths_of_image(container.labels, of_image, policy.label_prefix) if of_image else ()


def _replicas(container: Container, containers: Sequence[Container]) -> Iterator[Container]:
    """Yield a container, and all of the same service: its paths count in their mounts too."""
    service = _service_of(container)
    for other in containers:
        if other is container or (any(service) and _service_of(other) == service):
            yield other


def _service_of(container: Container) -> tuple[str, ...]:
    labels = container.labels
    return tuple([labels.get(name, "") for name in (PROJECT, SERVICE, SWARM_SERVICE)])


def _located(container: Container, paths: Sequence[str], locator: Locator) -> Iterator[ImagePath]:
    roots = {normal_path(mount.destination): mount for mount in container.mounts}
    for path in paths:
        holding = [root for root in roots if is_under(path, root)]
        root = max(holding, key=len, default="")
        if root and path != root and (host := locator.locate(roots[root]).host):
            yield ImagePath(container.id, path, root, host)
