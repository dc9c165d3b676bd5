"""One pass: observe, propose, and unless it is a dry run replace the document.

`Reconciler` makes passes over inventories that it is given. `reconcile_now` and
`preview_now` make a single one, as the settings say.
"""

import logging
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from sidecar.backrest.document import Document, PlanEdit, parse_document
from sidecar.backrest.jsontext import Object
from sidecar.backrest.plan import Plan
from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import Inventory
from sidecar.labels.policy import Policy
from sidecar.labels.problem import Severity
from sidecar.lib.errors import DocumentError, StoreError, UsageError
from sidecar.lib.log import log_event
from sidecar.planner.documents import RunnerDocumentError
from sidecar.planner.drift import Drift
from sidecar.planner.lifecycle import Ageing
from sidecar.planner.propose import DesiredState, Planner, Proposal
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
from sidecar.reconciler.runner_document import (
    NO_CONFIG,
    RunnerFile,
    RunnerVersion,
    has_let_go,
    is_absent,
    is_without_config,
    read_runner_document,
)
from sidecar.reconciler.secrets import secret_references, with_secrets
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory, State
from sidecar.reconciler.store.read import Stored, naming
from sidecar.reconciler.store.replace import Replacement, Store
from sidecar.reconciler.workloads_file import WorkloadsFile
from sidecar.schedule.parse import period_of

