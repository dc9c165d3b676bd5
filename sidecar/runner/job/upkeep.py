"""What is done for a repository, whichever plans use it."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sidecar.backrest.reading import CheckPolicy, PrunePolicy, Repo
from sidecar.engines.base import (
    EngineError,
    FailureClass,
    Interpreted,
    ResultKind,
    Upkeep,
    failed,
    told,
)

_DEFAULT_PRUNE = PrunePolicy(max_unused_percent=25.0)
_HOUR = 3600.0


def run_unlock(engine: Upkeep, repo: Repo) -> Interpreted | None:
    """Remove stale locks where the repository asks for it; None: it does not."""
    return engine.unlock() if repo.auto_unlock else None


def run_initialise(
    engine: Upkeep, repo: Repo, known: str, keep_guid: Callable[[str, str], None]
) -> Interpreted | None:
    """Create the repository where it asks for it; None: it does not.

    `known` is the id that it had before, empty if there was none: a repository that existed is
    never created anew, for its disk may not be mounted. `keep_guid` is given the repository's
    name and its id; the document is not written.
    """
    if not repo.auto_initialise:
        return None
    return told(lambda: _initialise(engine, repo, known, keep_guid))


def _initialise(
    engine: Upkeep, repo: Repo, known: str, keep_guid: Callable[[str, str], None]
) -> Interpreted:
    if known:
        return _compare(engine.probe(), known)
    keep_guid(repo.id, engine.initialise())
    return Interpreted(ResultKind.SUCCESS)


def run_forget(engine: Upkeep, repo: Repo) -> Interpreted:
    """Forget by the repository's own policy, for each plan apart."""
    if repo.forget is None or repo.forget.retention is None:
        return failed(FailureClass.UNKNOWN, "the repository has no retention")
    return engine.forget_all(repo.forget.retention)


def run_prune(engine: Upkeep, repo: Repo) -> Interpreted:
    """Free space; without a policy a quarter of it may stay unused, as in Backrest."""
    return engine.prune(repo.prune or _DEFAULT_PRUNE)


def run_check(engine: Upkeep, repo: Repo) -> Interpreted:
    """Look whether the repository is sound; without a policy its structure only."""
    return engine.check(repo.check or CheckPolicy())


@dataclass(frozen=True, slots=True)
class Probed:
    """Whether a repository could be reached, and when (unix seconds) that was tried."""

    at: float
    guid: str = ""
    failure: FailureClass | None = None
    reason: str = ""

    @property
    def is_reachable(self) -> bool:
        """Whether it is there, and is the one that it should be."""
        return self.failure is None


def probe(engine: Upkeep, expected: str, at: float) -> Probed:
    """Ask a repository for its id, which should be `expected` unless that is empty.

    Nothing is created, no lock is taken.
    """
    try:
        guid = engine.probe()
    except EngineError as error:
        return Probed(at, failure=error.failure, reason=error.message)
    same = _compare(guid, expected)
    return Probed(at, guid, same.failure, same.reason)


def _compare(guid: str, expected: str) -> Interpreted:
    if expected in ("", guid):
        return Interpreted(ResultKind.SUCCESS)
    reason = f"another repository stands at this address: {guid[:8]} instead of {expected[:8]}"
    return failed(FailureClass.REPO_NOT_FOUND, reason)


class Prober:
    """Probes each repository now and then, and remembers what came of it.

    `engine_for` makes the engine of a repository, `known_guid` gives the id that one of that
    name has had, or nothing.
    """

    def __init__(
        self,
        engine_for: Callable[[Repo], Upkeep],
        known_guid: Callable[[str], str],
        now: Callable[[], float] = time.time,
        every: float = _HOUR,
    ) -> None:
        self._engine_for = engine_for
        self._known_guid = known_guid
        self._now = now
        self._every = every
        self._last: dict[str, tuple[Repo, Probed]] = {}
        self._lock = threading.Lock()

    def due(self, repos: Iterable[Repo]) -> tuple[Repo, ...]:
        """Return those of the repositories that were not probed for so long, or were changed."""
        now = self._now()
        with self._lock:
            return tuple(repo for repo in repos if self._is_due(repo, now))

    def run(self, repo: Repo) -> Probed:
        """Probe one now."""
        expected = repo.guid or self._known_guid(repo.id)
        probed = probe(self._engine_for(repo), expected, self._now())
        with self._lock:
            self._last[repo.id] = repo, probed
        return probed

    def last(self) -> Mapping[str, Probed]:
        """Return the last answers by the repositories' names."""
        with self._lock:
            return {name: probed for name, (_, probed) in self._last.items()}

    def keep_only(self, repos: Iterable[Repo]) -> None:
        """Forget what is known of others."""
        names = {repo.id for repo in repos}
        with self._lock:
            self._last = {name: held for name, held in self._last.items() if name in names}

    def _is_due(self, repo: Repo, now: float) -> bool:
        probed_repo, probed = self._last.get(repo.id, (None, None))
        if probed is None or probed_repo != repo:
            return True
        # A clock that was set back must not silence the probe.
        return not 0 <= now - probed.at < self._every
