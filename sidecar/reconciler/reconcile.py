"""One pass: observe, propose, and unless it is a dry run replace the document.

`Reconciler` makes passes over inventories that it is given. `reconcile_now` and
`preview_now` make a single one, as the settings say.
"""

import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from sidecar.backrest.document import Document, PlanEdit, parse_document
from sidecar.backrest.plan import Plan
from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import Inventory
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Severity
from sidecar.lib.errors import StoreError, UsageError
from sidecar.lib.log import log_event
from sidecar.planner.drift import Drift
from sidecar.planner.lifecycle import Ageing
from sidecar.planner.propose import DesiredState, Planner, Proposal
from sidecar.reconciler.apply.first_run import period_of
from sidecar.reconciler.backrest_view import HOST_VIEW, BackrestView, resolve_backrest_view
from sidecar.reconciler.init import render_document
from sidecar.reconciler.links import with_links, with_source_links
from sidecar.reconciler.observe import observe_docker, read_files
from sidecar.reconciler.recorder import (
    PassRecorder,
    confirm_docker,
    history_of,
    is_based_on,
    read_quiesced,
    with_last_known_images,
)
from sidecar.reconciler.secrets import secret_references, with_secrets
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory, State
from sidecar.reconciler.store.read import naming
from sidecar.reconciler.store.replace import Replacement, Store

_ATTEMPTS = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PassOutcome:
    """What a pass did: `written` is False for a dry run and when nothing changed.

    `drift` is what it put back, `backrest` what Backrest was seen to have mounted, `state`
    what is remembered: nothing where the containers come from files.
    """

    config: str
    proposal: Proposal
    desired: DesiredState
    written: bool
    drift: tuple[Drift, ...] = ()
    backrest: BackrestView = HOST_VIEW
    state: State = field(default_factory=State)

    @property
    def policy(self) -> Policy:
        """The policy that the plans were rendered by."""
        return self.desired.policy

    @property
    def changed(self) -> bool:
        """Whether the document was, or would be, changed."""
        return self.proposal.after is not self.proposal.before

    @property
    def never_run(self) -> tuple[str, ...]:
        """The plans of workloads with a pause that are not known to have run.

        Backrest counts the pause of such a plan from its own start.
        """
        known = self.state.first_runs
        plans = self.proposal.after.plans
        return tuple(
            item.plan_id
            for item in self.proposal.rendered.workloads
            if item.plan_id in plans and period_of(plans[item.plan_id].get("schedule"))
            if item.plan_id not in known or not known[item.plan_id].is_over
        )

    @property
    def ageing(self) -> Ageing:
        """Which plans are orphans, and since when; empty where orphans are only reported."""
        return self.proposal.ageing or Ageing()

    @property
    def has_serious_problems(self) -> bool:
        """Whether a labelled workload has an error or gets less than was asked."""
        return any(
            problem.severity is not Severity.WARNING for problem in self.proposal.rendered.problems
        )


