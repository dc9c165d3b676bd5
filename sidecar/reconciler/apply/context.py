"""What both apply strategies work with: settings, state, connections, clocks, a reporter.

Here too is how they report and wait: a situation is reported once, not at every step,
and what keeps changing is waited for, but not forever.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from sidecar.backrest.api import BackrestApi
from sidecar.docker.client import DockerClient
from sidecar.docker.markers import DIRECTORY
from sidecar.lib.log import log_event
from sidecar.reconciler.apply.idle import Due
from sidecar.reconciler.recorder import PassRecorder
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.reconciler.state import Memory

PROBE_SECONDS = 3.0
"""Timeout of the call that asks whether the API answers."""
LOADED = 1.0
"""`written_at` when Backrest has loaded all that we wrote; 0 would mean that nobody knows."""

# What never settles is let through after so many times the settling time.
_MOST_PERIODS = 12

_log = logging.getLogger(__name__)


class OnResult(Protocol):
    """Called with a result in one word, such as `applied`, and its facts."""

    def __call__(self, result: str, **facts: object) -> None:
        """Take the result."""


class ApplyReporter:
    """Logs `apply.RESULT` and calls `on_result`, once for each change of situation."""

    def __init__(self, on_result: OnResult) -> None:
        self._on_result = on_result
        self._situation: tuple[str, str] | None = None

    def report(self, result: str, level: int, key: str = "", /, **facts: object) -> None:
        """Report a result, unless the last report was of the same result and `key`."""
        if self._situation != (result, key):
            self._situation = (result, key)
            log_event(_log, level, f"apply.{result}", **facts)
            self._on_result(result, **facts)

    def note(self, result: str, **facts: object) -> None:
        """Call `on_result` only: this has been logged, and is no situation that lasts."""
        self._on_result(result, **facts)

    def forget(self) -> None:
        """Note that the situation has passed: should it come again, it is reported again."""
        self._situation = None


class BusyTimer:
    """Measures how long Backrest is busy; reports once that it exceeds `wait` seconds."""

    def __init__(self, reporter: ApplyReporter, wait: float) -> None:
        self._reporter = reporter
        self._wait = wait
        self._since: float | None = None
        self._is_reported = False

    def busy(self, because: str, now: float) -> None:
        """Note that Backrest is busy at monotonic `now`."""
        if self._since is None:
            self._since = now
        waited = now - self._since
        if waited >= self._wait:
            self._is_reported = True
            facts = {"seconds": round(waited), "because": because}
            self._reporter.report("waiting", logging.WARNING, **facts)

    def over(self) -> None:
        """Note that what was waited for is done, or no longer wanted."""
        self._since = None
        if self._is_reported:
            self._is_reported = False
            self._reporter.forget()


class StablePeriod:
    """Waits until a version has not changed for `settle` seconds.

    One that keeps changing is let through after twelve times as long.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._seen: float | None = None
        self._changed = 0.0
        self._first: float | None = None

    def left(self, version: float, now: float, changed: float | None = None) -> float:
        """Return the seconds until `version` is settled; 0 when it is.

        It changed at monotonic `changed`; None: just now if it is another than before.
        """
        if version != self._seen:
            self._seen = version
            self._changed = now if changed is None else changed
            if self._first is None:
                self._first = self._changed
        longest = _MOST_PERIODS * self._settle
        is_long_enough = self._first is not None and now - self._first >= longest
        return 0.0 if is_long_enough else max(0.0, self._settle - (now - self._changed))

    def done(self) -> None:
        """Note that everything up to now is applied."""
        self._first = None


@dataclass(frozen=True, slots=True)
class Clocks:
    """`monotonic` gives seconds of a clock that nobody sets, `wall` unix seconds."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class ApplyConnections:
    """One thread's own connections: to Docker and, where a URL is given, to Backrest's API.

    `probe` is a second connection to the API, with a timeout of PROBE_SECONDS, for the
    question whether it answers.
    """

    connection: DockerClient
    api: BackrestApi | None = None
    probe: BackrestApi | None = None

    @classmethod
    def open(cls, settings: ReconcilerSettings) -> Self:
        """Make the connections that the settings name; nothing is sent before the first call."""
        connection, access = DockerClient(settings.source.docker_sock), settings.access
        if not access.url:
            return cls(connection)
        login = (access.url, access.user, access.password)
        return cls(connection, BackrestApi(*login), BackrestApi(*login, timeout=PROBE_SECONDS))

    def close(self) -> None:
        """Close all connections."""
        self.connection.close()
        for api in (self.api, self.probe):
            if api is not None:
                api.close()


@dataclass(frozen=True, slots=True)
class ApplyDependencies:
    """What an apply strategy works with; `due` tells whether Backrest has to run a plan soon."""

    settings: ReconcilerSettings
    recorder: PassRecorder
    connections: ApplyConnections
    reporter: ApplyReporter
    due: Due
    clocks: Clocks

    @property
    def memory(self) -> Memory:
        """What the sidecar remembers."""
        return self.recorder.memory

    @property
    def markers(self) -> Path:
        """The directory in which hook scripts leave their markers."""
        return self.settings.config.parent / DIRECTORY
