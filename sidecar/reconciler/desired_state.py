"""What containers and flags ask for: all that a proposal depends on, but for the document.

A pass proposes for the file, or for the document that Backrest's API serves, or for both
after another: the desired state is the same, so it is gathered once. It is a value;
`Planner` makes proposals of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sidecar.backrest.document import Document, parse_document
from sidecar.docker.models import Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.lib.errors import DocumentError
from sidecar.planner.lifecycle import PlanHistory
from sidecar.planner.plans import Memos
from sidecar.planner.propose import Proposal, propose


@dataclass(frozen=True, slots=True)
class DesiredState:
    """All that a proposal depends on, but for the document.

    `config` names the document in messages. `now` is aware. `backrest_mounts` are None where
    host paths are taken as they are.
    """

    config: Path
    inventory: Inventory
    policy: Policy
    now: datetime
    backrest_mounts: tuple[Mount, ...] | None = None
    accept_version: int | None = None
    history: PlanHistory | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What the outcome depends on: of the time only the day, and whose grace is over."""
        expired: frozenset[str] = frozenset()
        if self.history is not None:
            last = self.now.timestamp() - self.history.grace
            expired = frozenset(k for k, since in self.history.orphans.items() if since <= last)
        mounts, version = self.backrest_mounts, self.accept_version
        # The inventory last: it is the longest to compare.
        day = self.now.date()
        return (self.policy, day, mounts, version, self.history, expired, self.inventory)


class Planner:
    """Makes proposals, and returns the last one again where the inputs are equal.

    So a pass in which nothing changed costs a comparison. Nothing else is carried over.
    Not thread-safe: each thread has its own.
    """

    def __init__(self) -> None:
        self._inputs: tuple[object, ...] = ()
        self._proposal: Proposal | None = None
        self._memos = Memos()

    def propose(self, content: bytes, desired: DesiredState, *, served: bool = False) -> Proposal:
        """Propose for the bytes of a document; `served`: as Backrest's API served it.

        Raises DocumentError naming the file; see `planner.propose`.
        """
        inputs = (content, served, desired.key)
        if self._proposal is None or self._inputs != inputs:
            with naming(desired.config):
                self._proposal = propose(
                    self._document(content),
                    desired.inventory,
                    desired.policy,
                    desired.now,
                    runner_mounts=desired.backrest_mounts,
                    accept_version=desired.accept_version,
                    served=served,
                    history=desired.history,
                    memos=self._memos,
                )
            self._inputs = inputs
        return self._proposal

    def _document(self, content: bytes) -> Document:
        """Decode a document, unless it is one of the two of the last proposal."""
        last = self._proposal
        for known in (last.after, last.before) if last is not None else ():
            if known.content == content:
                return known
        return parse_document(content)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in the DocumentErrors of the body."""
    try:
        yield
    except DocumentError as error:
        raise DocumentError(f"{path}: {error.message}", error.hint) from None