class Reconciler:
    """Makes passes over one document, and keeps between them what saves work.

    `environment` is where `env:` secret references are looked up. Where the inventories do
    not come from Docker (not `is_from_docker`), they say nothing about what is gone: orphans
    are only reported, and no plan is followed over time.
    """

    def __init__(
        self,
        settings: ReconcilerSettings,
        environment: dict[str, str],
        recorder: PassRecorder,
        *,
        is_from_docker: bool = True,
    ) -> None:
        self.recorder = recorder
        self.is_from_docker = is_from_docker
        self._memory = recorder.memory
        self._environment = environment
        self._planner = Planner()
        self._policy = Policy()
        self._references = secret_references(settings.policy.label_prefix)
        self._store = Store(settings.config, settings.config_mode)

    def is_own_write(self, state: tuple[int, ...]) -> bool:
        """Return whether a document of this state is our last write; see `Store`."""
        return self._store.is_last_write(state)

    def confirm_docker(self, settings: ReconcilerSettings, docker_id: str) -> None:
        """Raise InventoryError, so that the pass is void, when this is another Docker."""
        if not docker_id or docker_id == self._memory.refresh().engine_id:
            return
        prefix = settings.policy.plan_id_prefix
        accept = settings.lifetime.accept_engine
        plans = parse_document(self._store.read().content).plans
        guards = any(plan_id.startswith(prefix) for plan_id in plans)
        confirm_docker(self._memory, docker_id, guards=guards, accept=accept)

    def desired_state(
        self, settings: ReconcilerSettings, inventory: Inventory, now: datetime
    ) -> tuple[DesiredState, BackrestView]:
        """Gather all that a proposal depends on; `now` is aware."""
        memory, state = self._memory, self._memory.refresh()
        view = resolve_backrest_view(
            inventory, settings, state.runner, from_docker=self.is_from_docker
        )
        policy = with_secrets(settings, inventory, self._environment, self._references)
        if policy != self._policy:
            self._policy = policy
        history = None
        if self.is_from_docker:
            prefix = settings.policy.label_prefix
            inventory = with_last_known_images(memory, inventory, prefix)
            inventory = with_links(inventory, self._policy, settings.source.docker_sock)
            if view.seen is not None:
                memory.change(runner=view.seen)
            quiesced = read_quiesced(settings.config)
            contested = self.recorder.watch.contested
            history = history_of(
                state, settings.lifetime, contested, quiesced, may_disable=memory.is_saved
            )
        desired = DesiredState(
            inventory,
            self._policy,
            now,
            runner_mounts=view.mounts,
            accept_version=settings.accept_version,
            history=history,
        )
        return desired, view

    def preview(
        self, settings: ReconcilerSettings, inventory: Inventory, now: datetime
    ) -> PassOutcome:
        """Return what a pass would do; write and remember nothing. Raises SidecarError."""
        desired, view = self.desired_state(settings, inventory, now)
        return self._previewed(settings, desired, view, self._store.read().content)

    def preview_new(
        self, settings: ReconcilerSettings, inventory: Inventory, now: datetime
    ) -> PassOutcome:
        """Return what a first pass would write into the document that `init` makes.

        A Backrest that was never seen is taken to see what the host sees, as it will in
        compose.yaml. Raises SidecarError.
        """
        desired, view = self.desired_state(settings, inventory, now)
        if view.is_awaited:
            desired, view = replace(desired, runner_mounts=HOST_VIEW.mounts), HOST_VIEW
        content = render_document("/repository", "none", "default", "new")
        return self._previewed(settings, desired, view, content)

    def _previewed(
        self,
        settings: ReconcilerSettings,
        desired: DesiredState,
        view: BackrestView,
        content: bytes,
    ) -> PassOutcome:
        proposal = self._propose(content, desired)
        if self.is_from_docker:
            sock = settings.source.docker_sock
            inventory = with_source_links(
                desired.inventory, proposal.rendered, desired.policy, sock, desired.runner_mounts
            )
            if inventory is not desired.inventory:
                desired = replace(desired, inventory=inventory)
                proposal = self._propose(content, desired)
        return self._outcome(settings, proposal, desired, view)

    def run(self, settings: ReconcilerSettings, inventory: Inventory, now: datetime) -> PassOutcome:
        """Make one pass. Raises SidecarError when it is void: then nothing is written."""
        desired, view = self.desired_state(settings, inventory, now)
        for notice in self._store.recover():
            _log.warning("%s", notice)
        for attempt in range(_ATTEMPTS):
            # Whoever came too late once has a turn of its own: see `Store.turn`.
            with self._turns() if attempt else nullcontext():
                if attempt:
                    # Another sidecar that came first has also changed what is remembered.
                    desired, view = self.desired_state(settings, inventory, now)
                outcome = self._attempt(settings, desired, view)
            if outcome is not None:
                return outcome
        raise StoreError(
            f"{settings.config} was saved by another program during each of {_ATTEMPTS} attempts",
            "try again when it has finished",
        )

    @contextmanager
    def _turns(self) -> Iterator[None]:
        with self._memory.turn(), self._store.turn():
            yield

    def _attempt(
        self, settings: ReconcilerSettings, desired: DesiredState, view: BackrestView
    ) -> PassOutcome | None:
        """Read, propose and write.

        None where somebody saved meanwhile, or another sidecar has changed what is remembered.
        """
        stored = self._store.read()
        proposal = self._propose(stored.content, desired)
        content = proposal.after.content
        is_written = content != stored.content
        with self._memory.turn() as state:
            if not is_based_on(desired.history, state):
                return None
            if is_written:
                with self.recorder.writing(proposal, to_file=True) as write:
                    if self._store.replace(stored, content) is Replacement.CHANGED:
                        return None
                    drift = write.confirm()
            else:
                drift = self.recorder.confirm(proposal)
        return self._outcome(settings, proposal, desired, view, drift, written=is_written)

    def _propose(self, content: bytes, desired: DesiredState) -> Proposal:
        with naming(self._store.path):
            return self._planner.propose(content, desired)

    def _outcome(
        self,
        settings: ReconcilerSettings,
        proposal: Proposal,
        desired: DesiredState,
        view: BackrestView,
        drift: tuple[Drift, ...] = (),
        *,
        written: bool = False,
    ) -> PassOutcome:
        state = self._memory.state if self.is_from_docker else State()
        return PassOutcome(str(settings.config), proposal, desired, written, drift, view, state)


