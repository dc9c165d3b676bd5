"""What passes leave behind: orphans and schedules in the state, drift in the log.

The planner is pure. What it has to know of earlier passes comes from the state as a
`PlanHistory`, and what it decides (`Ageing`) goes back into the state.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sidecar.docker.markers import DIRECTORY, Marker, read_markers
from sidecar.docker.models import Inventory
from sidecar.lib.clocks import Clocks
from sidecar.lib.errors import InventoryError, StoreError
from sidecar.lib.log import log_event
from sidecar.planner.drift import Drift, Watch, find_drift
from sidecar.planner.lifecycle import Ageing, PlanHistory
from sidecar.planner.propose import Proposal
from sidecar.reconciler.settings import Lifetime
from sidecar.reconciler.state import Memory, State

# A Backrest that starts while we write may have read the file before: it counts as older.
_READING_SECONDS = 2.0
# Where backrest-runner remembers things.
_OF_RUNNER = ".runner"

# What else of an image's labels decides about plans.
_IDENTITIES = ("com.docker.compose.", "com.docker.swarm.")

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Quiesced(NamedTuple):
    """What running backups have stopped: their plans, and the ids of the containers."""

    plans: frozenset[str] = frozenset()
    containers: frozenset[str] = frozenset()


NOTHING_QUIESCED = Quiesced()


class PassRecorder:
    """Records what passes write, across passes and threads.

    `is_applied` tells whether it matters when Backrest reads the document.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        is_applied: bool = False,
        clocks: Clocks | None = None,
    ) -> None:
        self.memory = memory
        self._watch = Watch()
        self._lock = threading.Lock()
        self._is_applied = is_applied
        self._clocks = clocks or Clocks()

    @property
    def watch(self) -> Watch:
        """What was written, and what had to be put back."""
        return self._watch

    def forgive(self) -> None:
        """Put everything back again from now on: Backrest has read the document anew."""
        with self._lock:
            self._watch = self._watch.forgiving()

    @contextmanager
    def writing(self, proposal: Proposal, *, to_file: bool) -> Iterator["PendingWrite"]:
        """Enclose one write of the document: into its file, or through Backrest's API.

        What would be lost if we died right after the write is remembered first. At the end
        that is taken back, unless the body has confirmed that the document was written. No other
        sidecar changes what is remembered meanwhile.

        Raises StoreError where schedules would be taken from plans but cannot be remembered.
        """
        with self.memory.turn() as before:
            if proposal.ageing is not None:
                remember(self.memory, proposal.ageing, is_written=False)
            write = PendingWrite(self, proposal)
            try:
                self._check_remembered(proposal)
                # Also what moves to the other document waits until Backrest has read this one.
                if to_file and (self._is_applied or proposal.placement.moving):
                    self.memory.change(written_at=self._clocks.wall() + _READING_SECONDS)
                yield write
            finally:
                if not write.is_confirmed:
                    self.memory.change(**noted_of(before))

    def confirm(self, proposal: Proposal) -> tuple[Drift, ...]:
        """Note that the document now is as proposed; return what was put back for that."""
        if proposal.ageing is not None:
            remember(self.memory, proposal.ageing, is_written=True)
        with self._lock:
            drift = find_drift(self._watch, proposal)
            self._watch = self._watch.after(proposal, self._clocks.monotonic())
        for item in drift:
            log_event(_log, logging.WARNING, "plan.drift", plan=item.plan, key=item.key)
        return drift

    def _check_remembered(self, proposal: Proposal) -> None:
        if proposal.ageing is not None and proposal.ageing.disables and not self.memory.is_saved:
            raise StoreError(
                "the schedules of plans to be disabled cannot be remembered in "
                f"{self.memory.directory}, so nothing is written",
                "free some space, or make it writable; until then no plan is disabled",
            )


class PendingWrite:
    """A write that `PassRecorder.writing` encloses: as long as it is not confirmed, it is none."""

    def __init__(self, recorder: PassRecorder, proposal: Proposal) -> None:
        self._recorder = recorder
        self._proposal = proposal
        self.is_confirmed = False

    def confirm(self) -> tuple[Drift, ...]:
        """Note that the document was written; return what was put back by that."""
        self.is_confirmed = True
        return self._recorder.confirm(self._proposal)


def is_based_on(history: PlanHistory | None, state: State) -> bool:
    """Return whether a history still is what is remembered, but for the times of orphans."""
    if history is None:
        return True
    marks = (frozenset(state.accepted), frozenset(state.disabling))
    schedules = (state.disabled, state.enabling, state.owners)
    return (history.accepted, history.disabling) == marks and schedules == (
        history.disabled,
        history.enabling,
        history.owners,
    )


