"""What the containers ask of any version of the document, and what a write of it leaves behind."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from sidecar.backrest.document import Document, parse_document
from sidecar.labels.policy import Policy
from sidecar.lib.errors import DocumentError, StoreError
from sidecar.lib.log import log_event
from sidecar.planner.drift import Drift, Watch, find_drift
from sidecar.planner.lifecycle import History
from sidecar.planner.memos import Memos
from sidecar.planner.propose import Proposal, propose
from sidecar.planner.workload import Inventory, Mount
from sidecar.reconciler.history import remember
from sidecar.reconciler.state import Memory, State

_log = logging.getLogger(__name__)

# A runner that starts while we write may have read the file before: it counts as older.
_READING_SECONDS = 2.0


class Proposer:
    """Makes proposals, and remembers the last: equal inputs need no second thought.

    A pass in a quiet house then costs a comparison. Nothing else is carried over.
    Not thread-safe: a thread has its own.
    """

    def __init__(self) -> None:
        self._inputs: tuple[object, ...] = ()
        self._proposal: Proposal | None = None
        self._memos = Memos()

    def propose(self, content: bytes, wish: "Desire", *, served: bool = False) -> Proposal:
        """Propose for the bytes of a document; see `core.propose`."""
        inputs = (content, served, wish.key)
        if self._proposal is None or self._inputs != inputs:
            self._proposal = propose(
                self._document(content),
                wish.inventory,
                wish.policy,
                wish.now,
                runner_mounts=wish.runner_mounts,
                accept_version=wish.accept_version,
                served=served,
                history=wish.history,
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


class Ledger:
    """What was written lately, across passes and threads: drift, and the state directory.

    `memory` is None where nothing may be remembered. `is_applied` tells whether it
    matters when the runner reads the document. `on_drift` is told what was put back.
    `clock` is monotonic, `wall` unix seconds.
    """

    def __init__(
        self,
        memory: Memory | None = None,
        *,
        is_applied: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.memory = memory
        self.watch = Watch()
        self.on_drift: Callable[[Drift], None] = _nobody
        self._is_applied = is_applied
        self._clock = clock
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
        self.watch = self.watch.after(proposal, self._clock())
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
class Desire:
    """All that a proposal depends on, but for the document."""

    config: Path
    inventory: Inventory
    policy: Policy
    now: datetime
    runner_mounts: tuple[Mount, ...] | None = None
    accept_version: int | None = None
    history: History | None = None
    ledger: Ledger = field(default_factory=Ledger, compare=False, repr=False)

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
        self, content: bytes, *, served: bool = False, proposer: Proposer | None = None
    ) -> Proposal:
        """Propose for the bytes of a document; `served`: as Backrest's API gave it out.

        Raises DocumentError naming the file.
        """
        with naming(self.config):
            return (proposer or Proposer()).propose(content, self, served=served)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in the DocumentErrors of the body."""
    try:
        yield
    except DocumentError as error:
        raise DocumentError(f"{path}: {error.message}", error.hint) from None
