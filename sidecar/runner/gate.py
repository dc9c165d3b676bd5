"""Check before a run whether its repository answers, so that nothing is stopped in vain."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from sidecar.backrest.reading import Repo
from sidecar.engines.base import CommandResult, FailureClass, ResultKind, failed
from sidecar.runner.addresses import is_at_hand
from sidecar.runner.job.upkeep import Probed, Prober
from sidecar.runner.journal import Ended
from sidecar.runner.repositories import Initialiser

AWAY = frozenset({FailureClass.NETWORK, FailureClass.TIMEOUT, FailureClass.RATE_LIMIT})
"""Classes of failures of a repository that is out of reach, and may be back any time."""

_BELIEVED_SECONDS = 300.0
_AWAY_SECONDS = 60.0


class RepositoryGate:
    """Lets a run begin if its repository answers; safe for threads.

    `initialiser` creates a repository that never existed. Of one that is a folder of this machine,
    `${NAME}` in its address taken from `environ`, no program is started to ask. `now` gives unix
    seconds.
    """

    def __init__(
        self,
        prober: Prober,
        initialiser: Initialiser,
        environ: Mapping[str, str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._prober = prober
        self._initialiser = initialiser
        self._environ = environ
        self._now = now
        self._lock = threading.Lock()
        self._used: dict[str, tuple[Repo, float]] = {}

    def refusal(self, repo: Repo, *, is_asked_for: bool) -> CommandResult | None:
        """Return why a repository cannot be used now, in bounded time; None: it can.

        One that a run has used, or a probe has reached, within five minutes is believed to be
        there. One that was out of reach a moment ago is tried again only for a person, where
        `is_asked_for`: several of its plans must not hold a worker for a minute each.
        """
        known, now = self._prober.find(repo), self._now()
        if known is not None and not is_asked_for and _is_away(known, now):
            return _refused(known)
        ensured = self._initialiser.ensure(repo)
        if ensured is not None:
            self._note(repo, ensured.failure, ensured.reason)
            return None if ensured.kind is ResultKind.SUCCESS else ensured
        if self._is_believed(repo, known, now) or is_at_hand(repo, self._environ):
            return None
        return _refused(self._prober.run(repo))

    def note(self, repo: Repo, ended: Ended) -> None:
        """Note how a run on a repository ended: that tells as much as a probe."""
        if ended.outcome.is_good:
            self._note(repo, None, "")
        elif ended.failure in AWAY:
            self._note(repo, ended.failure, ended.reason)

    def _note(self, repo: Repo, failure: FailureClass | None, reason: str) -> None:
        now = self._now()
        with self._lock:
            if failure is None:
                self._used[repo.id] = repo, now
            else:
                self._used.pop(repo.id, None)
        if failure is None:
            self._prober.succeeded(repo.id)
        else:
            self._prober.note(repo, Probed(now, failure=failure, reason=reason))

    def _is_believed(self, repo: Repo, known: Probed | None, now: float) -> bool:
        with self._lock:
            used_repo, used = self._used.get(repo.id, (None, 0.0))
        moments = [used] if used_repo == repo else []
        if known is not None and known.is_reachable:
            moments.append(known.at)
        return any(0 <= now - at < _BELIEVED_SECONDS for at in moments)


def _is_away(probed: Probed, now: float) -> bool:
    """Return whether a repository was out of reach a moment ago."""
    return probed.failure in AWAY and 0 <= now - probed.at < _AWAY_SECONDS


def _refused(probed: Probed) -> CommandResult | None:
    """Return why a repository cannot be used; which one answers is for health to judge."""
    if probed.failure is None or probed.guid:
        return None
    return replace(failed(probed.failure, probed.reason), excerpt=probed.excerpt)
