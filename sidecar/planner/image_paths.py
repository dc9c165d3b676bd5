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
    # The paths of a replica count in the mounts of all others of its service too.
    replicas: dict[tuple[str, ...], list[Container]] = {}
    for container in inventory.containers:
        replicas.setdefault(_service_of(container), []).append(container)
    wanted: dict[tuple[str, ...], dict[str, None]] = {}
    for container, paths in naming:
        wanted.setdefault(_service_of(container), {}).update(dict.fromkeys(paths))
    return [
        found
        for service, paths in wanted.items()
        for replica in replicas[service]
        for found in _located(replica, tuple(paths), locator)
    ]


def _named_by_image(container: Container, inventory: Inventory, policy: Policy) -> Sequence[str]:
    if container.image_id in inventory.missing_images:
        return paths_of_image(container.labels, None, policy.label_prefix)
    of_image = inventory.image_labels.get(container.image_id, _NOTHING)
    return paths_of_image(container.labels, of_image, policy.label_prefix) if of_image else ()


def _service_of(container: Container) -> tuple[str, ...]:
    """Return what the replicas of a service have in common; of no service each is its own."""
    names = tuple([container.labels.get(name, "") for name in (PROJECT, SERVICE, SWARM_SERVICE)])
    return names if any(names) else (container.id,)


def _located(container: Container, paths: Sequence[str], locator: Locator) -> Iterator[ImagePath]:
    roots = {normal_path(mount.destination): mount for mount in container.mounts}
    for path in paths:
        holding = [root for root in roots if is_under(path, root)]
        root = max(holding, key=len, default="")
        if root and path != root and (host := locator.locate(roots[root]).host):
            yield ImagePath(container.id, path, root, host)
