"""Where the inventory comes from: Docker, a saved list or Compose files, as the settings say."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.docker.inventory import DockerInventory, load_saved
from sidecar.docker.models import Inventory
from sidecar.docker.own_container import own_container_id
from sidecar.lib.errors import UsageError
from sidecar.reconciler.settings import ReconcilerSettings

if TYPE_CHECKING:
    from sidecar.docker.compose.load import ComposeReading

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observed:
    """What was observed, and the settings, which now know the sidecar's own container.

    `compose` is what else the Compose files say, None for other sources.
    """

    inventory: Inventory
    settings: ReconcilerSettings
    compose: "ComposeReading | None" = None


def observe(settings: ReconcilerSettings) -> tuple[Inventory, ReconcilerSettings]:
    """Observe once; return the inventory, and the settings with the sidecar's own container.

    Raises InventoryError: an inventory that cannot be read is never an empty one.
    """
    if (observed := read_files(settings)) is None:
        with DockerInventory(settings.source.docker_sock) as docker:
            observed = observe_docker(docker, settings)
    return observed.inventory, observed.settings


def read_files(settings: ReconcilerSettings) -> Observed | None:
    """Read the saved list or the Compose files; None where Docker is to be asked."""
    source = settings.source
    if source.inventory is not None:
        return _observed(load_saved(source.inventory), settings)
    if not source.compose:
        return None
    from sidecar.docker.compose.load import load_compose  # noqa: PLC0415 - brings YAML along

    reading = load_compose(source.compose)
    for note in reading.notes:
        _log.warning(note)
    return _observed(reading.inventory, settings, reading)


def observe_docker(docker: DockerInventory, settings: ReconcilerSettings) -> Observed:
    """Ask Docker, and save its answers where the settings say so."""
    observation = docker.observe(settings.policy.label_prefix, settings.policy.runner_container)
    if settings.source.save_inventory is not None:
        _save(settings.source.save_inventory, observation.raw.to_json())
    return _observed(observation.inventory, settings)


def _observed(
    inventory: Inventory, settings: ReconcilerSettings, compose: "ComposeReading | None" = None
) -> Observed:
    return Observed(inventory, with_own_container(settings, inventory), compose)


def with_own_container(settings: ReconcilerSettings, inventory: Inventory) -> ReconcilerSettings:
    """Return the settings with the id of the container that the sidecar runs in, if any."""
    known = (container.id for container in inventory.containers)
    policy = replace(settings.policy, own_container_id=own_container_id(known))
    return replace(settings, policy=policy)


def _save(path: Path, content: bytes) -> None:
    # Labels may hold secrets, so a new file is its owner's alone.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - opened with a mode of its own
            file.write(content)
    except OSError as error:
        raise UsageError(
            f"--save-inventory {path} cannot be written: {error.strerror}",
            "name a file in a folder that this user may write to",
        ) from None
