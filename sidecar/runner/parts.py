"""Assemble the parts of a runner from its settings."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from sidecar.docker.client import DockerClient
from sidecar.docker.containers import Containers
from sidecar.docker.one_shot import OneShotDocker
from sidecar.docker.own_container import own_container_id
from sidecar.engines.base import Engine, Engines, LockRecords
from sidecar.engines.locking import Locking
from sidecar.engines.options import CommandTimeouts
from sidecar.engines.registry import all_engines
from sidecar.engines.restic import ResticOptions
from sidecar.lib.process import ProcessRunner
from sidecar.lib.zones import local_zone
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Job, JobKind, Scheduler
from sidecar.runner.empty_source import EmptySourceGuard
from sidecar.runner.execution import Execution
from sidecar.runner.gate import RepositoryGate
from sidecar.runner.hooks.resume import MarkerResumer
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.leftover_processes import marked
from sidecar.runner.job.report import RunReporter
from sidecar.runner.job.running import RunningPlans
from sidecar.runner.job.session import Session, SessionOptions
from sidecar.runner.job.steps import Programs
from sidecar.runner.job.upkeep import Prober
from sidecar.runner.job.worker import JobStages
from sidecar.runner.journal import Journal
from sidecar.runner.leftovers import Leftovers
from sidecar.runner.lock import SchedulerLock, refuse_beside_backrest, refuse_beside_container
from sidecar.runner.lock_records import JournalLockRecords
from sidecar.runner.maintenance import Probing
from sidecar.runner.notify.delivery import DeliveryQueue
from sidecar.runner.notify.notices import RunNotifier
from sidecar.runner.notify.sender import ProcessSender
from sidecar.runner.plan_turns import PlanTurns
from sidecar.runner.pool import QueueRules
from sidecar.runner.repositories import Initialiser, KnownRepositories, RepositoryKeys
from sidecar.runner.retries import RetryRules
from sidecar.runner.settings import JOURNAL, RunnerSettings, environment_of
from sidecar.runner.union import DocumentChoice, Documents

_OF_PLANS = frozenset({JobKind.BACKUP, JobKind.RESTORE})


@contextmanager
def lock_scheduler(
    settings: RunnerSettings, environ: Mapping[str, str], purpose: str
) -> Iterator[None]:
    """Hold the right to execute the documents, for the block.

    Raises Locked if another runner has it, or if Backrest runs and `config.json` is executed.
    """
    files, neighbour = settings.files, settings.neighbour
    with SchedulerLock(files.locked_folders, purpose, settings.state_dir):
        if files.choice is DocumentChoice.RUNNER:
            yield
            return
        # What Backrest has open it executes, whatever the operator believes.
        refuse_beside_backrest(settings.config, neighbour.data, environ)
        if neighbour.has_docker and not neighbour.force:
            with Containers(DockerClient(neighbour.docker_sock, 5, environ)) as containers:
                refuse_beside_container(neighbour.container, partial(_runs, containers))
        yield


@contextmanager
def open_docker(
    settings: RunnerSettings, environ: Mapping[str, str]
) -> Iterator[OneShotDocker | None]:
    """Return Docker for the block; None where the settings say that there is none."""
    if not settings.neighbour.has_docker:
        yield None
        return
    with OneShotDocker(DockerClient(settings.neighbour.docker_sock, environ=environ)) as opened:
        yield opened


def _connection(
    settings: RunnerSettings, environ: Mapping[str, str]
) -> Callable[[], DockerClient] | None:
    """Return what connects to Docker; None where the settings say that there is none."""
    neighbour = settings.neighbour
    if not neighbour.has_docker:
        return None
    return lambda: DockerClient(neighbour.docker_sock, environ=environ)


def _runs(containers: Containers, name: str) -> bool:
    """Return whether a container runs that is not our own, which may have Backrest's old name."""
    found, own = containers.find(name), own_container_id()
    return found is not None and found.is_at_work and not (own and found.id.startswith(own))


def engine_options(
    settings: RunnerSettings, environ: Mapping[str, str], records: LockRecords | None = None
) -> ResticOptions:
    """Return how engines run; `records` tells which locks programs of ours left; None: nobody."""
    running = settings.running
    return ResticOptions(
        environ,
        running.on_missing,
        CommandTimeouts(stall=running.stall_timeout),
        Locking(records=records),
        running.restic,
    )


def make_engine(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    documents: Documents,
    repo: str,
    records: LockRecords | None = None,
) -> Engine:
    """Make the engine of a repository; raises UsageError if there is none such, or no engine.

    Its programs do not have the mark by which a daemon that starts knows what it has to end.
    `records` tells which locks programs of ours have left; None: nobody knows.
    """
    found = documents.find_repo(repo)
    programs = ProcessRunner(environment_of(environ))
    return all_engines(programs, engine_options(settings, environ, records)).make(found)