_ATTEMPTS = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PassOutcome:
    """What a pass did: `written` names the documents, none for a dry run or where nothing changed.

    `runner_config` names the runner's document, empty where there is none.
    `drift` is what it put back, `backrest` what Backrest was seen to have mounted, `state`
    what is remembered: nothing where the containers come from files.
    """

    config: str
    proposal: Proposal
    desired: DesiredState
    written: tuple[str, ...] = ()
    drift: tuple[Drift, ...] = ()
    backrest: BackrestView = HOST_VIEW
    state: State = field(default_factory=State)
    runner_config: str = ""

    @property
    def policy(self) -> Policy:
        """The policy that the plans were rendered by."""
        return self.desired.policy

    @property
    def changed(self) -> bool:
        """Whether the document was, or would be, changed."""
        return self.proposal.changed

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
        self._runner = RunnerFile(settings, self._store)
        self._workloads = WorkloadsFile(self._memory)

    def is_own_write(self, state: tuple[int, ...]) -> bool:
        """Return whether a document of this state is our last write; see `Store`."""
        return self._store.is_last_write(state) or self._runner.store.is_last_write(state)

    def confirm_docker(self, settings: ReconcilerSettings, docker_id: str) -> None:
        """Raise InventoryError, so that the pass is void, when this is another Docker."""
        if not docker_id or docker_id == self._memory.refresh().engine_id:
            return
        prefix = settings.policy.plan_id_prefix
        accept = settings.lifetime.accept_engine
        runner = self._runner.read()
        plans = {*parse_document(self._read_config(runner).content).plans}
        plans |= {*(runner.document.plans if runner is not None else ())}
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
        runner = self._runner.read()
        content = self._read_config(runner).content
        return self._previewed(settings, desired, view, content, runner)

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
        return self._previewed(settings, desired, view, content, self._runner.read())

    def _previewed(
        self,
        settings: ReconcilerSettings,
        desired: DesiredState,
        view: BackrestView,
        content: bytes,
        runner: RunnerVersion | None,
    ) -> PassOutcome:
        desired = _with_runner(desired, runner)
        proposal, desired = self._proposed(settings, content, desired)
        if self.is_from_docker:
            sock = settings.source.docker_sock
            inventory = with_source_links(
                desired.inventory, proposal.rendered, desired.policy, sock, desired.runner_mounts
            )
            if inventory is not desired.inventory:
                desired = replace(desired, inventory=inventory)
                proposal = self._propose(content, desired)
        return self._outcome(settings, proposal, desired, view)

    def run_beside_writer(
        self, settings: ReconcilerSettings, inventory: Inventory, now: datetime
    ) -> PassOutcome:
        """Make one pass while Backrest is the writer of config.json: only the other is written.

        Raises SidecarError when it is void.
        """
        outcome = self._run_beside_writer(settings, inventory, now)
        self._workloads.update(outcome.proposal, outcome.desired)
        return outcome

    def _run_beside_writer(
        self, settings: ReconcilerSettings, inventory: Inventory, now: datetime
    ) -> PassOutcome:
        for _ in range(_ATTEMPTS):
            desired, view = self.desired_state(settings, inventory, now)
            runner = self._runner.read()
            content = self._read_config(runner).content
            outcome = self._previewed(settings, desired, view, content, runner)
            if runner is None or not outcome.proposal.changes_runner:
                return outcome
            drift = self._write_runner(runner, outcome.proposal)
            if drift is not None:
                # From now on Backrest's document is compared with this one.
                desired = replace(outcome.desired, runner=_runner_after(outcome.proposal))
                written = (str(settings.runner_document),)
                return replace(outcome, desired=desired, drift=drift, written=written)
        raise _saved_too_often(settings.runner_document)

    def run(self, settings: ReconcilerSettings, inventory: Inventory, now: datetime) -> PassOutcome:
        """Make one pass. Raises SidecarError when it is void: then nothing is written."""
        outcome = self._run(settings, inventory, now)
        self._workloads.update(outcome.proposal, outcome.desired)
        return outcome

    def _run(
        self, settings: ReconcilerSettings, inventory: Inventory, now: datetime
    ) -> PassOutcome:
        desired, view = self.desired_state(settings, inventory, now)
        for store in (self._store, self._runner.store):
            if store is self._store or os.path.lexists(store.path):
                for notice in store.recover():
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
        raise _saved_too_often(settings.config)

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
        runner = self._runner.read()
        stored = self._read_config(runner)
        desired = _with_runner(desired, runner)
        proposal, desired = self._proposed(settings, stored.content, desired)
        with self._memory.turn() as state:
            if not is_based_on(desired.history, state):
                return None
            done = self._write(settings, runner, stored, proposal)
        if done is None:
            return None
        written, drift = done
        return self._outcome(settings, proposal, desired, view, drift, written)

    def _write(
        self,
        settings: ReconcilerSettings,
        runner: RunnerVersion | None,
        stored: Stored,
        proposal: Proposal,
    ) -> tuple[tuple[str, ...], tuple[Drift, ...]] | None:
        """Write what has changed; return which documents, and what that put back.

        A plan that moves to the runner's document has to stand there before it leaves config.json;
        one that comes from there is only removed when it stands in config.json already. So the
        order is always the same. None where somebody saved meanwhile.
        """
        content = proposal.after.content
        if content == stored.content and not proposal.changes_runner:
            return (), self.recorder.confirm(proposal)
        written: tuple[str, ...] = ()
        drift: tuple[Drift, ...] = ()
        if runner is not None and proposal.changes_runner:
            found = self._write_runner(runner, proposal)
            if found is None:
                return None
            drift, written = found, (str(settings.runner_document),)
        part = proposal.of_config()
        if content == stored.content:
            return written, (*drift, *self.recorder.confirm(part))
        with self.recorder.writing(part, to_file=True) as write:
            if self._store.replace(stored, content) is Replacement.CHANGED:
                return None
            drift += write.confirm()
        return (*written, str(settings.config)), drift

    def _write_runner(self, runner: RunnerVersion, proposal: Proposal) -> tuple[Drift, ...] | None:
        """Write the runner's document; return what that put back, None where somebody saved."""
        with self.recorder.writing(proposal.of_runner(), to_file=False) as write:
            after = _runner_after(proposal) or runner.document
            if self._runner.replace(runner, after) is Replacement.CHANGED:
                return None
            return write.confirm()

    def _read_config(self, runner: RunnerVersion | None) -> Stored:
        """Read config.json; where there is only a runner's document, it has no repository."""
        if runner is not None and is_without_config(self._store.path):
            return Stored(NO_CONFIG, runner.stored.identity)
        return self._store.read()

    def _proposed(
        self,
        settings: ReconcilerSettings,
        content: bytes,
        desired: DesiredState,
    ) -> tuple[Proposal, DesiredState]:
        """Return a proposal, and the state with the plans that may end their move now."""
        proposal = self._propose(content, desired)
        placement = proposal.placement
        if not placement.awaited or not self.is_from_docker:
            return proposal, desired
        state, now = self._memory.state, desired.now.timestamp()
        if not has_let_go(settings, state, placement, now):
            return proposal, desired
        desired = replace(desired, settled=placement.awaited)
        return self._propose(content, desired), desired

    def _propose(self, content: bytes, desired: DesiredState) -> Proposal:
        try:
            return self._planner.propose(content, desired)
        except DocumentError as error:
            is_runners = isinstance(error, RunnerDocumentError)
            path = self._runner.store.path if is_runners else self._store.path
            raise DocumentError(f"{path}: {error.message}", error.hint) from None

    def _outcome(
        self,
        settings: ReconcilerSettings,
        proposal: Proposal,
        desired: DesiredState,
        view: BackrestView,
        drift: tuple[Drift, ...] = (),
        written: tuple[str, ...] = (),
    ) -> PassOutcome:
        state = self._memory.state if self.is_from_docker else State()
        runner = "" if desired.runner is None else str(settings.runner_document)
        return PassOutcome(
            str(settings.config), proposal, desired, written, drift, view, state, runner
        )