def reconcile_now(
    settings: ReconcilerSettings, now: datetime, environment: dict[str, str], *, dry_run: bool
) -> PassOutcome:
    """Reconcile once, as the settings say; `now` is aware. Raises SidecarError if it is void.

    A saved list or a Compose file says nothing about what is gone: then orphans are only
    reported, and nothing is remembered. A dry run that asks Docker needs no document: before
    `init` made one it shows what a first pass would write.
    """
    reconciler, settings, inventory = _observe(settings, environment, read_only=dry_run)
    _check_take_over(settings, is_from_docker=reconciler.is_from_docker)
    if dry_run and reconciler.is_from_docker and is_absent(settings.config):
        _log.warning(
            "there is no document %s yet; shown is what would be written into the one that "
            "`backrest-sidecar init` makes",
            settings.config,
        )
        outcome = reconciler.preview_new(settings, inventory, now)
    elif dry_run:
        outcome = reconciler.preview(settings, inventory, now)
    else:
        outcome = reconciler.run(settings, inventory, now)
    event = "dry-run.complete" if dry_run else "reconcile.complete"
    log_outcome(outcome, event, logging.INFO)
    return outcome


def _check_take_over(settings: ReconcilerSettings, *, is_from_docker: bool) -> None:
    """Raise UsageError where a plan cannot be handed over."""
    wanted = settings.lifetime.take_over
    if wanted and not is_from_docker:
        raise UsageError(
            "--take-over needs Docker: saved lists and Compose files change no owner",
            "leave out --inventory and --compose",
        )
    if unknown := sorted(wanted - read_document(settings.config).plans.keys() if wanted else ()):
        raise UsageError(
            f"--take-over {unknown[0]}: there is no such plan in {settings.config}",
            "write the id of a standing plan, as `backrest-sidecar status` shows it",
        )


def preview_now(
    settings: ReconcilerSettings,
    now: datetime,
    environment: dict[str, str],
    *,
    read_only: bool = True,
) -> PassOutcome:
    """Return what a pass would do now; write and log nothing.

    Not `read_only`: the desired state may be applied afterwards, so what has to be
    remembered of it is. Raises SidecarError where a pass would be void.
    """
    reconciler, settings, inventory = _observe(settings, environment, read_only=read_only)
    return reconciler.preview(settings, inventory, now)


def _observe(
    settings: ReconcilerSettings, environment: dict[str, str], *, read_only: bool
) -> tuple[Reconciler, ReconcilerSettings, Inventory]:
    """Observe once; return a reconciler for what was observed, and the completed settings."""
    if (observed := read_files(settings)) is not None:
        # What Backrest sees does not depend on where the containers are read from.
        recorder = PassRecorder(Memory(settings.state_directory, read_only=True))
        reconciler = Reconciler(observed.settings, environment, recorder, is_from_docker=False)
        return reconciler, observed.settings, observed.inventory
    memory = Memory(settings.state_directory, read_only=read_only)
    recorder = PassRecorder(memory, is_applied=True)
    with DockerInventory(settings.source.docker_sock) as docker:
        observed = observe_docker(docker, settings)
        docker_id = docker.identity()
    reconciler = Reconciler(observed.settings, environment, recorder)
    # Without a document there are no plans that another Docker could say anything about.
    if not (read_only and is_absent(settings.config)):
        reconciler.confirm_docker(observed.settings, docker_id)
    return reconciler, observed.settings, observed.inventory


def is_absent(path: Path) -> bool:
    """Return whether the directory of a document is there, and nothing has the document's name."""
    return path.parent.is_dir() and not os.path.lexists(path)


def read_document(path: Path) -> Document:
    """Read a document; raises StoreError or DocumentError, both naming the file."""
    content = Store(path).read().content
    with naming(path):
        return parse_document(content)


def log_outcome(
    outcome: PassOutcome, event: str, level: int, logged: Collection[Plan | PlanEdit] = ()
) -> None:
    """Log a pass: each plan, and the whole as `event` at `level`; the recorder logs drift.

    `logged`: new plans and edits that wait to be written, and were logged by an earlier pass.
    """
    changes = outcome.proposal.changes
    news: tuple[Plan | PlanEdit, ...] = (*changes.added, *changes.edits)
    for item in news:
        if item not in logged:
            log_event(_log, logging.INFO, "plan.rendered", plan=item.id, changed=True)
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
