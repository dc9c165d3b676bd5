"""`backrest-runner doctor`: whether all that backups need is there, repository by repository.

The runner has the programs, the secrets and the way to the repositories, so it is who can tell.
Nothing is changed, no repository is created, no lock is taken, and each wait is bounded.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

from sidecar.backrest.engine_name import EngineName, engine_of
from sidecar.backrest.reading import Repo
from sidecar.engines.access import expand
from sidecar.engines.base import Engine, EngineError, FailureClass, HeldLock
from sidecar.engines.locking import Host, is_left_over
from sidecar.engines.registry import all_engines
from sidecar.engines.restic import find_restic
from sidecar.lib.duration import render_duration
from sidecar.lib.errors import SidecarError
from sidecar.lib.process import ProcessRunner
from sidecar.lib.text import counted
from sidecar.runner.advice import ADVICE
from sidecar.runner.hooks.check import check_hooks
from sidecar.runner.identity import switch_user
from sidecar.runner.job.upkeep import probe
from sidecar.runner.journal import Journal, JournalError, list_set_aside
from sidecar.runner.loader import Loader
from sidecar.runner.parts import engine_options
from sidecar.runner.settings import JOURNAL, RunnerSettings, environment_of
from sidecar.runner.union import Documents, NoticeReason
from sidecar.service.check_result import (
    CheckResult,
    DoctorReport,
    failed,
    not_checked,
    passed,
    warned,
)
from sidecar.service.healthcheck import check_heartbeat, has_heartbeat

CHECKS: Mapping[str, str] = {
    "documents": "both documents are good, and every repository in them can be used",
    "hooks": "the hooks of plans and repositories can be run",
    "state": "the folder for what is remembered can be written, and the journal in it be read",
    "daemon": "a daemon runs, and is well",
    "restic": "restic is there, and not too old; only where a repository needs it",
    "repository NAME": "it is within reach, its password is right, and it is the one that it was",
    "locks NAME": "no lock in it is left of a program that has ended",
}
"""All checks, in their order, and what a good result proves."""

SECONDS = 20.0
"""How long one answer of a repository is waited for."""
_OLDEST = (0, 14)
_AT_ONCE = 8
# Who holds a lock renews it every five minutes.
_STALE_SECONDS = 30 * 60.0


def run_doctor(
    settings: RunnerSettings, environ: Mapping[str, str], now: Callable[[], float] = time.time
) -> DoctorReport:
    """Check all that backups of these documents need. Raises nothing of its own."""
    results: list[tuple[str, CheckResult]] = []
    loader = Loader(settings.files, environ, is_quiet=True)
    documents = loader.read().documents
    results.append(("documents", _check_documents(loader, documents)))
    results.append(("hooks", _check_hooks(documents)))
    environ, state = _check_state(settings, environ)
    results.append(("state", state))
    results.append(("daemon", _check_daemon(settings, now())))
    repos = () if documents is None else documents.executed.repos
    results.append(("restic", _check_restic(settings, environ, repos)))
    if documents is not None:
        checker = _RepositoryChecker(settings, environ, documents, now)
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            for repo, found in zip(repos, workers.map(checker.check, repos), strict=True):
                results += [(f"{name} {repo.id}", result) for name, result in found]
    findings = tuple(replace(result, check=check) for check, result in results)
    return DoctorReport(str(settings.config), findings)


def _check_documents(loader: Loader, documents: Documents | None) -> CheckResult:
    faults = [(one.message, one.hint) for one in loader.errors]
    if documents is not None:
        told = (one for one in documents.notices if one.reason is not NoticeReason.MOVING)
        faults += [(one.message, one.hint) for one in told]
    if faults or documents is None:
        (message, hint), *more = faults
        return failed(message, hint or "see what is there", [message for message, _ in more])
    executed = documents.executed
    plans, repos = counted(len(executed.plans), "plan"), len(executed.repos)
    return passed(f"{plans} and {counted(repos, 'repository', 'repositories')} are executed")


def _check_hooks(documents: Documents | None) -> CheckResult:
    if documents is None:
        return not_checked("there is no document")
    problems = check_hooks(documents.executed)
    # What is wrong with a command may show a part of it, and so a secret.
    names = [f"hook {one.number} of {one.owner}" for one in problems]
    hint = "the daemon's log says what is wrong with each"
    if any(one.blocks for one in problems):
        return failed("hooks cannot be used, so their plans are not run", hint, names)
    if problems:
        return warned("hooks cannot be used, and are left out", hint, names)
    return passed("all hooks can be used")


def _check_state(
    settings: RunnerSettings, environ: Mapping[str, str]
) -> tuple[Mapping[str, str], CheckResult]:
    """Become the runner's user, and read the journal; return the environment of programs, too."""
    try:
        environ = switch_user(settings, environ)
    except SidecarError as error:
        return environ, failed(error.message, error.hint)
    path = settings.state_directory / JOURNAL
    if not path.exists():
        return environ, warned(f"there is no {path} yet", "the daemon makes it when it starts")
    try:
        with closing(Journal(path, only_reads=True)):
            pass
    except JournalError as error:
        return environ, failed(error.message, error.hint)
    if aside := list_set_aside(path):
        hint = "remove them once nothing in them is missed"
        names = [one.name for one in aside]
        return environ, warned("broken journals were set aside, and a new one begun", hint, names)
    return environ, passed(f"{path} can be read")


