"""Restoring and verifying for a command that waits for it, beside a daemon or without one."""

import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar.backrest.names import Names
from sidecar.backrest.reading import Config, RunPlan
from sidecar.docker.one_shot import OneShotDocker
from sidecar.engines.base import Engine, LockRecords, Report
from sidecar.lib.errors import UsageError
from sidecar.lib.zones import local_zone
from sidecar.runner.due import Scheduler, backup_job
from sidecar.runner.identity import switch_user
from sidecar.runner.journal import Journal, RunCause
from sidecar.runner.latest import FileLook
from sidecar.runner.leftovers import start_leftovers
from sidecar.runner.loader import load
from sidecar.runner.lock import is_executed
from sidecar.runner.lock_records import JournalLockRecords
from sidecar.runner.parts import make_engine, open_docker
from sidecar.runner.plan_turns import PlanTurns
from sidecar.runner.restore.choose import check_request, choose_snapshot
from sidecar.runner.restore.container_paths import find_saved_path
from sidecar.runner.restore.database import (
    Dump,
    DumpLoader,
    LoadPlan,
    ended_of,
    fetched_dump,
    find_dump,
    find_server,
    look_at,
    survey,
    unknown_state,
)
from sidecar.runner.restore.dump_file import check_whole
from sidecar.runner.restore.group import (
    RestoreGroup,
    RestorePart,
    RestoreSelection,
    Subject,
    find_subjects,
    in_dependency_order,
    request_of,
)
from sidecar.runner.restore.restore import Obstacles, Restorer
from sidecar.runner.restore.turn import Turn, running
from sidecar.runner.settings import JOURNAL, RunnerSettings
from sidecar.runner.union import Documents
from sidecar.runner.verify.sample import SampleLimits
from sidecar.runner.verify.verify import Verification, Verifier
from sidecar.runner.workload_names import read_workloads

SCRATCH = "scratch"
"""The folder within the state folder in which samples are restored."""


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """Whether nothing is changed (`is_dry`), and how long a container has to stop."""

    is_dry: bool = False
    stop_seconds: int = 10


@contextmanager
def prepared_restore(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    selection: RestoreSelection,
    options: RestoreOptions,
) -> Iterator[RestoreGroup]:
    """Return what would be restored and what stands in the way, for the block; `run` does it.

    The user is not switched, whatever --puid says: only root can give files back their owners.
    Raises SidecarError where it cannot be told what would be restored.
    """
    with _opened(settings, environ, selection, options) as context:
        parts = []
        for subject in in_dependency_order(context.subjects, context.containers):
            request = request_of(subject, selection, context.documents.config.instance)
            engine = context.engine(subject.plan)
            restorer = context.restorer(engine)
            parts.append(RestorePart(subject, engine, restorer, restorer.survey(request)))
        group = RestoreGroup(
            tuple(parts),
            context.turn,
            context.locks,
            context.is_of_backrest,
            context.documents.config.plans,
        )
        yield group.surveyed()


@contextmanager
def prepared_load(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    selection: RestoreSelection,
    options: RestoreOptions,
) -> Iterator["PreparedLoad"]:
    """Fetch the dump of a service, and return what loading it would do, for the block.

    Raises SidecarError where it cannot be told what would be loaded.
    """
    with _opened(settings, environ, selection, options) as context:
        subject, docker = context.subjects[0], context.containers
        if len(context.subjects) > 1:
            raise UsageError("--database is that of one service", "load one after the other")
        if docker is None:
            raise UsageError("a dump is loaded by Docker, and --docker-sock is none")
        record = find_dump(subject.plan, subject.workload)
        request = request_of(subject, selection, context.documents.config.instance)
        source = find_saved_path(record.path, subject.plan, subject.workload)
        engine = context.engine(subject.plan)
        container = find_server(docker, record, source)
        look = FileLook(engine, context.journal.runs, backup_job(subject.plan))
        choice = choose_snapshot(check_request(request), engine, look, time.time())
        folder = settings.state_directory
        with fetched_dump(engine, choice.snapshot, source, folder) as (file, size):
            dump = Dump(record, choice.snapshot, choice.passed_over, source, file, size)
            check_whole(record.template, file, record.database)
            facts = look_at(docker, container, record)
            plan = survey(subject.plan, subject.name, dump, container, facts, docker)
            found = Obstacles()
            with found.noted():
                if context.locks.is_held(plan.plan.id):
                    raise running(plan.plan)
            with found.noted():
                context.check_turn(plan.plan, engine, force=request.force)
            plan = replace(plan, obstacles=(*plan.obstacles, *found.errors))
            yield PreparedLoad(plan, context, engine, docker)


