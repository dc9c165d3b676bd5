"""Read restic's lines on what it tries again, and decide when that is pointless.

`Stat(<config/>) returned error, retrying after 5.4s: Head "http://…": connection refused` names
the operation and the cause long before restic gives up, which takes it a quarter of an hour for
each operation.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from sidecar.engines.base import FailureClass
from sidecar.engines.restic.failures import classify

_RETRYING = re.compile(r"^(?P<what>\w+\(.*?\)) returned error, retrying after [^:]+: (?P<cause>.+)")
# A storage that lets no lock be removed has taken everything else by then.
_LAST_STEP = "Remove(<lock/"
_HOPELESS = frozenset(
    {
        FailureClass.AUTH,
        FailureClass.DISK_FULL,
        FailureClass.PERMISSION,
        FailureClass.REPO_NOT_FOUND,
        FailureClass.WRONG_PASSWORD,
    }
)
_UNTRUSTED = "x509:"
# Restic waits at most 90 seconds: after a longer pause the operation has succeeded in between.
_LONGEST_PAUSE = 150.0


@dataclass(frozen=True, slots=True)
class _Failing:
    """An operation that fails: when it was first seen to, and last, in seconds."""

    first: float
    last: float


class RetryWatch:
    """Calls `give_up` once when it is pointless that restic goes on; `cause` is then its line.

    That is at once where the cause cannot get better by itself, as refused credentials, and else
    when one and the same operation has failed again and again for `patience` seconds: a backup
    over a flaky line, in which each operation succeeds in the end, goes on.
    """

    def __init__(
        self, patience: float, give_up: Callable[[], None], monotonic: Callable[[], float]
    ) -> None:
        self._patience = patience
        self._give_up = give_up
        self._monotonic = monotonic
        self._failing: dict[str, _Failing] = {}
        self.cause = ""

    def take(self, line: bytes) -> None:
        """Take one line of standard error."""
        text = line.decode(errors="replace").strip()
        found = _RETRYING.match(text)
        if found is None or self.cause or found["what"].startswith(_LAST_STEP):
            return
        if self._is_hopeless(found["cause"]) or self._has_failed_for_long(found["what"]):
            self.cause = text
            self._give_up()

    def _is_hopeless(self, cause: str) -> bool:
        failure, _ = classify(0, [cause])
        return failure in _HOPELESS or _UNTRUSTED in cause

    def _has_failed_for_long(self, what: str) -> bool:
        now = self._monotonic()
        oldest = now - _LONGEST_PAUSE
        self._failing = {
            name: failing for name, failing in self._failing.items() if failing.last >= oldest
        }
        known = self._failing.get(what)
        first = now if known is None else known.first
        self._failing[what] = _Failing(first, now)
        return now - first >= self._patience
