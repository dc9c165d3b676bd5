"""What both ways of applying work with.

Saying what happens once, not at every step.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from sidecar.backrest.api import BackrestApi
from sidecar.docker.client import Connection
from sidecar.lib.log import log_event
from sidecar.reconciler.apply.idle import Due
from sidecar.reconciler.resume.markers import DIRECTORY
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory

_log = logging.getLogger(__name__)


class OnResult(Protocol):
    """Is told what came of something, by one word, and the facts of it."""

    def __call__(self, result: str, **facts: object) -> None:
        """Take note."""


class ApplyReporter:
    """Logs `apply.RESULT` and calls `on_result`, once for each change of situation."""

    def __init__(self, on_result: OnResult) -> None:
        self._on_result = on_result
        self._situation: tuple[str, str] | None = None

    def tell(self, result: str, level: int, key: str = "", /, **facts: object) -> None:
        """Tell a result; again only if its `key` differs or another was told in between."""
        if self._situation != (result, key):
            self._situation = (result, key)
            log_event(_log, level, f"apply.{result}", **facts)
            self._on_result(result, **facts)

    def forget(self) -> None:
        """The situation has passed: should it come again, it is news."""
        self._situation = None


class BusyTimer:
    """Measures how long the runner has been busy; tells it once when that is too long."""

    def __init__(self, reporter: ApplyReporter, wait: float) -> None:
        self._reporter = reporter
        self._wait = wait
        self._since: float | None = None
        self._is_told = False

    def busy(self, because: str, now: float) -> None:
        """Note that the runner is busy at monotonic `now`."""
        if self._since is None:
            self._since = now
        waited = now - self._since
        if waited >= self._wait:
            self._is_told = True
            facts = {"seconds": round(waited), "because": because}
            self._reporter.tell("waiting", logging.WARNING, **facts)

    def over(self) -> None:
        """What was waited for is done, or no longer wanted."""
        self._since = None
        if self._is_told:
            self._is_told = False
            self._reporter.forget()


class StablePeriod:
    """Lets a storm pass: something is settled when it has not changed for `settle` seconds.

    What never settles is let through after twelve times as long.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._seen: float | None = None
        self._changed = 0.0
        self._first: float | None = None

    def left(self, version: float, now: float, changed: float | None = None) -> float:
        """Seconds until `version` is settled; it changed at monotonic `changed`, or just now."""
        if version != self._seen:
            self._seen = version
            self._changed = now if changed is None else changed
            if self._first is None:
                self._first = self._changed
        is_long_enough = self._first is not None and now - self._first >= 12 * self._settle
        return 0.0 if is_long_enough else max(0.0, self._settle - (now - self._changed))

    def done(self) -> None:
        """Everything up to now is applied."""
        self._first = None


PROBE_SECONDS = 3.0
LOADED = 1.0
"""`written_at` when the runner has loaded all that we wrote; 0 would mean that nobody knows."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """`steady` is monotonic, `wall` gives unix seconds."""

    steady: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class ApplyConnections:
    """One thread's own ways to the runner: the engine it runs on and, if it has one, its API.

    `probe` is a second way to the API, with a timeout of PROBE_SECONDS, for the question
    whether it answers.
    """

    connection: Connection
    api: BackrestApi | None = None
    probe: BackrestApi | None = None

    @classmethod
    def open(cls, settings: ReconcilerSettings) -> Self:
        """Make ways as the settings say; nobody is called before the first question."""
        connection, access = Connection(settings.source.docker_sock), settings.access
        if not access.url:
            return cls(connection)
        login = (access.url, access.user, access.password)
        return cls(connection, BackrestApi(*login), BackrestApi(*login, timeout=PROBE_SECONDS))

    def close(self) -> None:
        """Give all connections back."""
        self.connection.close()
        for api in (self.api, self.probe):
            if api is not None:
                api.close()


@dataclass(frozen=True, slots=True)
class ApplyDependencies:
    """What a way of applying works with."""

    settings: ReconcilerSettings
    memory: Memory
    connections: ApplyConnections
    reporter: ApplyReporter
    due: Due
    clocks: Clocks

    @property
    def markers(self) -> Path:
        """Where the hook scripts leave their markers."""
        return self.settings.config.parent / DIRECTORY