def _with_runner(desired: DesiredState, runner: RunnerVersion | None) -> DesiredState:
    document = None if runner is None else runner.document
    return desired if document is desired.runner else replace(desired, runner=document)


def _runner_after(proposal: Proposal) -> Document | None:
    return None if proposal.runner is None else proposal.runner.after


def _saved_too_often(path: Path) -> StoreError:
    return StoreError(
        f"{path} was saved by another program during each of {_ATTEMPTS} attempts",
        "try again when it has finished",
    )


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
    if dry_run and reconciler.is_from_docker and _has_no_document(settings):
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
    if unknown := sorted(wanted - read_plans(settings).keys() if wanted else ()):
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
    if not (read_only and _has_no_document(settings)):
        reconciler.confirm_docker(observed.settings, docker_id)
    return reconciler, observed.settings, observed.inventory


def read_plans(settings: ReconcilerSettings) -> Mapping[str, Object]:
    """Read the plans that stand in the documents, by id; raises StoreError or DocumentError.

    Of one that stands in both, that of config.json counts.
    """
    runner = read_runner_document(settings)
    if runner is None:
        return read_document(settings.config).plans
    if is_without_config(settings.config):
        return runner.plans
    return {**runner.plans, **read_document(settings.config).plans}


def _has_no_document(settings: ReconcilerSettings) -> bool:
    return is_absent(settings.config) and is_absent(settings.runner_document)


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
    changes = outcome.proposal.all_changes
    news: tuple[Plan | PlanEdit, ...] = (*changes.added, *changes.edits)
    for item in news:
        if item not in logged:
            log_event(_log, logging.INFO, "plan.rendered", plan=item.id, changed=True)
    for plan_id in changes.removed:
        log_event(_log, logging.WARNING, "plan.removed", plan=plan_id)
    if _log.isEnabledFor(logging.DEBUG):
        for plan_id in changes.unchanged:
            log_event(_log, logging.DEBUG, "plan.rendered", plan=plan_id, changed=False)
    for plan_id in sorted(outcome.proposal.placement.ended):
        log_event(_log, logging.INFO, "plan.moved", plan=plan_id)
    for config in outcome.written:
        log_event(_log, logging.INFO, "config.write", config=config)
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
