"""Assemble the parts of a runner from its settings."""

import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from sidecar.backrest.reading import Config
from sidecar.docker.client import DockerClient
from sidecar.docker.containers import Containers
from sidecar.docker.one_shot import OneShotDocker
from sidecar.docker.own_container import own_container_id
from sidecar.engines.base import LockRecords
from sidecar.engines.restic import CommandTimeouts, Locking, ResticEngines, ResticOptions
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.lib.process import ProcessRunner
from sidecar.lib.zones import local_zone
from sidecar.runner.document import ExecutedDocument
from sidecar.runner.due import Job, Scheduler
from sidecar.runner.empty_source import EmptySourceGuard
from sidecar.runner.gate import RepositoryGate
from sidecar.runner.hooks.resume import MarkerResumer
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.leftover_processes import marked
from sidecar.runner.job.report import RunReporter
from sidecar.runner.job.running import RunningPlans
from sidecar.runner.job.session import Session, SessionOptions
from sidecar.runner.job.steps import Programs
from sidecar.runner.job.upkeep import Prober
from sidecar.runner.journal import Journal, Run
from sidecar.runner.lock import SchedulerLock, refuse_beside_backrest, refuse_beside_container
from sidecar.runner.lock_records import JournalLockRecords
from sidecar.runner.notify.delivery import DeliveryQueue
from sidecar.runner.notify.notices import RunNotifier
from sidecar.runner.notify.sender import ProcessSender
from sidecar.runner.once.leftover import recover_leftovers
from sidecar.runner.pool import QueueRules
from sidecar.runner.quiesce import Wait, while_nobody_stops
from sidecar.runner.repositories import Initialiser, KnownRepositories, RepositoryKeys
from sidecar.runner.retries import RetryRules
from sidecar.runner.settings import RunnerSettings, environment_of

JOURNAL = "journal.sqlite"
_log = logging.getLogger(__name__)


@contextmanager
def lock_scheduler(
    settings: RunnerSettings, environ: Mapping[str, str], purpose: str
) -> Iterator[None]:
    """Hold the right to execute the document, for the block.

    Raises Locked if another runner has it, or if Backrest runs.
    """
    with SchedulerLock(settings.config, purpose, settings.state_dir):
        neighbour = settings.neighbour
        if not neighbour.force:
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


def start_leftovers(
    docker: OneShotDocker | None,
    journal: Journal,
    wait: Wait | None = None,
    *,
    is_alone: bool = True,
) -> tuple[str, ...]:
    """Start what a process stopped which was killed; return a sentence for each that stays.

    For `wait` see `start_again`, for `is_alone` `recover_leftovers`. Raises DockerError or
    JournalError.
    """
    if docker is not None:
        return recover_leftovers(docker, journal, wait, is_alone=is_alone)
    reason = "could not be started: --docker-sock says that there is no Docker"
    return tuple(
        f"{one.name} is stopped and {reason}" for one in journal.containers.still_stopped()
    )


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
        running.restic,
        running.on_missing,
        CommandTimeouts(stall=running.stall_timeout),
        Locking(records=records),
    )


@dataclass(frozen=True, slots=True)
class DocumentRules(QueueRules):
    """The rules of the queue by the document that is executed."""

    document: ExecutedDocument
    keys: RepositoryKeys
    prober: Prober

    def lock_keys(self, job: Job) -> frozenset[str]:
        """Return what tells a job's repository from others, whatever it is called."""
        return self.keys.of(job)

    def containers(self, job: Job) -> frozenset[str]:
        """Return the containers that hooks around a job are known to stop."""
        return self.document.now.containers(job)

    def is_away(self, job: Job) -> bool:
        """Return whether the repository of a job was last seen out of reach."""
        return self.prober.is_away(job.repo)


