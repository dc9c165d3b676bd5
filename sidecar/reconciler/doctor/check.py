"""What every check of the doctor works with: its context, and the result that it returns.

A check is a function of a `CheckContext`: the settings, and the facts that earlier checks found.
It returns a `CheckResult`, with the facts for later checks where it found some (`Found`), or
raises NotChecked.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from sidecar.backrest.api import BackrestApi
from sidecar.backrest.document import Document
from sidecar.docker.client import DockerClient
from sidecar.docker.inventory import DockerInventory
from sidecar.docker.models import Inventory, Mount
from sidecar.docker.own_container import own_container_id
from sidecar.planner.host_path import is_under, move, normal_path
from sidecar.planner.propose import DesiredState, Proposal
from sidecar.reconciler.apply.container import BackrestContainer
from sidecar.reconciler.runner_document import is_absent
from sidecar.reconciler.settings import ReconcilerSettings
from sidecar.service.check_result import CheckResult

T = TypeVar("T")

SECONDS = 5.0
"""How long Docker or Backrest may keep a check waiting."""
# Files that Docker and Podman put into each container.
_MARKS_OF_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))


class NotChecked(Exception):
    """Raised by a check that cannot be made; the text says why."""


def needed(value: T | None, why: str) -> T:
    """Return what an earlier check found; raises NotChecked if it found nothing."""
    if value is None:
        raise NotChecked(why)
    return value


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks found so far; None or empty for what they did not."""

    document: Document | None = None
    runner: Document | None = None
    """The runner's document."""
    is_usable: bool = False
    """Whether a pass could work on the document."""
    answers: bool = False
    """Whether something answers where Docker should be."""
    version: bytes = b""
    """Docker's answer to GET /version."""
    docker: DockerInventory | None = None
    """None also once a call has failed: each other could take as long."""
    may: frozenset[str] = frozenset()
    """Permissions that Docker, or a proxy before it, was seen to grant."""
    proposal: Proposal | None = None
    desired: DesiredState | None = None
    inventory: Inventory | None = None
    backrest: BackrestContainer | None = None
    api: BackrestApi | None = None
    """Set once Backrest has answered."""
    served: Document | None = None

    def without_docker(self) -> "Facts":
        """Return the same for checks that shall ask Docker nothing more."""
        return replace(self, docker=None)


class Found(NamedTuple):
    """A result, and all that is known after the check."""

    result: CheckResult
    facts: Facts


def open_docker(url: str | None) -> DockerInventory:
    """Return a client that waits no longer than a check may; raises InventoryError."""
    return DockerInventory(url, SECONDS)


@dataclass(frozen=True)
class CheckContext:
    """What a check works with; `now` is aware.

    `own_id` is the container that we run in, empty outside of any; `is_contained` is also
    true where we run in one whose id is not known. `mountinfo` lists the mounts that we
    see. `fix`: whether what is safe to repair is repaired. `facts` are what earlier checks
    found; the properties raise NotChecked for what they did not. `connections` are closed
    after the last check.
    """

    settings: ReconcilerSettings
    environment: Mapping[str, str]
    now: datetime
    fix: bool = False
    own_id: str = ""
    is_contained: bool = False
    mountinfo: Path = Path("/proc/self/mountinfo")
    localtime: Path = Path("/etc/localtime")
    open_docker: Callable[[str | None], DockerInventory] = open_docker
    facts: Facts = Facts()
    connections: ExitStack = field(default_factory=ExitStack)

    @property
    def docker(self) -> DockerInventory:
        """The client of Docker; raises NotChecked unless Docker is known to answer."""
        refused = "tell its version" if self.facts.answers else "answer"
        return needed(self.facts.docker, f"the engine does not {refused}")

    @property
    def connection(self) -> DockerClient:
        """The connection to Docker; raises NotChecked like `docker`."""
        return self.docker.client

    @property
    def document(self) -> Document:
        """The document; raises NotChecked if it cannot be read, or if there is none."""
        config = self.settings.config
        is_only = is_absent(config) and self.settings.runner_document.is_file()
        why = f"there is no {config}" if is_only else "the document cannot be read"
        return needed(self.facts.document, why)

    @property
    def planned(self) -> Document:
        """The document as the next pass would leave it, as far as that is known."""
        proposal = self.facts.proposal
        return self.document if proposal is None else proposal.after

    @property
    def backrest(self) -> BackrestContainer:
        """The backrest container; raises NotChecked if it was not found."""
        return needed(self.facts.backrest, "the runner's container was not found")


def make_context(
    settings: ReconcilerSettings, environment: Mapping[str, str], *, fix: bool
) -> CheckContext:
    """Return the context of checks of this machine, now."""
    own_id = own_container_id(environment=environment)
    return CheckContext(
        settings,
        environment,
        datetime.now().astimezone(),
        fix,
        own_id,
        bool(own_id) or any(os.path.lexists(mark) for mark in _MARKS_OF_CONTAINERS),
    )


def find_mount(mounts: Iterable[Mount], path: str) -> Mount | None:
    """Return the mount that a container path lies in: the deepest one."""
    wanted = normal_path(path)
    holding = [mount for mount in mounts if is_under(wanted, normal_path(mount.destination))]
    return max(holding, key=lambda mount: len(normal_path(mount.destination)), default=None)


def host_path(mounts: Iterable[Mount], path: str) -> str | None:
    """Return the host's path of a container path; None for what is no directory of the host."""
    mount = find_mount(mounts, path)
    if mount is None or not mount.source:
        return None
    source = normal_path(f"{mount.source}/{mount.subpath}")
    return move(normal_path(path), normal_path(mount.destination), source)