@dataclass(frozen=True, slots=True)
class DocumentRules(QueueRules):
    """The rules of the queue by the document that is executed."""

    document: ExecutedDocument
    keys: RepositoryKeys
    prober: Prober
    plans: RunningPlans
    locks: PlanTurns

    def lock_keys(self, job: Job) -> frozenset[str]:
        """Return what tells a job's repository from others, whatever it is called.

        And the plan, of which one run at a time is enough while it moves from one to another.
        """
        keys = self.keys.of(job)
        return keys | {f"plan {job.subject}"} if job.kind in _OF_PLANS else keys

    def containers(self, job: Job) -> frozenset[str]:
        """Return the containers that hooks around a job are known to stop."""
        return self.document.now.containers(job)

    def is_held(self, job: Job) -> bool:
        """Return whether the plan of a job is being restored by a command."""
        return job.kind in _OF_PLANS and self.locks.is_held(job.subject)

    def has_resumed(self, job: Job) -> bool:
        """Return whether a job that runs has started again what its hooks stopped."""
        return self.plans.is_sealed(job.subject)

    def is_away(self, job: Job) -> bool:
        """Return whether the repository of a job was last seen out of reach."""
        return self.prober.is_away(job.repo)


@dataclass(frozen=True, slots=True)
class RunnerParts:
    """A runner's parts; whoever makes its threads or runs jobs gives each those that it needs.

    Attributes:
        execution: what is executed, when it is due, and how it went.
        stages: what a job goes through.
        rules: which job of the queue may run.
        probing: looks after repositories beside the runs.
        leftovers: what processes that died have left.
        delivery: sends notifications.
    """

    execution: Execution
    stages: JobStages
    rules: DocumentRules
    probing: Probing
    leftovers: Leftovers
    delivery: DeliveryQueue


@contextmanager
def assemble(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    documents: Documents | None = None,
    *,
    for_daemon: bool = False,
    retries: bool = True,
) -> Iterator[RunnerParts]:
    """Assemble all parts, for the block; `documents` are what is executed, if known by then.

    For `for_daemon` see `Journal`. Without `retries` nothing is tried again.
    """
    state = settings.state_directory
    inherited = environment_of(environ)
    runner, cleanup, probes = (ProcessRunner(marked(inherited, state)) for _ in range(3))
    zone, _ = local_zone(environ)
    with ExitStack() as stack:
        journal = stack.enter_context(
            Journal(state / JOURNAL, settings.journal_keep, for_daemon=for_daemon)
        )
        delivery = stack.enter_context(
            DeliveryQueue(
                journal, ProcessSender(ProcessRunner(inherited)), urls=settings.notifying.urls
            )
        )
        containers = stack.enter_context(open_docker(settings, environ))
        records = stack.enter_context(JournalLockRecords(journal))
        document = ExecutedDocument(documents)
        known = KnownRepositories(journal, document)
        shared = engine_options(settings, environ, records)
        engines, last_engines, probing = (
            all_engines(starter, shared) for starter in (runner, cleanup, probes)
        )

        def programs(engines: Engines, starter: ProcessRunner) -> Programs:
            timeout = settings.running.hook_timeout
            hooks = HookRunner(starter, settings.config_of_hooks, delivery, timeout, zone)
            return Programs(engines, hooks)

        notifying = settings.notifying
        announcer = RunNotifier(notifying.urls, notifying.on, socket.gethostname(), delivery)
        reporter = RunReporter(state, zone, journal, announcer)
        emptiness = EmptySourceGuard(journal, engines, document, containers, settings.emptiness)
        initialiser = Initialiser(known, probing, environ)
        prober = Prober(probing, known)
        plans = RunningPlans()
        scheduler = Scheduler(zone)
        options = SessionOptions(
            on_purpose=settings.emptiness.on_purpose,
            lock_wait=settings.running.lock_wait,
            plans=plans,
            retries=RetryRules(scheduler, document, is_possible=retries),
            workloads=settings.workloads_file,
        )
        session = Session(
            journal,
            programs(engines, runner),
            programs(last_engines, cleanup),
            reporter,
            options,
        )
        gate = RepositoryGate(prober, initialiser, environ)
        resumer = MarkerResumer(settings.marker_folders, _connection(settings, environ), plans)
        yield RunnerParts(
            Execution(document, scheduler, journal, reporter),
            JobStages(gate, emptiness, session, (runner, probes)),
            DocumentRules(
                document,
                RepositoryKeys(document, known, environ),
                prober,
                plans,
                PlanTurns(state),
            ),
            Probing(prober, initialiser, probing, probes),
            Leftovers(journal, document, session, containers, resumer),
            delivery,
        )
