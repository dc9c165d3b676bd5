"""What the runner sees of the host: its container's mounts, now or as they were last seen."""

from dataclasses import dataclass

from sidecar.planner.workload import Container, Inventory, Mount
from sidecar.reconciler.settings import Settings
from sidecar.reconciler.state import RunnerSeen

_SHORT_ID = 12


@dataclass(frozen=True, slots=True)
class RunnerView:
    """The runner's mounts, None when every host path is taken as it is.

    `seen` is what to remember. `is_awaited`: the runner was named and never seen, so it
    counts as one that sees nothing: plans keep their paths, and new ones wait.
    """

    mounts: tuple[Mount, ...] | None
    seen: RunnerSeen | None = None
    is_awaited: bool = False


HOST_VIEW = RunnerView(None)
"""The runner sees what the host sees."""


def find_container(inventory: Inventory, name: str) -> Container | None:
    """Find a container by its name, or by the beginning of its id."""
    for container in inventory.containers:
        if container.name == name:
            return container
    if len(name) >= _SHORT_ID:
        return next((c for c in inventory.containers if c.id.startswith(name)), None)
    return None


def resolve_runner_view(
    inventory: Inventory, settings: Settings, remembered: RunnerSeen | None, *, from_engine: bool
) -> RunnerView:
    """Find the runner's mounts in the inventory, else in memory.

    A list that is not from an engine counts only if the operator named the runner.
    """
    name = settings.policy.runner_container
    if not (from_engine or settings.runner_named):
        return HOST_VIEW
    container = find_container(inventory, name)
    if container is not None:
        return RunnerView(container.mounts, RunnerSeen(name, container.mounts))
    if remembered is not None and remembered.name == name:
        return RunnerView(remembered.mounts, remembered)
    told = settings.policy.path_map or settings.policy.volume_prefix
    if settings.runner_named and not told:
        return RunnerView((), is_awaited=True)
    return HOST_VIEW
