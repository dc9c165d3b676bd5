"""Restoring and verifying for a command that waits for it, beside a daemon or without one."""

import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.backrest.names import Names
from sidecar.backrest.reading import Config, RunPlan
from sidecar.engines.base import Engine, LockRecords, Report
from sidecar.engines.registry import all_engines
from sidecar.lib.errors import UsageError
from sidecar.lib.process import ProcessRunner
from sidecar.lib.zones import local_zone
from sidecar.runner.due import Scheduler
from sidecar.runner.identity import switch_user
from sidecar.runner.journal import Journal
from sidecar.runner.leftovers import start_leftovers
from sidecar.runner.loader import load
from sidecar.runner.lock import is_executed
from sidecar.runner.lock_records import JournalLockRecords
from sidecar.runner.parts import engine_options, open_docker
from sidecar.runner.plan_turns import PlanTurns
from sidecar.runner.restore.group import (
    RestoreGroup,
    RestorePart,
    RestoreSelection,
    find_subjects,
    in_dependency_order,
    request_of,
)
from sidecar.runner.restore.restore import Restorer
from sidecar.runner.restore.turn import Turn
from sidecar.runner.settings import JOURNAL, RunnerSettings, environment_of
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
        parts = []
        for subject in in_dependency_order(subjects, containers):
            request = request_of(subject, selection, config.instance)
            engine = make_engine(settings, environ, documents, subject.plan.repo, records)
            restorer = Restorer(engine, journal, containers, stop_seconds=options.stop_seconds)
            parts.append(RestorePart(subject, engine, restorer, restorer.survey(request)))
        zone, _ = local_zone(environ)
        folder = settings.config.absolute().parent
        group = RestoreGroup(
            tuple(parts),
            Turn(journal, Scheduler(zone), not is_alone, folder, time.time),
            PlanTurns(settings.state_directory),
            lambda plan: plan.id in documents.backrest_plans,
            config.plans,
        )
        yield group.surveyed()


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


def make_engine(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    documents: Documents,
    repo: str,
    records: LockRecords,
) -> Engine:
    """Make the engine of a repository; raises UsageError if there is none such, or no engine.

    Its programs do not have the mark by which a daemon that starts knows what it has to end.
    """
    found = documents.find_repo(repo)
    programs = ProcessRunner(environment_of(environ))
    return all_engines(programs, engine_options(settings, environ, records)).make(found)


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
