"""One pass by hand: observe what the settings say, follow the plans, write or preview."""

from datetime import datetime

from sidecar.settings import Settings
from sidecar.watch.desire import Ledger
from sidecar.watch.inventory import Engine
from sidecar.watch.observe import observe_engine, read_files
from sidecar.watch.reconciler import Outcome, Reconciler, reconcile_once, tell_once
from sidecar.watch.state import Memory


def reconcile_now(
    settings: Settings, now: datetime, environment: dict[str, str], *, dry_run: bool
) -> Outcome:
    """Reconcile once, as the settings say; `now` is aware. Raises SidecarError if it is void.

    A saved list or a Compose file says nothing about what is gone: then orphans are only
    reported, and nothing is remembered.
    """
    if (seen := read_files(settings)) is not None:
        return reconcile_once(seen.settings, seen.inventory, now, environment, dry_run=dry_run)
    memory = Memory(settings.state_directory, read_only=dry_run)
    ledger = Ledger(memory, is_applied=True)
    with Engine(settings.source.docker_sock) as engine:
        seen = observe_engine(engine, settings)
        engine_id = engine.identity()
    reconciler = Reconciler(seen.settings, environment, ledger)
    reconciler.confirm_engine(seen.settings, engine_id)
    return tell_once(reconciler, seen.settings, seen.inventory, now, dry_run=dry_run)
