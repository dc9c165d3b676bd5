"""Stopping containers around a backup: which, in which order, and starting them persistently.

`sidecar.runner.quiesce` records what is stopped, so that it is started again after a kill. This
module adds the order through shared networks, several tries, and what Compose recreated meanwhile.
"""

import logging
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Protocol, TypeVar

from sidecar.docker.failures import DockerError
from sidecar.docker.models import Container, ContainerState
from sidecar.lib.log import log_event
from sidecar.runner.journal import Journal
from sidecar.runner.quiesce import (
    ContainerControl,
    reasons_not_to_stop,
    while_stopped,
)
from sidecar.service.signals import SignalWaiter

_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_DEPENDS_ON = "com.docker.compose.depends_on"
_IDENTITY = (
    _PROJECT,
    _SERVICE,
    "com.docker.compose.container-number",
    "com.docker.compose.oneoff",
)
# While it recreates a container, Compose puts twelve digits of the old id before its name.
_RECREATED = re.compile(r"[0-9a-f]{12}_(.+)", re.ASCII)
# One that is paused writes nothing, and one that restarts would write again.
_RUNNING = frozenset({"running", "restarting"})
_PAUSES = (1.0, 3.0)

T = TypeVar("T")
_log = logging.getLogger(__name__)


class QuiesceControl(ContainerControl, Protocol):
    """What quiescing needs of Docker; every method may raise DockerError."""

    def all(self) -> tuple[Container, ...]:
        """List all containers."""
        ...

    def providers(self) -> Mapping[str, str]:
        """Return, by container id, the id or name of the container whose network it shares."""
        ...


class StopFailed(DockerError):
    """A container cannot or must not be stopped, so nothing was backed up."""


@dataclass(frozen=True, slots=True)
class QuiesceContext:
    """How containers are stopped.

    Attributes:
        seconds: how long each has to stop, before Docker kills it.
        waiter: is waited for between two tries to start one, and is stopped if we are to end.
    """

    seconds: float
    waiter: SignalWaiter


def choose_stopped(docker: QuiesceControl, wanted: Collection[str]) -> tuple[Container, ...]:
    """Return those of the wanted ids that run, in the order in which they are stopped.

    Raises StopFailed if one of them would not come back as it is.
    """
    if not wanted:
        return ()
    ordered = in_start_order(docker.all(), docker.providers())
    chosen = [one for one in reversed(ordered) if one.id in wanted and one.state in _RUNNING]
    if reasons := reasons_not_to_stop(docker, chosen):
        raise StopFailed("; ".join(reasons), "or take the label off; nothing was backed up")
    return tuple(chosen)


def in_start_order(
    containers: Iterable[Container], providers: Mapping[str, str]
) -> tuple[Container, ...]:
    """Sort containers so that what one needs comes before it, else by name. Pure.

    One needs what Compose's `depends_on` names, and by `providers` (container id → id or name)
    the container whose network it shares. Needs count through others: pass all containers of
    Docker, and choose from what is returned. In a circle of needs all are sorted by name.
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
        needed = {found for entry in _dependencies(one) for found in services.get(entry, ())}
        needed |= {named[ref] for ref in (providers.get(one.id, ""),) if ref in named}
        graph[one.id] = needed - {one.id}
    try:
        return tuple(known[index] for index in _sorted_places(graph, place))
    except CycleError:
        return tuple(known)


def _sorted_places(graph: Mapping[str, set[str]], place: Mapping[str, int]) -> list[int]:
    """Return the places in layers, each of which needs only those before it."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ordered: list[int] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        ordered += sorted(place[one] for one in ready)
        sorter.done(*ready)
    return ordered


def _project(container: Container) -> str:
    return container.labels.get(_PROJECT, "")


def _dependencies(container: Container) -> Iterable[tuple[str, str]]:
    """Return the services that Compose says it depends on: `NAME:CONDITION:RESTART,...`."""
    entries = container.labels.get(_DEPENDS_ON, "").split(",")
    names = (entry.partition(":")[0].strip() for entry in entries)
    return ((_project(container), name) for name in names if name)


