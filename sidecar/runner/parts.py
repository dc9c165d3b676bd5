"""Assemble the parts of a runner from its settings."""

import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from sidecar.backrest.reading import Config, Repo, RunPlan
from sidecar.docker.client import DockerClient
from sidecar.docker.containers import Containers
from sidecar.docker.one_shot import OneShotDocker
from sidecar.docker.own_container import own_container_id
from sidecar.engines.base import Engine, LockRecords
from sidecar.engines.restic import CommandTimeouts, Locking, RecentSnapshots, ResticEngine
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.lib.process import ProcessRunner
from sidecar.lib.zones import local_zone
from sidecar.runner.addresses import is_at_hand, lock_keys
from sidecar.runner.due import Job, Scheduler, timings
from sidecar.runner.empty_source import EmptySourceGuard
from sidecar.runner.gate import RepositoryGate
from sidecar.runner.hooks.resume import MarkerResumer
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.leftover_processes import marked
from sidecar.runner.job.report import RunReporter
from sidecar.runner.job.running import RunningPlans
from sidecar.runner.job.session import Session, SessionOptions
from sidecar.runner.job.steps import OnStart, Programs
from sidecar.runner.job.upkeep import Prober
from sidecar.runner.journal import Journal, Run
from sidecar.runner.lock import SchedulerLock, refuse_beside_backrest, refuse_beside_container
from sidecar.runner.lock_records import JournalLockRecords
from sidecar.runner.notify.delivery import DeliveryQueue
from sidecar.runner.notify.notices import RunNotifier
from sidecar.runner.notify.sender import ProcessSender
from sidecar.runner.once.leftover import recover_leftovers
from sidecar.runner.quiesce import Wait, while_nobody_stops
from sidecar.runner.repositories import Initialiser, KnownRepositories
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


class EngineFactory:
    """Makes engines for repositories; `config` is the document as it is now.

    `records` tells which locks programs of ours have left; None: nobody knows.
    """

    def __init__(
        self,
        settings: RunnerSettings,
        environ: Mapping[str, str],
        records: LockRecords | None = None,
    ) -> None:
        self._running = settings.running
        self._environ = environ
        self._recent = RecentSnapshots()
        self._locking = Locking(records=records)
        self.config = Config()

    @property
    def instance(self) -> str:
        """The instance's name in the document."""
        return self.config.instance

    def lock_keys(self, repo: Repo, guid: str) -> frozenset[str]:
        """Return what tells a repository from others; `guid` is the id that it was seen to have."""
        return lock_keys(repo, guid, self._environ)

    def make(
        self, runner: ProcessRunner, repo: Repo, on_start: OnStart | None = None
    ) -> ResticEngine:
        """Make the engine of a repository; it starts its programs with `runner`."""
        return ResticEngine(
            repo,
            runner,
            environ=self._environ,
            on_start=on_start,
            restic=self._running.restic,
            on_missing=self._running.on_missing,
            limits=CommandTimeouts(stall=self._running.stall_timeout),
            recent=self._recent,
            locking=self._locking,
        )


@dataclass(frozen=True, slots=True)
class PlanEngines:
    """Makes engines for plans of the document as it is now; they start programs with `runner`."""

    engines: EngineFactory
    runner: ProcessRunner

    @property
    def instance(self) -> str:
        """The instance's name in the document."""
        return self.engines.instance

    def engine(self, plan: RunPlan) -> Engine:
        """Return the engine of a plan's repository."""
        repo = self.engines.config.repo(plan.repo)
        return self.engines.make(self.runner, repo or Repo(plan.repo))


