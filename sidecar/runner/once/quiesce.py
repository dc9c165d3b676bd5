"""Stopping containers around a backup: which, in which order, and what becomes of them meanwhile.

That they are started again whatever happens is the matter of `runner.quiet`.

In which order containers start, and in reverse stop: what others need comes first. PURE.
"""

import logging
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Protocol, TypeVar

from sidecar.docker.lifecycle import ContainersError
from sidecar.docker.usage import ContainerUse
from sidecar.lib.log import log_event
from sidecar.runner.quiesce import (
    ContainerControl,
    StoppedRecords,
    reasons_not_to_stop,
    while_stopped,
)

_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_DEPENDS_ON = "com.docker.compose.depends_on"


def in_start_order(
    containers: Iterable[ContainerUse], providers: Mapping[str, str]
) -> tuple[ContainerUse, ...]:
    """Sort all containers of an engine so that what one needs comes before it, else by name.

    `providers` tells by a container's id the id or the name of the one whose network it
    shares. Needs count through others: hand in all, and choose from what comes back. Those
    that need each other in a circle leave the order by name.
    """
    known = sorted(containers, key=lambda one: (one.name, one.id))
    place = {one.id: index for index, one in enumerate(known)}
    named = {name: one.id for one in known for name in (one.name, one.id)}
    services: dict[tuple[str, str], list[str]] = {}
    for one in known:
        if service := one.labels.get(_SERVICE):
            services.setdefault((_project(one), service), []).append(one.id)
    graph = {}
    for one in known:
        needed = {found for entry in _entries(one) for found in services.get(entry, ())}
        needed |= {named[ref] for ref in (providers.get(one.id, ""),) if ref in named}
        graph[one.id] = needed - {one.id}
    try:
        return tuple(known[index] for index in _sorted(graph, place))
    except CycleError:
        return tuple(known)


