"""Restoring and verifying for a command that waits for it, beside a daemon or without one."""

import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar.backrest.reading import Config, RunPlan
from sidecar.engines.base import Engine, LockRecords, Report
from sidecar.engines.registry import all_engines
from sidecar.lib.errors import UsageError
from sidecar.lib.process import ProcessRunner
from sidecar.runner.identity import switch_user
from sidecar.runner.journal import Ended, Journal
from sidecar.runner.leftovers import start_leftovers
from sidecar.runner.loader import load
from sidecar.runner.lock import is_executed
from sidecar.runner.lock_records import JournalLockRecords
from sidecar.runner.parts import JOURNAL, engine_options, open_docker
from sidecar.runner.restore.choose import RestoreRequest
from sidecar.runner.restore.restore import RestorePlan, Restorer
from sidecar.runner.settings import RunnerSettings, environment_of
from sidecar.runner.union import Documents
from sidecar.runner.verify.sample import SampleLimits
from sidecar.runner.verify.verify import Verification, Verifier

SCRATCH = "scratch"
"""The folder within the state folder in which samples are restored."""


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """Whether nothing is changed (`is_dry`), and how long a container has to stop."""

    is_dry: bool = False
    stop_seconds: int = 10


@dataclass(frozen=True, slots=True)
class PreparedRestore:
    """A restore that was checked; `plan` tells what `run` will do."""

    restorer: Restorer
    plan: RestorePlan

    def run(self, report: Report) -> Ended:
        """Do it. Raises SidecarError."""
        return self.restorer.run(self.plan, report)


@contextmanager
def prepared_restore(
    settings: RunnerSettings,
    environ: Mapping[str, str],
    request: RestoreRequest,
    options: RestoreOptions,
) -> Iterator[PreparedRestore]:
    """Check what is requested, and return the restore, for the block.

    The plan of the request is a name, and the repository of a plan that the document has no more.
    The user is not switched, whatever --puid says: only root can give files back their owners.
    Raises SidecarError.
    """
    documents = load(settings.files, environ)
    config = documents.config
    resolved = resolve_plan(config, request.plan.id, request.plan.repo)
    with ExitStack() as stack:
        stack.enter_context(_given_back(settings))
        journal = stack.enter_context(_journal(settings))
        containers = stack.enter_context(open_docker(settings, environ))
        records = stack.enter_context(JournalLockRecords(journal))
        engine = make_engine(settings, environ, documents, resolved.repo, records)
        if not options.is_dry:
            is_alone = not is_executed(settings.files.locked_folders, settings.state_directory)
            start_leftovers(containers, journal, time.sleep, is_alone=is_alone)
        restorer = Restorer(engine, journal, containers, stop_seconds=options.stop_seconds)
        request = replace(request, plan=resolved, instance=config.instance)
        yield PreparedRestore(restorer, restorer.prepare(request, is_dry=options.is_dry))


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
    plans = [resolve_plan(config, name, "") for name in dict.fromkeys(names)]
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


def resolve_plan(config: Config, name: str, repo: str) -> RunPlan:
    """Find a plan; with a repository also one that the document does not have, or has elsewhere.

    Raises UsageError.
    """
    found = config.plan(name)
    if repo:
        return replace(found, repo=repo) if found else RunPlan(name, repo)
    if found is None:
        raise UsageError(
            f"there is no plan {name!r}",
            "`backrest-runner plans` lists them; one that the document has no more needs --repo",
        )
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