@contextmanager
def quiesced(
    docker: QuiesceControl,
    containers: Sequence[Container],
    journal: Journal,
    context: QuiesceContext,
) -> Iterator[None]:
    """Stop containers in this order for the block, and start them in reverse, whatever happens.

    Raises StopFailed, with all started again, if one cannot be stopped or if we are asked to
    end before all are; DockerError if some cannot be started, after all others were.
    """
    controls: list[_PersistentControl] = []
    try:
        with ExitStack() as stack:
            for one in containers:
                if context.waiter.is_stopped:
                    raise StopFailed("asked to end before anything was backed up")
                control = _PersistentControl(docker, one, context.waiter)
                controls.append(control)
                _stop(stack, control, journal, math.ceil(context.seconds))
            yield
    except DockerError as error:
        if failures := [failure for one in reversed(controls) for failure in one.failures]:
            reasons = dict.fromkeys((error.message, *failures))
            raise DockerError("; ".join(reasons), "see why, and start them by hand") from error
        raise


def _stop(stack: ExitStack, control: "_PersistentControl", journal: Journal, seconds: int) -> None:
    stopped = while_stopped(
        control, (control.one,), journal, seconds=seconds, wait=control.waiter.wait
    )
    try:
        stack.enter_context(stopped)
    except DockerError as error:
        raise StopFailed(f"nothing was backed up: {error.message}", error.hint) from error


@dataclass
class _PersistentControl:
    """Docker for one container: a start is tried several times, whatever its name is by now.

    `failures` are sentences on starts that have failed.
    """

    docker: QuiesceControl
    one: Container
    waiter: SignalWaiter
    failures: list[str] = field(default_factory=list, init=False)

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop it."""
        self.docker.stop(container, seconds)

    def state(self, container: str) -> ContainerState | None:
        """Return how it stands, with a few tries."""
        return self._retry(lambda: self.docker.state(container))

    def now(self) -> float:
        """Return the time of Docker's clock, with a few tries."""
        return self._retry(self.docker.now)

    def start(self, container: str) -> bool:
        """Start it, with a few tries; a failure is noted and raised."""
        try:
            return self._retry(lambda: self.docker.start(container))
        except DockerError as error:
            self.failures.append(f"{self.one.name} is not sure to run again: {error.message}")
            raise

    def find(self, name: str) -> Container | None:
        """Find what is in its place by now: of that name, or that part of its Compose project."""
        return self._retry(lambda: find_replacement(self.one, name, self.docker.all()))

    def goes_when_stopped(self, container: str) -> bool:
        """Return whether it would be removed."""
        return self.docker.goes_when_stopped(container)

    def _retry(self, call: Callable[[], T]) -> T:
        for pause in _PAUSES:
            try:
                return call()
            except DockerError as error:
                fields = {"name": self.one.name, "reason": error.message}
                log_event(_log, logging.WARNING, "container.retried", **fields)
                self.waiter.wait(pause)
        return call()


def find_replacement(one: Container, name: str, present: Iterable[Container]) -> Container | None:
    """Return the container that has come in the place of one that is gone."""
    from_best: tuple[Callable[[Container], bool], ...] = (
        lambda other: name in {other.id, other.name},
        lambda other: _compose_identity(other) == _compose_identity(one) is not None,
        lambda other: _final_name(other) == name,
    )
    candidates = tuple(present)
    return next((other for fits in from_best for other in candidates if fits(other)), None)


def _compose_identity(one: Container) -> tuple[str, ...] | None:
    """Return project, service, number and one-off; None if Compose did not make it."""
    values = tuple(one.labels.get(key, "") for key in _IDENTITY)
    return values if all(values[:2]) else None


def _final_name(one: Container) -> str:
    """Return the name that Compose will give to a container that it is just recreating."""
    found = _RECREATED.fullmatch(one.name)
    return found[1] if found else one.name