@dataclass(frozen=True, slots=True)
class RunnerDependencies:
    """All parts that running a job needs.

    `runner` starts the programs of jobs and their START hooks, `probes` those that check
    repositories.
    """

    settings: RunnerSettings
    scheduler: Scheduler
    journal: Journal
    document: ExecutedDocument
    runner: ProcessRunner
    probes: ProcessRunner
    session: Session
    rules: DocumentRules
    initialiser: Initialiser
    prober: Prober
    gate: RepositoryGate
    emptiness: EmptySourceGuard
    containers: OneShotDocker | None
    delivery: DeliveryQueue
    reporter: RunReporter
    resumer: MarkerResumer

    def stop(self) -> None:
        """End the jobs that run; the hooks after them still run."""
        self.session.stop()
        self.runner.stop_all()
        self.probes.stop_all()

    def recover_leftovers(self) -> tuple[Run, ...]:
        """Finish the runs that a runner which died has left, and start what it stopped."""
        recovered = self.session.recover_runs(self.document.config)
        self.start_again(time.sleep)
        return recovered

    def start_again(self, wait: Wait | None = None) -> tuple[str, ...]:
        """Start what a process stopped which was killed, and what hooks have left stopped.

        What hooks of a run that is under way speak of stays stopped until that has saved. Returns a
        sentence for each that could not be started. For `wait` see `start_leftovers`.
        """
        try:
            left = self._start_leftovers(wait)
        except SidecarError as error:
            log_event(_log, logging.ERROR, "journal.unreadable", reason=error.message)
            left = ()
        with while_nobody_stops(self.journal.path.parent) as is_free:
            return (*left, *self._resume_markers()) if is_free else left

    def _start_leftovers(self, wait: Wait | None) -> tuple[str, ...]:
        names = tuple(one.name for one in self.journal.containers.still_stopped())
        with self.resumer.plans.unused("", *names) as is_free:
            return start_leftovers(self.containers, self.journal, wait) if is_free else ()

    def _resume_markers(self) -> tuple[str, ...]:
        try:
            return self.resumer.resume()
        except SidecarError as error:
            log_event(_log, logging.ERROR, "quiesced.unreadable", reason=error.message)
            return (f"what hooks have stopped cannot be started: {error.message}",)


@contextmanager
def assemble(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    config: Config | None = None,
    *,
    for_daemon: bool = False,
    retries: bool = True,
) -> Iterator[RunnerDependencies]:
    """Assemble all parts, for the block; `config` is the document, if it is known by then.

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
        document = ExecutedDocument(config)
        known = KnownRepositories(journal, document)
        shared = engine_options(settings, environ, records)
        engines, last_engines, probing = (
            ResticEngines(starter, shared) for starter in (runner, cleanup, probes)
        )

        def programs(engines: ResticEngines) -> Programs:
            timeout = settings.running.hook_timeout
            hooks = HookRunner(engines.runner, settings.config, delivery.post, timeout, zone)
            return Programs(engines, hooks)

        notifying = settings.notifying
        announcer = RunNotifier(notifying.urls, notifying.on, socket.gethostname(), delivery.post)
        reporter = RunReporter(state, zone, journal, announcer)
        emptiness = EmptySourceGuard(journal, engines, document, containers, settings.emptiness)
        initialiser = Initialiser(known, probing)
        prober = Prober(probing, known)
        plans = RunningPlans()
        scheduler = Scheduler(zone)
        options = SessionOptions(
            on_purpose=settings.emptiness.on_purpose,
            lock_wait=settings.running.lock_wait,
            plans=plans,
            retries=RetryRules(scheduler, document, is_possible=retries),
        )
        yield RunnerDependencies(
            settings=settings,
            scheduler=scheduler,
            journal=journal,
            document=document,
            runner=runner,
            probes=probes,
            session=Session(journal, programs(engines), programs(last_engines), reporter, options),
            rules=DocumentRules(document, RepositoryKeys(document, known, environ), prober),
            initialiser=initialiser,
            prober=prober,
            gate=RepositoryGate(prober, initialiser, environ),
            emptiness=emptiness,
            containers=containers,
            delivery=delivery,
            reporter=reporter,
            resumer=MarkerResumer(settings.config, _connection(settings, environ), plans),
        )
