"""Which containers use the places of a restore."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sidecar.docker.endpoint import DEFAULT_ADDRESS
from sidecar.docker.failures import NoDocker
from sidecar.docker.models import Container
from sidecar.docker.own_container import find_own_container, own_container_id
from sidecar.docker.usage import on_host, users_of

_MARKS = ("/.dockerenv", "/run/.containerenv")


class ContainerLister(Protocol):
    """What is read of Docker; everything may raise DockerError."""

    @property
    def address(self) -> str:
        """Where Docker listens."""
        ...

    def all(self) -> tuple[Container, ...]:
        """List the containers."""
        ...

    def data_root(self) -> str:
        """Return Docker's folder."""
        ...


@dataclass(frozen=True, slots=True)
class OwnContainer:
    """The container of this process: its id or the beginning of that, empty outside of any."""

    id: str

    @classmethod
    def detect(cls) -> "OwnContainer":
        """Detect it; `?` if we are in one whose id is not known."""
        return cls(
            own_container_id() or ("?" if any(Path(mark).exists() for mark in _MARKS) else "")
        )


def users_at_work(
    docker: ContainerLister, places: Iterable[str], own: OwnContainer | None = None
) -> tuple[Container, ...]:
    """Return the running containers that use a place, except our own.

    Without Docker at the usual address, and outside of any container, there are none.
    Raises DockerError where it cannot be known.
    """
    own = own or OwnContainer.detect()
    try:
        containers = docker.all()
    except NoDocker:
        if own.id or docker.address != DEFAULT_ADDRESS:
            raise
        return ()
    ours = find_own_container(containers, own.id)
    others = [one for one in containers if one.is_at_work and one != ours]
    wanted = {on_host(os.path.realpath(place), ours) for place in places}
    return users_of(wanted, others, docker.data_root())
