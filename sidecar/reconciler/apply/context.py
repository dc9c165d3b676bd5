"""What both ways of applying work with."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sidecar.backrest.api_api import BackrestApi
from sidecar.docker.client import Connection
from sidecar.reconciler.apply.idle import Due
from sidecar.reconciler.apply.telling import Teller
from sidecar.reconciler.resume.markers import DIRECTORY
from sidecar.reconciler.settings import Settings
from sidecar.reconciler.state import Memory

PROBE_SECONDS = 3.0
LOADED = 1.0
"""`written_at` when the runner has loaded all that we wrote; 0 would mean that nobody knows."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """`steady` is monotonic, `wall` gives unix seconds."""

    steady: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Links:
    """One thread's own ways to the runner: the engine it runs on and, if it has one, its API.

    `probe` is a second way to the API, with a timeout of PROBE_SECONDS, for the question
    whether it answers.
    """

    connection: Connection
    api: BackrestApi | None = None
    probe: BackrestApi | None = None

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Make ways as the settings say; nobody is called before the first question."""
        connection, access = Connection(settings.source.docker_sock), settings.access
        if not access.url:
            return cls(connection)
        return cls(connection, BackrestApi(access), BackrestApi(access, PROBE_SECONDS))

    def close(self) -> None:
        """Give all connections back."""
        self.connection.close()
        for api in (self.api, self.probe):
            if api is not None:
                api.close()


@dataclass(frozen=True, slots=True)
class Site:
    """What a way of applying works with."""

    settings: Settings
    memory: Memory
    links: Links
    teller: Teller
    due: Due
    clocks: Clocks

    @property
    def markers(self) -> Path:
        """Where the hook scripts leave their markers."""
        return self.settings.config.parent / DIRECTORY
