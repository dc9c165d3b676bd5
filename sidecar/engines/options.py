"""How engines are run, whichever they are."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.engines.locking import Locking


class OnMissing(StrEnum):
    """What to do if a path of the plan does not exist."""

    FAIL = "fail"
    """Nothing is backed up, as in Backrest."""
    WARN = "warn"
    """The other paths are backed up, with a warning."""


@dataclass(frozen=True, slots=True)
class CommandTimeouts:
    """How long to wait for a program, in seconds."""

    probe: float = 60.0
    """For the repository's id, or one lock."""
    stall: float | None = 3600.0
    """For anything else, without a sign of progress; None: for ever."""
    retrying: float = 300.0
    """While it tries one and the same operation again and again; of a probe a sixth."""
    every: float = 1.0
    """Between two reports of progress."""
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How programs of engines are run for all repositories.

    Attributes:
        environ: our own environment, from which `${NAME}` is taken.
        on_missing: what to do if a path of a plan does not exist.
        limits: how long they are waited for.
        locking: by what locks are judged.
    """

    environ: Mapping[str, str]
    on_missing: OnMissing = OnMissing.FAIL
    limits: CommandTimeouts = field(default_factory=CommandTimeouts)
    locking: Locking = field(default_factory=Locking)
