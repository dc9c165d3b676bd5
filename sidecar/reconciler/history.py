"""Memory → History for the core, and back: what earlier passes saw of plans and engine."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sidecar.lib.errors import InventoryError, StoreError
from sidecar.planner.lifecycle import Ageing, History
from sidecar.reconciler.resume.markers import DIRECTORY, read_markers
from sidecar.reconciler.settings import Lifetime
from sidecar.reconciler.state import Memory, State


def history_of(
    state: State,
    lifetime: Lifetime,
    contested: Mapping[str, frozenset[str]],
    quiesced: frozenset[str] = frozenset(),
    *,
    may_disable: bool = True,
) -> History:
    """Give the core what was remembered, and what the operator wants done with it."""
    return History(
        orphans=state.orphans,
        accepted=frozenset(state.accepted),
        accepting=lifetime.accept_orphans,
        disabled=state.disabled,
        disabling=frozenset(state.disabling),
        enabling=state.enabling,
        action=lifetime.orphans,
        grace=lifetime.grace,
        contested=contested,
        quiesced=quiesced,
        may_disable=may_disable,
    )


def quiesced_plans(config: Path) -> frozenset[str]:
    """Tell the plans whose hooks have something stopped now, by their markers.

    A Swarm service at no replicas has no container to show. Markers that cannot be read
    tell nothing: the grace is there for that.
    """
    try:
        return frozenset(marker.plan for marker in read_markers(config.parent / DIRECTORY))
    except StoreError:
        return frozenset()


def remember(memory: Memory, ageing: Ageing, *, is_written: bool) -> None:
    """Keep what a pass decided: before it is written, so that no schedule is lost, and after.

    A plan that is enabled again keeps its schedule in mind until that is written.
    """

    def remembered(state: State) -> State:
        disabled = dict(ageing.disabled)
        disabling: frozenset[str] = frozenset()
        if not is_written:
            disabling = frozenset(disabled.keys() - state.disabled.keys() | {*state.disabling})
            disabled = {**state.disabled, **disabled}
        return replace(
            state,
            orphans=dict(ageing.orphans),
            accepted=tuple(sorted(ageing.accepted)),
            disabled=disabled,
            disabling=tuple(sorted(disabling)),
            enabling=dict(ageing.enabling),
        )

    memory.update(remembered)


def confirm_engine(memory: Memory, engine_id: str, *, guards: bool, accept: bool) -> None:
    """Void the pass when the engine is another than before; raises InventoryError.

    `engine_id` is empty when the engine would not say. `guards` tells whether there are
    plans that could lose their workloads by it.
    """
    known = memory.refresh().engine_id
    if not engine_id or engine_id == known:
        return
    if known and guards and not accept:
        raise InventoryError(
            "this is another Docker engine than before, so its containers say nothing about "
            "the plans that are there",
            "correct --docker-sock, or confirm with `backrest-sidecar reconcile --accept-engine`",
        )
    memory.update(lambda state: replace(state, engine_id=engine_id))
