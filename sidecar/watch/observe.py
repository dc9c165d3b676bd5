"""Look at the world the way the settings ask: engine, saved list or Compose files."""

import json
from dataclasses import replace

from sidecar.core.workload import Inventory
from sidecar.settings import Settings, Source
from sidecar.watch.compose import load_compose
from sidecar.watch.inventory import Engine, load_saved, own_container_id


def observe(settings: Settings) -> tuple[Inventory, Settings]:
    """Observe once; the settings come back knowing the sidecar's own container.

    Raises InventoryError: an inventory that cannot be had is never an empty one.
    """
    source = settings.source
    if source.inventory is not None:
        inventory = load_saved(source.inventory)
    elif source.compose:
        inventory = load_compose(source.compose).inventory
    else:
        inventory = _observe_engine(source, settings.policy.label_prefix)
    policy = replace(settings.policy, own_container_id=own_container_id() or "")
    return inventory, replace(settings, policy=policy)


def _observe_engine(source: Source, label_prefix: str) -> Inventory:
    with Engine(source.docker_sock) as engine:
        observation = engine.observe(label_prefix)
    if source.save_inventory is not None:
        source.save_inventory.write_text(json.dumps(observation.raw))
    return observation.inventory
