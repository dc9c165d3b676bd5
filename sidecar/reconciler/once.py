"""One pass by hand: observe what the settings say, follow the plans, write or preview."""

import logging
from datetime import datetime

from sidecar.docker.inventory import Engine
from sidecar.planner.workload import Inventory
from sidecar.reconciler.desired_state import Ledger
from sidecar.reconciler.observe import observe_engine, read_files
from sidecar.reconciler.reconcile import Outcome, Reconciler, tell_outcome
from sidecar.reconciler.settings import Settings
from sidecar.reconciler.state import Memory, State


def reconcile_now(
    settings: Settings, now: datetime, environment: dict[str, str], *, dry_run: bool
) -> Outcome:
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
    tell_outcome(outcome, event, logging.INFO)
    return outcome


def preview_now(
    settings: Settings, now: datetime, environment: dict[str, str]
) -> tuple[Outcome, State]:
    """Tell what a pass would do now, and what is remembered; writes and logs nothing.

    Raises SidecarError where a pass would be void.
    """
    reconciler, settings, inventory = _look(settings, environment, read_only=True)
    memory = reconciler.ledger.memory
    outcome = reconciler.preview(settings, inventory, now)
    return outcome, State() if memory is None else memory.state


def _look(
    settings: Settings, environment: dict[str, str], *, read_only: bool
) -> tuple[Reconciler, Settings, Inventory]:
    memory = Memory(settings.state_directory, read_only=read_only)
    if (seen := read_files(settings)) is not None:
        # What the runner sees does not depend on where the containers are read from.
        reconciler = Reconciler(seen.settings, environment, runner_seen=memory.state.runner)
        return reconciler, seen.settings, seen.inventory
    ledger = Ledger(memory, is_applied=True)
    with Engine(settings.source.docker_sock) as engine:
        seen = observe_engine(engine, settings)
        engine_id = engine.identity()
    reconciler = Reconciler(seen.settings, environment, ledger)
    reconciler.confirm_engine(seen.settings, engine_id)
    return reconciler, seen.settings, seen.inventory
