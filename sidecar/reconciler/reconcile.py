"""reconcile_once: observe, propose, and unless it is a dry run replace the document.

What the runner sees of the host: its container's mounts, now or as they were last seen.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from sidecar.backrest.document import Document, parse_document
from sidecar.docker.models import Container, Inventory, Mount
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Severity
from sidecar.lib.log import log_event
from sidecar.planner.drift import Drift
from sidecar.planner.lifecycle import Ageing
from sidecar.planner.memo import ItemMemo
from sidecar.planner.notifications import find_references
from sidecar.planner.propose import Proposal
from sidecar.reconciler.desired_state import (
    DesiredState,
    PassRecorder,
    Planner,
    confirm_engine,
    history_of,
    naming,
    quiesced_plans,
)
from sidecar.reconciler.secrets import read_secrets
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import RunnerSeen, State
from sidecar.reconciler.store.store import Store

_SHORT_ID = 12


@dataclass(frozen=True, slots=True)
class RunnerView:
    """The runner's mounts, None when every host path is taken as it is.

    `seen` is what to remember. `is_awaited`: the runner was named and never seen, so it
    counts as one that sees nothing: plans keep their paths, and new ones wait.
    """

    mounts: tuple[Mount, ...] | None
    seen: RunnerSeen | None = None
    is_awaited: bool = False


HOST_VIEW = RunnerView(None)
"""The runner sees what the host sees."""


def find_container(inventory: Inventory, name: str) -> Container | None:
    """Find a container by its name, or by the beginning of its id."""
    for container in inventory.containers:
        if container.name == name:
            return container
    if len(name) >= _SHORT_ID:
        return next((c for c in inventory.containers if c.id.startswith(name)), None)
    return None


def resolve_runner_view(
    inventory: Inventory,
    settings: ReconcilerSettings,
    remembered: RunnerSeen | None,
    *,
    from_engine: bool,
) -> RunnerView:
    """Find the runner's mounts in the inventory, else in memory.

    A list that is not from an engine counts only if the operator named the runner.
    """
    name = settings.policy.runner_container
    if not (from_engine or settings.runner_named):
        return HOST_VIEW
    container = find_container(inventory, name)
    if container is not None:
        return RunnerView(container.mounts, RunnerSeen(name, container.mounts))
    if remembered is not None and remembered.name == name:
        return RunnerView(remembered.mounts, remembered)
    told = settings.policy.path_map or settings.policy.volume_prefix
    if settings.runner_named and not told:
        return RunnerView((), is_awaited=True)
    return HOST_VIEW


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PassOutcome:
    """What a pass did: `written` is False for a dry run and when nothing changed.

    `drift` is what it put back.
    """

    config: str
    proposal: Proposal
    desire: DesiredState
    written: bool
    drift: tuple[Drift, ...] = ()
    runner: RunnerView = HOST_VIEW

    @property
    def policy(self) -> Policy:
        """The policy that the plans were rendered by."""
        return self.desire.policy

    @property
    def changed(self) -> bool:
        """Whether the document was, or would be, changed."""
        return self.proposal.after is not self.proposal.before

    @property
    def ageing(self) -> Ageing:
        """What time did to the plans; nothing where orphans are only reported."""
        return self.proposal.ageing or Ageing()

    @property
    def has_serious_problems(self) -> bool:
        """Whether a labelled workload has an error or gets less than was asked."""
        return any(
            problem.severity is not Severity.WARNING for problem in self.proposal.rendered.problems
        )


class Reconciler:
    """Makes passes over one document; between them it keeps a ledger, and what saves work.

    `environment` is where `env:` secret references are looked up. With a memory in the
    ledger the inventories come from an engine, and plans are followed over time.
    `runner_seen` is what is known of the runner where there is no memory.
    """

    def __init__(
        self,
        settings: ReconcilerSettings,
        environment: dict[str, str],
        ledger: PassRecorder | None = None,
        runner_seen: RunnerSeen | None = None,
    ) -> None:
        self.ledger = ledger or PassRecorder()
        self._runner_seen = runner_seen
        self._environment = environment
        self._proposer = Planner()
        self._policy = Policy()
        self._references = memo_of_references(settings.policy.label_prefix)
        self._store = Store(settings.config, settings.config_mode)

    def confirm_engine(self, settings: ReconcilerSettings, engine_id: str) -> None:
        """Void the pass when the engine is another one; raises InventoryError."""
        if self.ledger.memory is None or not engine_id:
            return
        prefix = settings.policy.plan_id_prefix
        accept = settings.lifetime.accept_engine
        if engine_id == self.ledger.memory.refresh().engine_id:
            return
        standing = parse_document(self._store.read().content).plans
        guards = any(plan_id.startswith(prefix) for plan_id in standing)
        confirm_engine(self.ledger.memory, engine_id, guards=guards, accept=accept)

    def desire(
        self, settings: ReconcilerSettings, inventory: Inventory, now: datetime
    ) -> tuple[DesiredState, RunnerView]:
        """Gather all that a proposal depends on; `now` is aware."""
        memory = self.ledger.memory
        state = State(runner=self._runner_seen) if memory is None else memory.refresh()
        view = resolve_runner_view(
            inventory, settings, state.runner, from_engine=memory is not None
        )
        policy = with_secrets(settings, inventory, self._environment, self._references)
        if policy != self._policy:
            self._policy = policy
        history = None
        if memory is not None:
            if view.seen is not None:
                memory.change(runner=view.seen)
            quiesced = quiesced_plans(settings.config)
            contested = self.ledger.watch.contested
            history = history_of(
                state, settings.lifetime, contested, quiesced, may_disable=memory.is_saved
            )
        desire = DesiredState(
            settings.config,
            inventory,
            self._policy,
            now,
            runner_mounts=view.mounts,
            accept_version=settings.accept_version,
            history=history,
            ledger=self.ledger,
        )
        return desire, view

    def preview(
        self, settings: ReconcilerSettings, inventory: Inventory, now: datetime
    ) -> PassOutcome:
        """Tell what a pass would do; writes and remembers nothing. Raises SidecarError."""
        desire, view = self.desire(settings, inventory, now)
        proposal = desire.propose(self._store.read().content, proposer=self._proposer)
        return PassOutcome(str(settings.config), proposal, desire, False, runner=view)

    def run(self, settings: ReconcilerSettings, inventory: Inventory, now: datetime) -> PassOutcome:
        """Make one pass. Raises SidecarError when it is void: then nothing is written."""
        desire, view = self.desire(settings, inventory, now)
        proposal, written = self._write(desire)
        drift = self.ledger.after_pass(proposal)
        return PassOutcome(str(settings.config), proposal, desire, written, drift, view)

    def _write(self, desire: DesiredState) -> tuple[Proposal, bool]:
        ledger = self.ledger
        state = State() if ledger.memory is None else ledger.memory.state
        proposals: list[Proposal] = []

        def change(content: bytes) -> bytes:
            proposal = desire.propose(content, proposer=self._proposer)
            proposals.append(proposal)
            if proposal.after is proposal.before:
                return content
            ledger.before_write(proposal, to_file=True)
            return proposal.after.content

        try:
            written = self._store.update(change)
        except BaseException:
            ledger.take_back(state)
            raise
        return proposals[-1], written


def reconcile_once(
    settings: ReconcilerSettings,
    inventory: Inventory,
    now: datetime,
    environment: dict[str, str],
    *,
    dry_run: bool,
    ledger: PassRecorder | None = None,
) -> PassOutcome:
    """Bring the document in line with the inventory, once.

    `now` (aware) decides whether a schedule ever fires; `environment` is where `env:`
    secret references are looked up. Without a memory in the `ledger` orphans are only
    reported. Raises SidecarError when the pass is void.
    """
    reconciler = Reconciler(settings, environment, ledger)
    if dry_run:
        return reconciler.preview(settings, inventory, now)
    return reconciler.run(settings, inventory, now)


def read_document(path: Path) -> Document:
    """Read a document; raises StoreError or DocumentError, both naming the file."""
    content = Store(path).read().content
    with naming(path):
        return parse_document(content)


def with_secrets(
    settings: ReconcilerSettings,
    inventory: Inventory,
    environment: dict[str, str],
    memo: ItemMemo[Container, frozenset[str]] | None = None,
) -> Policy:
    """Complete the policy by the secrets that labels refer to."""
    memo = memo or memo_of_references(settings.policy.label_prefix)
    references = frozenset[str]().union(*memo.recall_all(inventory.containers))
    if not references:
        return settings.policy
    found = read_secrets(references, settings.secrets_dir, environment)
    return replace(settings.policy, secrets=found)


def memo_of_references(label_prefix: str) -> ItemMemo[Container, frozenset[str]]:
    """Remember the secret references of each container."""
    return ItemMemo(partial(_references, prefix=label_prefix))


def _references(container: Container, prefix: str) -> frozenset[str]:
    labels = container.labels.items()
    own = ((name.removeprefix(prefix), value) for name, value in labels if name.startswith(prefix))
    return frozenset(find_references(own))


def log_outcome(outcome: PassOutcome, event: str, level: int) -> None:
    """Log a pass: each plan, and the whole as `event` at `level`; drift is the ledger's."""
    changes = outcome.proposal.changes
    for plan_id in (*(plan.id for plan in changes.added), *changes.updated):
        log_event(_log, logging.INFO, "plan.rendered", plan=plan_id, changed=True)
    for plan_id in changes.removed:
        log_event(_log, logging.WARNING, "plan.removed", plan=plan_id)
    if _log.isEnabledFor(logging.DEBUG):
        for plan_id in changes.unchanged:
            log_event(_log, logging.DEBUG, "plan.rendered", plan=plan_id, changed=False)
    if outcome.written:
        log_event(_log, logging.INFO, "config.write", config=outcome.config)
    log_event(
        _log,
        level,
        event,
        added=len(changes.added),
        updated=len(changes.edits),
        orphaned=len(changes.orphaned),
        unchanged=len(changes.unchanged),
        problems=len(outcome.proposal.rendered.problems),
    )