@dataclass(frozen=True, slots=True)
class RunnerDependencies:
    """All parts that running a job needs.

    `runner` starts the programs of jobs and their START hooks, `probes` those that check
    repositories.
    """

    settings: RunnerSettings
    scheduler: Scheduler
    journal: Journal
    engines: EngineFactory
    runner: ProcessRunner
    probes: ProcessRunner
    session: Session
    known: KnownRepositories
    initialiser: Initialiser
    prober: Prober
    gate: RepositoryGate
    emptiness: EmptySourceGuard
    containers: OneShotDocker | None
    delivery: DeliveryQueue
    reporter: RunReporter
    resumer: MarkerResumer

    def lock_keys(self, repo: Repo) -> frozenset[str]:
        """Return what tells a repository from others, whatever it is called."""
        return self.engines.lock_keys(repo, self.known_guid(repo.id))

    def known_guid(self, repo: str) -> str:
        """Return the id that a repository was seen to have; empty if none is known."""
        return self.known.guid(repo)

    def stop(self) -> None:
        """End the jobs that run; the hooks after them still run."""
        self.session.stop()
        self.runner.stop_all()
        self.probes.stop_all()

    def recover_leftovers(self, config: Config | None) -> tuple[Run, ...]:
        """Finish the runs that a runner which died has left, and start what it stopped."""
        self.engines.config = config or Config()
        recovered = self.session.recover_runs(config)
        self.start_again(time.sleep)
        return recovered

    def start_again(self, wait: Wait | None = None) -> tuple[str, ...]:
        """Start what a process stopped which was killed, and what hooks have left stopped.

        Returns a sentence for each that could not be started. For `wait` see `start_leftovers`.
        """
        try:
            left = start_leftovers(self.containers, self.journal, wait)
        except SidecarError as error:
            log_event(_log, logging.ERROR, "journal.unreadable", reason=error.message)
            left = ()
        with while_nobody_stops(self.journal.path.parent) as is_free:
            return (*left, *self._resume_markers()) if is_free else left

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
    *,
    for_daemon: bool = False,
    retries: bool = True,
) -> Iterator[RunnerDependencies]:
    """Assemble all parts, for the block; `for_daemon`: see `Journal`.

    Without `retries` nothing is tried again.
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
        engines = EngineFactory(settings, environ, records)
        known = KnownRepositories(journal, lambda: engines.config)

        def programs(starter: ProcessRunner) -> Programs:
            timeout = settings.running.hook_timeout
            hooks = HookRunner(starter, settings.config, delivery.post, timeout, zone)
            return Programs(lambda repo, on_start: engines.make(starter, repo, on_start), hooks)

        notifying = settings.notifying
        announcer = RunNotifier(notifying.urls, notifying.on, socket.gethostname(), delivery.post)
        reporter = RunReporter(state, zone, journal, announcer)
        emptiness = EmptySourceGuard(
            journal, PlanEngines(engines, runner), containers, settings.emptiness
        )
        initialiser = Initialiser(known, lambda repo: engines.make(probes, repo))
        prober = Prober(lambda repo: engines.make(probes, repo), known.guid)
        plans = RunningPlans()
        scheduler = Scheduler(zone)

        def next_fire(job: Job, at: float) -> float | None:
            timing = timings(engines.config).get(job)
            return None if timing is None else next(scheduler.next_fires(timing, at), None)

        options = SessionOptions(
            on_purpose=settings.emptiness.on_purpose,
            lock_wait=settings.running.lock_wait,
            plans=plans,
            retries=RetryRules(next_fire, is_possible=retries),
        )
        yield RunnerDependencies(
            settings=settings,
            scheduler=scheduler,
            journal=journal,
            engines=engines,
            runner=runner,
            probes=probes,
            session=Session(journal, programs(runner), programs(cleanup), reporter, options),
            known=known,
            initialiser=initialiser,
            prober=prober,
            gate=RepositoryGate(prober, initialiser.ensure, lambda repo: is_at_hand(repo, environ)),
            emptiness=emptiness,
            containers=containers,
            delivery=delivery,
            reporter=reporter,
            resumer=MarkerResumer(settings.config, _connection(settings, environ), plans),
        )