def _check_daemon(settings: RunnerSettings, now: float) -> CheckResult:
    state = settings.state_directory
    is_well, words = check_heartbeat(state, now)
    first, *more = words.splitlines() or [""]
    if is_well and not more:
        return passed("it runs, and is well")
    hint = "see its log; `backrest-runner healthcheck` tells the same"
    if not has_heartbeat(state):
        hint = (
            "start `backrest-runner daemon`, or name the folder of the one that runs: --state-dir"
        )
    return warned(first, hint, more)


def _check_restic(
    settings: RunnerSettings, environ: Mapping[str, str], repos: Sequence[Repo]
) -> CheckResult:
    if not any(engine_of(expand(repo.uri, environ)) is EngineName.RESTIC for repo in repos):
        return not_checked("no repository needs it")
    programs = ProcessRunner(environment_of(environ))
    try:
        found = find_restic(programs, engine_options(settings, environ))
    except EngineError as error:
        return failed(error.message, error.hint or "install it, or name it by --restic")
    if not any(found.version):
        return warned(f"{settings.running.restic} does not tell its version", "use 0.14 or later")
    if found.version[:2] < _OLDEST:
        return failed(f"{found} is too old", "use 0.14 or later")
    return passed(f"{found} is there")


@dataclass(frozen=True, slots=True)
class _RepositoryChecker:
    """Checks repositories, several at a time."""

    settings: RunnerSettings
    environ: Mapping[str, str]
    documents: Documents
    now: Callable[[], float]

    def check(self, repo: Repo) -> list[tuple[str, CheckResult]]:
        """Return the results for a repository by the names of their checks."""
        if reason := self.documents.refused.get(repo.id):
            return [("repository", failed(reason, "see the documents"))]
        try:
            with closing(self._journal()) as journal:
                return self._check(repo, journal)
        except JournalError:
            return self._check(repo, None)

    def _journal(self) -> Journal:
        return Journal(self.settings.state_directory / JOURNAL, only_reads=True)

    def _check(self, repo: Repo, journal: Journal | None) -> list[tuple[str, CheckResult]]:
        programs = ProcessRunner(environment_of(self.environ))
        options = engine_options(self.settings, self.environ)
        options = replace(options, limits=replace(options.limits, probe=SECONDS))
        try:
            engine = all_engines(programs, options).make(repo)
        except EngineError as error:
            return [("repository", failed(error.message, error.hint or "correct its entry"))]
        found = self._reach(repo, engine, journal)
        locks = not_checked("the repository cannot be used")
        if not found.hint:
            locks = self._locks(repo, engine, journal)
        return [("repository", found), ("locks", locks)]

    def _reach(self, repo: Repo, engine: Engine, journal: Journal | None) -> CheckResult:
        expected = repo.guid or ("" if journal is None else journal.findings.guid(repo.id))
        probed = probe(engine, expected, self.now())
        if probed.failure is None:
            secret = ", and its password is right" if repo.password else ""
            return passed(f"it answers{secret}")
        is_new = probed.failure is FailureClass.REPO_NOT_FOUND and not probed.guid
        was_used = journal is not None and journal.findings.has_used(repo.id)
        if is_new and repo.auto_initialise and not was_used:
            return warned("it is not there yet", "the first run creates it")
        hint = ADVICE.get(probed.failure, "`backrest-runner check` tells more")
        return failed(probed.reason, hint)

    def _locks(self, repo: Repo, engine: Engine, journal: Journal | None) -> CheckResult:
        try:
            locks = engine.locks()
        except EngineError as error:
            return warned(f"its locks cannot be read: {error.message}", "try it again")
        stale = [lock for lock in locks if self._is_stale(lock, repo, journal)]
        if stale:
            return warned(
                f"{counted(len(stale), 'lock is', 'locks are')} left over",
                f"`backrest-runner unlock {repo.id}` removes what nobody holds any more",
                [self._words(lock) for lock in stale],
            )
        if locks:
            message = f"{counted(len(locks), 'lock is', 'locks are')} held and renewed"
            return passed(message, details=map(self._words, locks))
        return passed("it is not locked")

    def _is_stale(self, lock: HeldLock, repo: Repo, journal: Journal | None) -> bool:
        holders = () if journal is None else journal.locks.holders(repo.id)
        is_old = self.now() - lock.time > _STALE_SECONDS
        return is_old or is_left_over(lock, Host(now=self.now), holders)

    def _words(self, lock: HeldLock) -> str:
        return f"{lock}, renewed {render_duration(self.now() - lock.time)} ago"
