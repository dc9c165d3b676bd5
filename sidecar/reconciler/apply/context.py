"""What the apply thread works with: the last pass, what comes of a step, connections, settings.

Here too is how it reports and waits: a situation is reported once, not at every step,
and what keeps changing is waited for, but not forever.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from sidecar.backrest.api import BackrestApi
from sidecar.docker.client import DockerClient
from sidecar.docker.markers import DIRECTORY
from sidecar.lib.clocks import Clocks
from sidecar.lib.log import log_event
from sidecar.planner.plan import RenderedWorkload
from sidecar.planner.propose import DesiredState
from sidecar.reconciler.apply.idle import DueSoon
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


@dataclass(frozen=True, slots=True)
class GoodPass:
    """What a good pass wants, since when (monotonic seconds) it is the same, what it rendered."""

    desired: DesiredState
    changed_at: float
    workloads: Sequence[RenderedWorkload] = ()


class LastPass:
    """The last good pass, handed from the main thread to the apply thread, which it wakes."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._good: GoodPass | None = None

    @property
    def good(self) -> GoodPass | None:
        """The last good pass; None before the first."""
        return self._good

    def set(self, good: GoodPass) -> None:
        """Set the last good pass."""
        self._good = good
        self._woken.set()

    def wake(self) -> None:
        """End `wait`, though there is no new pass."""
        self._woken.set()

    def wait(self, seconds: float) -> bool:
        """Wait for a new pass, at most so many seconds; return whether one came."""
        if not self._woken.wait(seconds):
            return False
        self._woken.clear()
        return True


@dataclass(frozen=True, slots=True)
class ApplyEvent:
    """A result of the applier in one word, such as `applied`, and its facts."""

    result: str
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GuardEvent:
    """A result of the resume guard in one word, such as `resumed`, and its facts."""

    result: str
    facts: Mapping[str, object] = field(default_factory=dict)


class StepResult(NamedTuple):
    """What came of a step: the seconds until there may be more to do, and the results."""

    wait: float
    events: Sequence[ApplyEvent | GuardEvent] = ()


class Stepper(Protocol):
    """Does its work in steps, in one thread."""

    def step(self) -> StepResult:
        """Do what can be done now. Raises nothing."""


class ApplyReporter:
    """Logs `apply.RESULT` and keeps it as an event, once for each change of situation."""

    def __init__(self) -> None:
        self._events: list[ApplyEvent] = []
        self._situation: tuple[str, str] | None = None

    def report(self, result: str, level: int, key: str = "", /, **facts: object) -> None:
        """Report a result, unless the last report was of the same result and `key`."""
        if self._situation != (result, key):
            self._situation = (result, key)
            log_event(_log, level, f"apply.{result}", **facts)
            self.note(result, **facts)

    def note(self, result: str, **facts: object) -> None:
        """Keep an event only: this has been logged, and is no situation that lasts."""
        self._events.append(ApplyEvent(result, facts))

    def take(self) -> list[ApplyEvent]:
        """Return the events since the last call."""
        taken, self._events = self._events, []
        return taken

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
    """What an apply strategy works with."""

    settings: ReconcilerSettings
    recorder: PassRecorder
    connections: ApplyConnections
    reporter: ApplyReporter
    clocks: Clocks

    @property
    def memory(self) -> Memory:
        """What the sidecar remembers."""
        return self.recorder.memory

    @property
    def due(self) -> DueSoon:
        """What tells whether Backrest has to run a plan soon."""
        return DueSoon(self.settings.config)

    @property
    def markers(self) -> Path:
        """The directory in which hook scripts leave their markers."""
        return self.settings.config.parent / DIRECTORY