def history_of(
    state: State,
    lifetime: Lifetime,
    contested: Mapping[str, frozenset[str]],
    quiesced: Quiesced = NOTHING_QUIESCED,
    *,
    may_disable: bool = True,
) -> PlanHistory:
    """Return what the planner has to know: what is remembered, and what the operator wants."""
    return PlanHistory(
        orphans=state.orphans,
        accepted=frozenset(state.accepted),
        accepting=lifetime.accept_orphans,
        disabled=state.disabled,
        disabling=frozenset(state.disabling),
        enabling=state.enabling,
        action=lifetime.orphans,
        grace=lifetime.grace,
        contested=contested,
        quiesced=quiesced.plans,
        may_disable=may_disable,
        owners=state.owners,
        take_over=lifetime.take_over,
        stopped=quiesced.containers,
        former=state.former,
    )


def read_quiesced(config: Path) -> Quiesced:
    """Return what hooks have stopped now, by their markers.

    Its plans are no orphans: a Swarm service scaled to zero has no container to show. Beside a
    Backrest the bundled runner has markers of its own. Markers that cannot be read count as
    none; then the grace covers the run.
    """
    markers: list[Marker] = []
    for folder in (config.parent, config.parent / _OF_RUNNER):
        with suppress(StoreError):
            markers += read_markers(folder / DIRECTORY)
    return Quiesced(
        frozenset(marker.plan for marker in markers),
        frozenset(marker.container for marker in markers if marker.container),
    )


def remember(memory: Memory, ageing: Ageing, *, is_written: bool) -> State:
    """Keep in the state what a pass decided, and return the state.

    Called before the write, so that no schedule is lost, and after it with `is_written`.
    A plan that is enabled again keeps its schedule in the state until that is written. What
    another sidecar has changed since the history of the decision was read stays as it is.
    """
    history = ageing.history
    with memory.turn() as state:
        others = state.disabled.keys() - history.disabled.keys() - ageing.disabled.keys()
        disabled = _merged(ageing.disabled, history.disabled, state.disabled)
        # Of what is in the other document it stays unknown.
        others |= set() if ageing.plans is None else state.disabled.keys() - ageing.plans
        disabling = others & {*state.disabling}
        if not is_written:
            disabling = disabled.keys() - state.disabled.keys() | {*state.disabling}
            disabled = {**state.disabled, **disabled}
        accepted = map(dict.fromkeys, (ageing.accepted, history.accepted, state.accepted))
        return memory.change(
            orphans=_merged(ageing.orphans, history.orphans, state.orphans),
            accepted=tuple(sorted(_merged(*accepted))),
            disabled=disabled,
            disabling=tuple(sorted(disabling)),
            enabling=_merged(ageing.enabling, history.enabling, state.enabling),
            owners=_merged(ageing.owners, history.owners, state.owners),
            former=_merged(ageing.former, history.former, state.former),
        )


def _merged(
    decided: Mapping[str, T], before: Mapping[str, T], now: Mapping[str, T]
) -> dict[str, T]:
    """Return what was decided by `before`, but `now` where that has changed since."""
    changed = {
        plan
        for plan in before.keys() | now.keys()
        if (plan in before, before.get(plan)) != (plan in now, now.get(plan))
    }
    kept = {plan: value for plan, value in decided.items() if plan not in changed}
    return kept | {plan: now[plan] for plan in changed if plan in now}


def noted_of(state: State) -> dict[str, Any]:
    """Return the fields in which is remembered what a write decides about plans."""
    names = ("accepted", "disabled", "disabling", "enabling", "owners", "former")
    return {name: getattr(state, name) for name in names}


def with_last_known_images(memory: Memory, inventory: Inventory, prefix: str) -> Inventory:
    """Add the labels that missing images had when Docker still had them; remember those of today.

    Without them the labels of an image that was removed would count as the user's.
    """
    known = memory.state.image_labels
    missing = {i: known[i] for i in inventory.missing_images if i in known}
    kinds = (prefix, *_IDENTITIES)
    seen = {
        image: {key: value for key, value in labels.items() if key.startswith(kinds)}
        for image, labels in inventory.image_labels.items()
    }
    memory.change(image_labels={**seen, **missing})
    if not missing:
        return inventory
    return replace(
        inventory,
        image_labels={**inventory.image_labels, **missing},
        missing_images=inventory.missing_images - missing.keys(),
    )


def confirm_docker(memory: Memory, docker_id: str, *, guards: bool, accept: bool) -> None:
    """Raise InventoryError, so that the pass is void, when this is another Docker than before.

    `docker_id` is empty when Docker did not report one. `guards` tells whether there are
    plans that could lose their workloads by it.
    """
    known = memory.refresh().engine_id
    if not docker_id or docker_id == known:
        return
    if known and guards and not accept:
        raise InventoryError(
            "this is another Docker engine than before, so its containers say nothing about "
            "the plans that are there",
            "correct --docker-sock, or confirm with `backrest-sidecar reconcile --accept-engine`",
        )
    memory.change(engine_id=docker_id)
