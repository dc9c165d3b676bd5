"""What the containers ask of any version of the document, and what a write of it leaves behind.

Memory → History for the core, and back: what earlier passes saw of plans and engine.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from sidecar.backrest.document import Document, parse_document
from sidecar.docker.models import Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.errors import DocumentError, InventoryError, StoreError
from sidecar.lib.log import log_event
from sidecar.planner.drift import Drift, Watch, find_drift
from sidecar.planner.lifecycle import Ageing, PlanHistory
from sidecar.planner.plans import Memos
from sidecar.planner.propose import Proposal, propose
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
) -> PlanHistory:
    """Return the core what was remembered, and what the operator wants done with it."""
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


_log = logging.getLogger(__name__)

# A runner that starts while we write may have read the file before: it counts as older.
_READING_SECONDS = 2.0


class Planner:
    """Makes proposals, and remembers the last: equal inputs need no second thought.

    A pass in a quiet house then costs a comparison. Nothing else is carried over.
    Not thread-safe: a thread has its own.
    """

    def __init__(self) -> None:
        self._inputs: tuple[object, ...] = ()
        self._proposal: Proposal | None = None
        self._memos = Memos()

    def propose(self, content: bytes, desired: "DesiredState", *, served: bool = False) -> Proposal:
        """Propose for the bytes of a document; see `core.propose`."""
        inputs = (content, served, desired.key)
        if self._proposal is None or self._inputs != inputs:
            self._proposal = propose(
                self._document(content),
                desired.inventory,
                desired.policy,
                desired.now,
                runner_mounts=desired.runner_mounts,
                accept_version=desired.accept_version,
                served=served,
                history=desired.history,
                memos=self._memos,
            )
            self._inputs = inputs
        return self._proposal

    def _document(self, content: bytes) -> Document:
        """Decode a document, unless it is the one that the last proposal was about."""
        last = self._proposal
        for known in (last.after, last.before) if last is not None else ():
            if known.content == content:
                return known
        return parse_document(content)


class PassRecorder:
    """What was written lately, across passes and threads: drift, and the state directory.

    `memory` is None where nothing may be remembered. `is_applied` tells whether it
    matters when the runner reads the document. `on_drift` is told what was put back.
    `monotonic` is a clock that nobody sets, `wall` unix seconds.
    """

    def __init__(
        self,
        memory: Memory | None = None,
        *,
        is_applied: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.memory = memory
        self.watch = Watch()
        self.on_drift: Callable[[Drift], None] = _nobody
        self._is_applied = is_applied
        self._monotonic = monotonic
        self._wall = wall

    def before_write(self, proposal: Proposal, *, to_file: bool) -> None:
        """Remember what would be lost if we died right after the write."""
        if self.memory is None:
            return
        if proposal.ageing is not None:
            remember(self.memory, proposal.ageing, is_written=False)
            if not self.memory.is_saved and proposal.ageing.disables:
                raise StoreError(
                    "the schedules of plans to be disabled cannot be remembered in "
                    f"{self.memory.directory}, so nothing is written",
                    "free some space, or make it writable; until then no plan is disabled",
                )
        if to_file and self._is_applied:
            self.memory.change(written_at=self._wall() + _READING_SECONDS)

    def after_pass(self, proposal: Proposal) -> tuple[Drift, ...]:
        """Note that the document now is as proposed; tell what was put back for that."""
        if self.memory is not None and proposal.ageing is not None:
            remember(self.memory, proposal.ageing, is_written=True)
        drift = find_drift(self.watch, proposal)
        for item in drift:
            log_event(_log, logging.WARNING, "plan.drift", plan=item.plan, key=item.key)
            self.on_drift(item)
        self.watch = self.watch.after(proposal, self._monotonic())
        return drift

    def take_back(self, state: State) -> None:
        """Forget what `before_write` remembered, because nothing was written."""
        if self.memory is not None:
            self.memory.update(
                lambda now: replace(
                    now,
                    accepted=state.accepted,
                    disabled=state.disabled,
                    disabling=state.disabling,
                    enabling=state.enabling,
                )
            )

    @contextmanager
    def writing(self, proposal: Proposal) -> Iterator[None]:
        """Enclose a write through Backrest's API."""
        state = self.memory.state if self.memory is not None else State()
        self.before_write(proposal, to_file=False)
        try:
            yield
        except BaseException:
            self.take_back(state)
            raise


def _nobody(drift: Drift) -> None:
    """Tell nobody."""
    del drift


@dataclass(frozen=True, slots=True)
class DesiredState:
    """All that a proposal depends on, but for the document."""

    config: Path
    inventory: Inventory
    policy: Policy
    now: datetime
    runner_mounts: tuple[Mount, ...] | None = None
    accept_version: int | None = None
    history: PlanHistory | None = None
    ledger: PassRecorder = field(default_factory=PassRecorder, compare=False, repr=False)

    @property
    def key(self) -> tuple[object, ...]:
        """What decides: of the time only the day, and which orphans' grace is over."""
        expired: frozenset[str] = frozenset()
        if self.history is not None:
            last = self.now.timestamp() - self.history.grace
            expired = frozenset(k for k, since in self.history.orphans.items() if since <= last)
        mounts, version = self.runner_mounts, self.accept_version
        # The inventory last: it is the longest to compare.
        day = self.now.date()
        return (self.policy, day, mounts, version, self.history, expired, self.inventory)

    def propose(
        self, content: bytes, *, served: bool = False, proposer: Planner | None = None
    ) -> Proposal:
        """Propose for the bytes of a document; `served`: as Backrest's API gave it out.

        Raises DocumentError naming the file.
        """
        with naming(self.config):
            return (proposer or Planner()).propose(content, self, served=served)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in the DocumentErrors of the body."""
    try:
        yield
    except DocumentError as error:
        raise DocumentError(f"{path}: {error.message}", error.hint) from None
