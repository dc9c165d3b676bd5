"""reconcile_once: observe, propose, and unless it is a dry run replace the document."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sidecar.core.notify import find_references
from sidecar.core.policy import Policy
from sidecar.core.propose import Proposal, propose
from sidecar.core.workload import Inventory
from sidecar.errors import DocumentError
from sidecar.kit.log import log_event
from sidecar.model.document import Document, parse_document
from sidecar.model.problem import Severity
from sidecar.settings import Settings
from sidecar.watch.secrets import read_secrets
from sidecar.watch.store import Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass did: `written` is False for a dry run and when nothing changed."""

    config: str
    proposal: Proposal
    policy: Policy
    written: bool

    @property
    def changed(self) -> bool:
        """Whether the document was, or would be, changed."""
        return self.proposal.after is not self.proposal.before

    @property
    def has_serious_problems(self) -> bool:
        """Whether a labelled workload has an error or gets less than was asked."""
        return any(
            problem.severity is not Severity.WARNING for problem in self.proposal.rendered.problems
        )


class Proposer:
    """Makes proposals, and remembers the last: equal inputs need no second thought.

    A pass in a quiet house then costs a comparison. Nothing else is carried over.
    """

    def __init__(self) -> None:
        self._inputs: tuple[object, ...] = ()
        self._proposal: Proposal | None = None

    def propose(
        self,
        content: bytes,
        inventory: Inventory,
        policy: Policy,
        now: datetime,
        accept: int | None,
    ) -> Proposal:
        """Propose for the bytes of a document; see `core.propose`."""
        # Only the day of `now` has a say: whether a schedule fires within years.
        inputs = (content, policy, now.date(), accept, inventory)
        if self._proposal is None or self._inputs != inputs:
            document = parse_document(content)
            proposal = propose(document, inventory, policy, now, accept_version=accept)
            self._inputs, self._proposal = inputs, proposal
        return self._proposal


def reconcile_once(
    settings: Settings,
    inventory: Inventory,
    now: datetime,
    environment: dict[str, str],
    *,
    dry_run: bool,
    proposer: Proposer | None = None,
) -> Outcome:
    """Bring the document in line with the inventory, once.

    `now` (aware) decides whether a schedule ever fires; `environment` is where
    `env:` secret references are looked up; `proposer` may be kept from pass to pass.
    Raises SidecarError when the pass is void.
    """
    proposer = proposer or Proposer()
    policy = with_secrets(settings, inventory, environment)
    store = Store(settings.config, settings.config_mode)
    proposals: list[Proposal] = []

    def change(content: bytes) -> bytes:
        with _naming(settings.config):
            proposal = proposer.propose(content, inventory, policy, now, settings.accept_version)
        proposals.append(proposal)
        same = proposal.after is proposal.before
        return content if same else proposal.after.text.encode()

    if dry_run:
        change(store.read().content)
        written = False
    else:
        written = store.update(change)
    outcome = Outcome(str(settings.config), proposals[-1], policy, written)
    _tell(outcome, dry_run=dry_run)
    return outcome


def read_document(path: Path) -> Document:
    """Read a document; raises StoreError or DocumentError, both naming the file."""
    content = Store(path).read().content
    with _naming(path):
        return parse_document(content)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except DocumentError as error:
        raise DocumentError(f"{path}: {error.message}", error.hint) from None


def with_secrets(settings: Settings, inventory: Inventory, environment: dict[str, str]) -> Policy:
    """Complete the policy by the secrets that labels refer to."""
    prefix = settings.policy.label_prefix
    references = find_references(
        (name.removeprefix(prefix), value)
        for container in inventory.containers
        for name, value in container.labels.items()
        if name.startswith(prefix)
    )
    if not references:
        return settings.policy
    found = read_secrets(references, settings.secrets_dir, environment)
    return replace(settings.policy, secrets=found)


def _tell(outcome: Outcome, *, dry_run: bool) -> None:
    changes = outcome.proposal.changes
    for plan_id in (*(plan.id for plan in changes.added), *changes.updated):
        log_event(_log, logging.INFO, "plan.rendered", plan=plan_id, changed=True)
    for plan_id in changes.unchanged:
        log_event(_log, logging.DEBUG, "plan.rendered", plan=plan_id, changed=False)
    if outcome.written:
        log_event(_log, logging.INFO, "config.write", config=outcome.config)
    log_event(
        _log,
        logging.INFO,
        "dry-run.complete" if dry_run else "reconcile.complete",
        added=len(changes.added),
        updated=len(changes.edits),
        orphaned=len(changes.orphaned),
        unchanged=len(changes.unchanged),
        problems=len(outcome.proposal.rendered.problems),
    )
