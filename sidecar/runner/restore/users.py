"""Which containers use the places of a restore."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sidecar.docker.engine import DEFAULT_ADDRESS, NoEngine
from sidecar.docker.usage import Container, on_host, own_container, own_id, users_of

_MARKS = ("/.dockerenv", "/run/.containerenv")


class Lists(Protocol):
    """What is needed of `Containers`; everything may raise ContainersError."""

    @property
    def address(self) -> str:
        """Where the engine is."""
        ...

    def all(self) -> tuple[Container, ...]:
        """List the containers."""
        ...

    def data_root(self) -> str:
        """Give the engine's folder."""
        ...


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where this process runs: the id of its container or its beginning, empty outside of any."""

    container: str

    @classmethod
    def found(cls) -> "Whereabouts":
        """Look where we are; where the id of our container is not known, it is `?`."""
        return cls(own_id() or ("?" if any(Path(mark).exists() for mark in _MARKS) else ""))


def users_at_work(
    engine: Lists, places: Iterable[str], here: Whereabouts | None = None
) -> tuple[Container, ...]:
    """List the containers at work that use a place, except our own.

    Where there is no engine at the usual address, and we are in no container ourselves,
    there are none. Raises ContainersError where it cannot be known.
    """
    here = here or Whereabouts.found()
    try:
        everything = engine.all()
    except NoEngine:
        if here.container or engine.address != DEFAULT_ADDRESS:
            raise
        return ()
    own = own_container(everything, here.container)
    others = [one for one in everything if one.is_at_work and one != own]
    wanted = {on_host(os.path.realpath(place), own) for place in places}
    return users_of(wanted, others, engine.data_root())
