"""Look after a repository, whichever plans use it: unlock, forget, prune, check, probe."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sidecar.backrest.reading import CheckPolicy, PrunePolicy, Repo
from sidecar.engines.base import (
    CommandResult,
    EngineError,
    Engines,
    FailureClass,
    ResultKind,
    Upkeep,
    failed,
)
from sidecar.runner.repositories import KnownRepositories

_DEFAULT_PRUNE = PrunePolicy(max_unused_percent=25.0)
_HOUR, _MINUTE = 3600.0, 60.0


def run_unlock(engine: Upkeep, repo: Repo) -> CommandResult | None:
    """Remove stale locks; None if the repository does not ask for it."""
    return engine.unlock() if repo.auto_unlock else None


def run_forget(engine: Upkeep, repo: Repo) -> CommandResult:
    """Forget by the repository's own policy, for each plan separately."""
    if repo.forget is None or repo.forget.retention is None:
        return failed(FailureClass.UNKNOWN, "the repository has no retention")
    return engine.forget_all(repo.forget.retention)


def run_prune(engine: Upkeep, repo: Repo) -> CommandResult:
    """Free space; without a policy a quarter of it may stay unused, as in Backrest."""
    return engine.prune(repo.prune or _DEFAULT_PRUNE)


def run_check(engine: Upkeep, repo: Repo) -> CommandResult:
    """Check the repository; without a policy only its structure."""
    return engine.check(repo.check or CheckPolicy())


@dataclass(frozen=True, slots=True)
class Probed:
    """Whether a repository could be reached, and when that was tried, in unix seconds.

    `excerpt` is what its program said, if it could not.
    """

    at: float
    guid: str = ""
    failure: FailureClass | None = None
    reason: str = ""
    excerpt: str = ""

    @property
    def is_reachable(self) -> bool:
        """Whether it is there and has the id that was expected."""
        return self.failure is None


def probe(engine: Upkeep, expected: str, at: float) -> Probed:
    """Read a repository's id, which should be `expected` unless that is empty.

    Nothing is created, no lock is taken.
    """
    try:
        guid = engine.probe()
    except EngineError as error:
        return _unreached(error, at)
    same = _compare(guid, expected)
    return Probed(at, guid, same.failure, same.reason)


def _unreached(error: EngineError, at: float) -> Probed:
    return Probed(at, failure=error.failure, reason=str(error), excerpt=error.excerpt)


def _compare(guid: str, expected: str) -> CommandResult:
    if expected in ("", guid):
        return CommandResult(ResultKind.SUCCESS)
    reason = f"another repository stands at this address: {guid[:8]} instead of {expected[:8]}"
    return failed(FailureClass.REPO_NOT_FOUND, reason)


class Prober:
    """Probes each repository every so many seconds, and remembers the results.

    One that could not be reached is probed again each minute, and one that a run has used with
    success meanwhile counts as reached.

    `known` has the ids that repositories have had. Safe for threads.
    """

    def __init__(
        self,
        engines: Engines,
        known: KnownRepositories,
        now: Callable[[], float] = time.time,
        every: float = _HOUR,
    ) -> None:
        self._engines = engines
        self._known = known
        self._now = now
        self._every = every
        self._last: dict[str, tuple[Repo, Probed]] = {}
        self._lock = threading.Lock()

    def due(self, repos: Iterable[Repo]) -> tuple[Repo, ...]:
        """Return the repositories that were not probed for so long, or have changed since."""
        now = self._now()
        with self._lock:
            return tuple(repo for repo in repos if self._is_due(repo, now))

    def run(self, repo: Repo) -> Probed:
        """Probe one now."""
        expected = repo.guid or self._known.guid(repo.id)
        try:
            probed = probe(self._engines.make(repo), expected, self._now())
        except EngineError as error:
            probed = _unreached(error, self._now())
        self.note(repo, probed)
        return probed

    def note(self, repo: Repo, probed: Probed) -> None:
        """Note what somebody else has found out about a repository."""
        with self._lock:
            self._last[repo.id] = repo, probed

    def find(self, repo: Repo) -> Probed | None:
        """Return the last result of a repository, if its entry has not changed since."""
        with self._lock:
            probed_repo, probed = self._last.get(repo.id, (None, None))
        return probed if probed_repo == repo else None

    def succeeded(self, repo: str) -> None:
        """Note that a run has used a repository with success: a failed probe is out of date."""
        with self._lock:
            _, probed = self._last.get(repo, (None, None))
            if probed is not None and not probed.is_reachable:
                del self._last[repo]

    def is_away(self, repo: str) -> bool:
        """Return whether a repository was last seen out of reach."""
        with self._lock:
            _, probed = self._last.get(repo, (None, None))
            return probed is not None and not probed.is_reachable

    def last(self) -> Mapping[str, Probed]:
        """Return the last results by the repositories' names."""
        with self._lock:
            return {name: probed for name, (_, probed) in self._last.items()}

    def keep_only(self, repos: Iterable[Repo]) -> None:
        """Forget the results of all other repositories."""
        names = {repo.id for repo in repos}
        with self._lock:
            self._last = {name: held for name, held in self._last.items() if name in names}

    def _is_due(self, repo: Repo, now: float) -> bool:
        probed_repo, probed = self._last.get(repo.id, (None, None))
        if probed is None or probed_repo != repo:
            return True
        # A clock that was set back must not silence the probe.
        every = self._every if probed.is_reachable else min(_MINUTE, self._every)
        return not 0 <= now - probed.at < every
