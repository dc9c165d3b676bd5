"""The parts of a runner, put together from what its operator has decided."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from sidecar.backrest.reading import Config, Repo, RunPlan
from sidecar.docker.lifecycle import Containers, OneShotDocker
from sidecar.docker.usage import own_id
from sidecar.engines.base import Engine, Interpreted, ResultKind
from sidecar.engines.restic import CommandTimeouts, ResticEngine
from sidecar.lib.errors import SidecarError
from sidecar.lib.log import log_event
from sidecar.lib.process import ProcessRunner
from sidecar.lib.zones import local_zone
from sidecar.runner.due import Scheduler
from sidecar.runner.empty_source import Emptiness
from sidecar.runner.hooks.run import HookRunner
from sidecar.runner.job.recovery import marked
from sidecar.runner.job.report import RunReporter
from sidecar.runner.job.session import Session, SessionOptions
from sidecar.runner.job.steps import OnStart, Programs
from sidecar.runner.job.upkeep import run_initialise
from sidecar.runner.journal import Journal, Run
from sidecar.runner.lock import SchedulerLock, refuse_beside_backrest, refuse_beside_container
from sidecar.runner.notify.delivery import DeliveryQueue
from sidecar.runner.notify.notices import RunNotifier
from sidecar.runner.notify.sender import ProcessSender
from sidecar.runner.once.leftover import recover_leftovers
from sidecar.runner.settings import RunnerSettings, environment_of

JOURNAL = "journal.sqlite"
_log = logging.getLogger(__name__)


@contextmanager
def lock_scheduler(
    settings: RunnerSettings, environ: Mapping[str, str], purpose: str
) -> Iterator[None]:
    """Be the only one who executes the document, for the block. Raises Locked."""
    with SchedulerLock(settings.config, purpose):
        neighbour = settings.neighbour
        if not neighbour.force:
            refuse_beside_backrest(settings.config, neighbour.data, environ)
            with Containers(neighbour.docker_sock, environ, timeout=5) as containers:
                refuse_beside_container(neighbour.container, partial(_runs, containers))
        yield


def _runs(containers: Containers, name: str) -> bool:
    """Return whether a container is at work; our own may have the name that Backrest's had."""
    found, own = containers.find(name), own_id()
    return found is not None and found.is_at_work and not (own and found.id.startswith(own))


class EngineFactory:
    """Makes the engines of repositories; `config` is the document as it is now."""

    def __init__(self, settings: RunnerSettings, environ: Mapping[str, str]) -> None:
        self._running = settings.running
        self._environ = environ
        self.config = Config()

    @property
    def instance(self) -> str:
        """The instance's name in the document."""
        return self.config.instance

    def make(
        self, runner: ProcessRunner, repo: Repo, on_start: OnStart | None = None
    ) -> ResticEngine:
        """Make the engine of a repository, which runs its programs by `runner`."""
        return ResticEngine(
            repo,
            runner,
            environ=self._environ,
            on_start=on_start,
            restic=self._running.restic,
            on_missing=self._running.on_missing,
            limits=CommandTimeouts(stall=self._running.stall_timeout),
        )


@dataclass(frozen=True, slots=True)
class PlanEngines:
    """The engines of plans of the document as it is now, run by `runner`."""

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


class Initialiser:
    """Creates repositories that ask for it, one at a time and each once."""

    def __init__(self, journal: Journal, engine_for: Callable[[Repo], Engine]) -> None:
        self._journal = journal
        self._engine_for = engine_for
        self._lock = threading.Lock()
        self._done: set[str] = set()

    def ensure(self, repo: Repo | None) -> Interpreted | None:
        """Create it if it never existed; None: there was nothing to do."""
        if repo is None or not repo.auto_initialise:
            return None
        with self._lock:
            return None if repo.id in self._done else self._ensure(repo)

    def _ensure(self, repo: Repo) -> Interpreted | None:
        try:
            known = self._journal.guid(repo.id)
        except SidecarError:
            # Whether it existed is not known: then nothing is created.
            return None
        if known:
            self._done.add(repo.id)
            return None
        found = run_initialise(self._engine_for(repo), repo, known, self._journal.set_guid)
        if found is not None and found.verdict is ResultKind.SUCCESS:
            self._done.add(repo.id)
            log_event(_log, logging.INFO, "repository.ready", repo=repo.id)
        elif found is not None:
            log_event(
                _log, logging.ERROR, "repository.not-created", repo=repo.id, reason=found.reason
            )
        return found


@dataclass(frozen=True, slots=True)
class RunnerDependencies:
    """All that runs work; `stop` ends what the work has started, and lets its hooks end."""

    settings: RunnerSettings
    environ: Mapping[str, str]
    scheduler: Scheduler
    journal: Journal
    engines: EngineFactory
    runner: ProcessRunner
    probes: ProcessRunner
    session: Session
    initialiser: Initialiser
    emptiness: Emptiness
    containers: OneShotDocker
    delivery: DeliveryQueue
    reporter: RunReporter

    def stop(self) -> None:
        """Call off what is at work; the hooks after it still run."""
        self.session.stop()
        self.runner.stop_all()

    def recover_leftovers(self, config: Config | None) -> tuple[Run, ...]:
        """Put right what a runner that died has left, before anything else is done."""
        self.engines.config = config or Config()
        resumed = self.session.resume_all(config)
        self.start_again()
        return resumed

    def start_again(self) -> tuple[str, ...]:
        """Start containers that somebody stopped who was killed; give what could not be."""
        try:
            # Of its own, for this is done beside all that the others do.
            with OneShotDocker(self.settings.neighbour.docker_sock, self.environ) as engine:
                return recover_leftovers(engine, self.journal)
        except SidecarError as error:
            log_event(_log, logging.ERROR, "journal.unreadable", reason=error.message)
            return ()


@contextmanager
def assemble(settings: RunnerSettings, environ: Mapping[str, str]) -> Iterator[RunnerDependencies]:
    """Put the parts together, for the block."""
    state = settings.state_directory
    inherited = environment_of(environ)
    job, after, probes = (ProcessRunner(marked(inherited, state)) for _ in range(3))
    zone, _ = local_zone(environ)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(state / JOURNAL, settings.journal_keep))
        delivery = stack.enter_context(
            DeliveryQueue(journal, ProcessSender(ProcessRunner(inherited)))
        )
        containers = stack.enter_context(OneShotDocker(settings.neighbour.docker_sock, environ))
        engines = EngineFactory(settings, environ)

        def programs(runner: ProcessRunner) -> Programs:
            timeout = settings.running.hook_timeout
            hooks = HookRunner(runner, settings.config, delivery.post, timeout, zone)
            return Programs(lambda repo, on_start: engines.make(runner, repo, on_start), hooks)

        notifying = settings.notifying
        announcer = RunNotifier(notifying.urls, notifying.on, socket.gethostname(), delivery.post)
        reporter = RunReporter(state, zone, journal.history, announcer)
        emptiness = Emptiness(journal, PlanEngines(engines, job), containers, settings.emptiness)
        options = SessionOptions(may_forget=emptiness.reason_not_to_forget, on_end=reporter.ended)
        yield RunnerDependencies(
            settings=settings,
            environ=environ,
            scheduler=Scheduler(zone),
            journal=journal,
            engines=engines,
            runner=job,
            probes=probes,
            session=Session(journal, programs(job), programs(after), options),
            initialiser=Initialiser(journal, lambda repo: engines.make(probes, repo)),
            emptiness=emptiness,
            containers=containers,
            delivery=delivery,
            reporter=reporter,
        )
