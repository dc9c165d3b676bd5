"""Look at the world the way the settings ask: engine, saved list or Compose files.

One pass by hand: observe what the settings say, follow the plans, write or preview.
"""

import logging
import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sidecar.docker.compose.load import ComposeReading, load_compose
from sidecar.docker.inventory import DockerInventory, load_saved, own_container_id
from sidecar.docker.models import Inventory
from sidecar.lib.errors import UsageError
from sidecar.reconciler.desired_state import PassRecorder
from sidecar.reconciler.reconcile import PassOutcome, Reconciler, log_outcome
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory, State

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observed:
    """What was observed, and the settings, which now know the sidecar's own container.

    `compose` is what else the Compose files say, None for other sources.
    """

    inventory: Inventory
    settings: ReconcilerSettings
    compose: ComposeReading | None = None


def observe(settings: ReconcilerSettings) -> tuple[Inventory, ReconcilerSettings]:
    """Observe once; the settings come back knowing the sidecar's own container.

    Raises InventoryError: an inventory that cannot be had is never an empty one.
    """
    if (seen := read_files(settings)) is None:
        with DockerInventory(settings.source.docker_sock) as engine:
            seen = observe_engine(engine, settings)
    return seen.inventory, seen.settings


def read_files(settings: ReconcilerSettings) -> Observed | None:
    """Read the saved list or the Compose files; None where the engine is to be asked."""
    source = settings.source
    if source.inventory is not None:
        return _seen(load_saved(source.inventory), settings)
    if not source.compose:
        return None
    reading = load_compose(source.compose)
    for note in reading.notes:
        _log.warning(note)
    return _seen(reading.inventory, settings, reading)


def observe_engine(engine: DockerInventory, settings: ReconcilerSettings) -> Observed:
    """Ask the engine, and save its answers where the settings say so."""
    observation = engine.observe(settings.policy.label_prefix)
    if settings.source.save_inventory is not None:
        _save(settings.source.save_inventory, observation.raw.to_json())
    return _seen(observation.inventory, settings)


def _seen(
    inventory: Inventory, settings: ReconcilerSettings, compose: ComposeReading | None = None
) -> Observed:
    return Observed(inventory, with_own_container(settings, inventory), compose)


def with_own_container(settings: ReconcilerSettings, inventory: Inventory) -> ReconcilerSettings:
    """Complete the settings by the container that the sidecar runs in."""
    known = (container.id for container in inventory.containers)
    policy = replace(settings.policy, own_container_id=own_container_id(known) or "")
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


def reconcile_now(
    settings: ReconcilerSettings, now: datetime, environment: dict[str, str], *, dry_run: bool
) -> PassOutcome:
    """Reconcile once, as the settings say; `now` is aware. Raises SidecarError if it is void.

    A saved list or a Compose file says nothing about what is gone: then orphans are only
    reported, and nothing is remembered.
    """
    reconciler, settings, inventory = _look(settings, environment, read_only=dry_run)
    if dry_run:
        outcome = reconciler.preview(settings, inventory, now)
    else:
        outcome = reconciler.run(settings, inventory, now)
    event = "dry-run.complete" if dry_run else "reconcile.complete"
    log_outcome(outcome, event, logging.INFO)
    return outcome


def preview_now(
    settings: ReconcilerSettings, now: datetime, environment: dict[str, str]
) -> tuple[PassOutcome, State]:
    """Tell what a pass would do now, and what is remembered; writes and logs nothing.

    Raises SidecarError where a pass would be void.
    """
    reconciler, settings, inventory = _look(settings, environment, read_only=True)
    memory = reconciler.ledger.memory
    outcome = reconciler.preview(settings, inventory, now)
    return outcome, State() if memory is None else memory.state


def _look(
    settings: ReconcilerSettings, environment: dict[str, str], *, read_only: bool
) -> tuple[Reconciler, ReconcilerSettings, Inventory]:
    memory = Memory(settings.state_directory, read_only=read_only)
    if (seen := read_files(settings)) is not None:
        # What the runner sees does not depend on where the containers are read from.
        reconciler = Reconciler(seen.settings, environment, runner_seen=memory.state.runner)
        return reconciler, seen.settings, seen.inventory
    ledger = PassRecorder(memory, is_applied=True)
    with DockerInventory(settings.source.docker_sock) as engine:
        seen = observe_engine(engine, settings)
        engine_id = engine.identity()
    reconciler = Reconciler(seen.settings, environment, ledger)
    reconciler.confirm_engine(seen.settings, engine_id)
    return reconciler, seen.settings, seen.inventory
