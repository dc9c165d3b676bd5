"""What Backrest sees of the host: the mounts of its container, now or as they were last seen."""

from dataclasses import dataclass

from sidecar.docker.models import Container, Inventory, Mount
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import RunnerSeen

_SHORT_ID = 12


@dataclass(frozen=True, slots=True)
class BackrestView:
    """The mounts of the backrest container; None: every host path is taken as it is.

    `seen` is what to remember. `is_awaited`: the container was named and never seen, so
    it counts as one without mounts: plans keep their paths, and new ones wait.
    """

    mounts: tuple[Mount, ...] | None
    seen: RunnerSeen | None = None
    is_awaited: bool = False


HOST_VIEW = BackrestView(None)
"""Backrest sees what the host sees."""


def resolve_backrest_view(
    inventory: Inventory,
    settings: ReconcilerSettings,
    remembered: RunnerSeen | None,
    *,
    from_docker: bool,
) -> BackrestView:
    """Return the mounts of the backrest container by the inventory, else by what is remembered.

    An inventory that is not from Docker counts only if the operator named the container:
    any container in somebody's list may be called `backrest`.
    """
    name = settings.policy.runner_container
    if not (from_docker or settings.runner_named):
        return HOST_VIEW
    container = find_container(inventory, name)
    if container is not None:
        return BackrestView(container.mounts, RunnerSeen(name, container.mounts))
    if remembered is not None and remembered.name == name:
        return BackrestView(remembered.mounts, remembered)
    is_mapped = settings.policy.path_map or settings.policy.volume_prefix
    if settings.runner_named and not is_mapped:
        return BackrestView((), is_awaited=True)
    return HOST_VIEW


def find_container(inventory: Inventory, name: str) -> Container | None:
    """Return the container with this name, or whose id begins with it (12 digits or more)."""
    for container in inventory.containers:
        if container.name == name:
            return container
    if len(name) >= _SHORT_ID:
        return next((c for c in inventory.containers if c.id.startswith(name)), None)
    return None