def _sorted(graph: Mapping[str, set[str]], place: Mapping[str, int]) -> list[int]:
    """Return the places in layers, each of which needs only those before it."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ordered: list[int] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        ordered += sorted(place[one] for one in ready)
        sorter.done(*ready)
    return ordered


def _project(container: ContainerUse) -> str:
    return container.labels.get(_PROJECT, "")


def _entries(container: ContainerUse) -> Iterable[tuple[str, str]]:
    """Return the services that Compose says it depends on: `NAME:CONDITION:RESTART,...`."""
    said = container.labels.get(_DEPENDS_ON, "")
    names = (entry.partition(":")[0].strip() for entry in said.split(","))
    return ((_project(container), name) for name in names if name)


_PAUSES = (1.0, 3.0)
# One that is paused writes nothing, and one that restarts would write again.
_RUNNING = frozenset({"running", "restarting"})
_IDENTITY = tuple(
    f"com.docker.compose.{name}" for name in ("project", "service", "container-number", "oneoff")
)
_RECREATED = re.compile(r"[0-9a-f]{12}_(.+)", re.ASCII)

T = TypeVar("T")
_log = logging.getLogger(__name__)


class StopsAndTells(ContainerControl, Protocol):
    """What is needed of `OneShotDocker`; everything may raise ContainersError."""

    def all(self) -> tuple[ContainerUse, ...]:
        """List all containers."""
        ...

    def providers(self) -> Mapping[str, str]:
        """Tell who shares whose network."""
        ...

    def started_at(self, container: str) -> float | None:
        """Return when a container was started that is at work."""
        ...


class StopFailed(ContainersError):
    """A container cannot or must not be stopped, so nothing was backed up."""


@dataclass(frozen=True, slots=True)
class QuiesceContext:
    """How containers are stopped: `seconds` that each has before the engine ends it by force.

    `wait` waits so many seconds between two tries to start one; `is_stopping` tells whether
    we are asked to end.
    """

    seconds: float
    wait: Callable[[float], object]
    is_stopping: Callable[[], bool]


def choose_stopped(engine: StopsAndTells, wanted: Collection[str]) -> tuple[ContainerUse, ...]:
    """Return those of these ids that run, in the order in which they are stopped.

    Raises NotStopped if one of them would not come back as it is.
    """
    if not wanted:
        return ()
    ordered = in_start_order(engine.all(), engine.providers())
    chosen = [one for one in reversed(ordered) if one.id in wanted and one.state in _RUNNING]
    if reasons := reasons_not_to_stop(engine, chosen):
        raise StopFailed("; ".join(reasons), "or take the label off; nothing was backed up")
    return tuple(chosen)


@contextmanager
def quiesced(
    engine: StopsAndTells,
    containers: Sequence[ContainerUse],
    journal: StoppedRecords,
    how: QuiesceContext,
) -> Iterator[None]:
    """Stop containers in this order for the block, and start them in reverse, whatever happens.

    Raises NotStopped, with all started again, if one cannot be stopped or if we are asked to
    end before all are; ContainersError if some cannot be started, after all others were.
    """
    failures: list[str] = []
    try:
        with ExitStack() as stack:
            for one in containers:
                if how.is_stopping():
                    raise StopFailed("asked to end before anything was backed up")
                steadfast = _Steadfast(engine, one, how.wait, failures)
                _stop(stack, steadfast, journal, math.ceil(how.seconds))
            yield
    except ContainersError as error:
        if failures:
            reasons = dict.fromkeys((error.message, *failures))
            raise ContainersError("; ".join(reasons), "see why, and start them by hand") from error
        raise


def _stop(stack: ExitStack, steadfast: "_Steadfast", journal: StoppedRecords, seconds: int) -> None:
    stopped = while_stopped(steadfast, (steadfast.one,), journal, seconds=seconds)
    try:
        stack.enter_context(stopped)
    except ContainersError as error:
        raise StopFailed(f"nothing was backed up: {error.message}", error.hint) from error


@dataclass
class _Steadfast:
    """The engine, for one container: it is started by all means, whatever its name is by now."""

    engine: StopsAndTells
    one: ContainerUse
    wait: Callable[[float], object]
    failures: list[str] = field(repr=False)
    is_in_doubt: bool = False

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it; if that fails it may be stopping all the same."""
        self.is_in_doubt = True
        self.engine.stop(container, seconds)
        self.is_in_doubt = False

    def start(self, container: str) -> bool:
        """Start it, with a few tries; what comes of it is noted."""
        try:
            self._refuse_in_doubt(container)
            return self._try(lambda: self.engine.start(container))
        except ContainersError as error:
            self.failures.append(f"{self.one.name} is not sure to run again: {error.message}")
            raise

    def find(self, name: str) -> ContainerUse | None:
        """Find what is in its place by now: of that name, or that part of its Compose project."""
        return self._try(lambda: find_replacement(self.one, name, self.engine.all()))

    def goes_when_stopped(self, container: str) -> bool:
        """Tell whether it would be removed."""
        return self.engine.goes_when_stopped(container)

    def _refuse_in_doubt(self, container: str) -> None:
        """Leave one that runs to the next start of ours: to start it now would change nothing."""
        if self.is_in_doubt and self.engine.started_at(container) is not None:
            raise ContainersError("it runs, but the engine may be about to stop it all the same")

    def _try(self, ask: Callable[[], T]) -> T:
        for pause in _PAUSES:
            try:
                return ask()
            except ContainersError as error:
                fields = {"name": self.one.name, "reason": error.message}
                log_event(_log, logging.WARNING, "container.retried", **fields)
                self.wait(pause)
        return ask()


def find_replacement(
    one: ContainerUse, name: str, present: Iterable[ContainerUse]
) -> ContainerUse | None:
    """Find the container that has come in the place of one that is gone."""
    by_merit: tuple[Callable[[ContainerUse], bool], ...] = (
        lambda other: name in {other.id, other.name},
        lambda other: _compose_identity(other) == _compose_identity(one) is not None,
        lambda other: _real_name(other) == name,
    )
    everyone = tuple(present)
    return next((other for fits in by_merit for other in everyone if fits(other)), None)


def _compose_identity(one: ContainerUse) -> tuple[str, ...] | None:
    """Return what Compose takes a container for; None if it is none of Compose's."""
    said = tuple(one.labels.get(key, "") for key in _IDENTITY)
    return said if all(said[:2]) else None


def _real_name(one: ContainerUse) -> str:
    """Return the name that Compose will give to a container that it is just recreating."""
    found = _RECREATED.fullmatch(one.name)
    return found[1] if found else one.name