@dataclass(frozen=True, slots=True)
class PreparedLoad:
    """A dump that was fetched, and what loading it does; `run` does it."""

    plan: LoadPlan
    context: "_RestoreContext"
    engine: Engine
    docker: OneShotDocker

    def run(self, *, force: bool) -> None:
        """Load it, and record it. Raises SidecarError, with nothing touched or with what is."""
        plan, context = self.plan, self.context
        for error in plan.obstacles:
            raise error
        with ExitStack() as stack:
            if not stack.enter_context(context.locks.hold(plan.plan.id)):
                raise running(plan.plan)
            # A run may have become due since it was looked at, as while somebody was asked.
            context.check_turn(plan.plan, self.engine, force=force)
            restorer = context.restorer(self.engine)
            state = unknown_state(plan)
            run = stack.enter_context(restorer.recorded(plan.plan, RunCause.MANUAL, state))
            DumpLoader(self.docker, lambda one: restorer.stopped([one], run.number)).run(plan)
            run.ended = ended_of(plan)


@dataclass(frozen=True, slots=True)
class _RestoreContext:
    """What a restore works with, and what it must not meet."""

    settings: RunnerSettings
    environ: Mapping[str, str]
    documents: Documents
    subjects: tuple[Subject, ...]
    journal: Journal
    containers: OneShotDocker | None
    records: LockRecords
    turn: Turn
    locks: PlanTurns
    stop_seconds: int

    def engine(self, plan: RunPlan) -> Engine:
        """Make the engine of a plan's repository."""
        return make_engine(self.settings, self.environ, self.documents, plan.repo, self.records)

    def restorer(self, engine: Engine) -> Restorer:
        """Return what restores from a repository."""
        return Restorer(engine, self.journal, self.containers, stop_seconds=self.stop_seconds)

    def is_of_backrest(self, plan: RunPlan) -> bool:
        """Return whether Backrest executes a plan."""
        return plan.id in self.documents.backrest_plans

    def check_turn(self, plan: RunPlan, engine: Engine, *, force: bool) -> None:
        """Raise SidecarError if a run of a plan is due, unless it is to go on by force."""
        if force:
            return
        if self.is_of_backrest(plan):
            self.turn.check_backrest(plan, engine, self.documents.config.instance)
        else:
            self.turn.check(plan)


@contextmanager
def _opened(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    selection: RestoreSelection,
    options: RestoreOptions,
) -> Iterator[_RestoreContext]:
    documents = load(settings.files, environ)
    config = documents.config
    names = Names(read_workloads(settings.workloads_file), [plan.id for plan in config.plans])
    subjects = find_subjects(selection, config, names)
    with ExitStack() as stack:
        stack.enter_context(_given_back(settings))
        journal = stack.enter_context(_journal(settings))
        containers = stack.enter_context(open_docker(settings, environ))
        records = stack.enter_context(JournalLockRecords(journal))
        is_alone = not is_executed(settings.files.locked_folders, settings.state_directory)
        if not options.is_dry:
            start_leftovers(containers, journal, time.sleep, is_alone=is_alone)
        zone, _ = local_zone(environ)
        folder = settings.config.absolute().parent
        yield _RestoreContext(
            settings,
            environ,
            documents,
            subjects,
            journal,
            containers,
            records,
            Turn(journal, Scheduler(zone), not is_alone, folder, time.time),
            PlanTurns(settings.state_directory),
            options.stop_seconds,
        )


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """Which files are compared, and where they are restored; None: in the state folder."""

    limits: SampleLimits
    seed: int
    scratch: Path | None = None


@dataclass(frozen=True, slots=True)
class PreparedVerification:
    """A verification of a plan that `run` does."""

    plan: RunPlan
    verifier: Verifier
    instance: str
    seed: int

    def run(self, report: Report) -> Verification:
        """Do it."""
        return self.verifier.verify(self.plan, self.instance, self.seed, report)


def prepare_verifications(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    names: Sequence[str],
    options: VerifyOptions,
) -> Generator[PreparedVerification]:
    """Yield a verification of each plan, of all if none is named; run each before the next.

    Raises SidecarError.
    """
    environ = switch_user(settings, environ)
    documents = load(settings.files, environ)
    config, refused = documents.config, documents.refused
    plans = [resolve_plan(config, name) for name in dict.fromkeys(names)]
    plans = plans or [plan for plan in config.plans if plan.repo not in refused]
    folder = options.scratch or settings.state_directory / SCRATCH
    with _journal(settings) as journal, JournalLockRecords(journal) as records:
        for plan in plans:
            engine = make_engine(settings, environ, documents, plan.repo, records)
            verifier = Verifier(engine, journal, folder, options.limits)
            yield PreparedVerification(plan, verifier, config.instance, options.seed)


def resolve_plan(config: Config, name: str) -> RunPlan:
    """Find a plan by its id. Raises UsageError."""
    found = config.plan(name)
    if found is None:
        raise UsageError(f"there is no plan {name!r}", "`backrest-runner plans` lists them")
    return found


def _journal(settings: RunnerSettings) -> Journal:
    settings.state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Journal(settings.state_directory / JOURNAL, settings.journal_keep)


@contextmanager
def _given_back(settings: RunnerSettings) -> Iterator[None]:
    """Return what root makes in the state folder to the user whom the daemon becomes."""
    try:
        yield
    finally:
        identity, state = settings.identity, settings.state_directory
        if identity is not None and os.geteuid() == 0 and state.is_dir():
            for path in (state, *state.iterdir()):
                if path.lstat().st_uid == 0:
                    os.chown(path, identity.user, identity.group, follow_symlinks=False)
