"""Who is examined: the settings, the ways to ask, and what earlier checks have learned."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sidecar.backrest.api_api import BackrestApi
from sidecar.backrest.document import Document
from sidecar.docker.client import Connection
from sidecar.docker.inventory import Engine
from sidecar.docker.own import own_container_id
from sidecar.docker.wire import Wire
from sidecar.planner.propose import Proposal
from sidecar.planner.workload import Inventory
from sidecar.reconciler.apply.container import Runner
from sidecar.reconciler.doctor.check import needed
from sidecar.reconciler.settings import Settings

SECONDS = 5.0
"""For which an engine or a Backrest may keep a check waiting."""

_MARKS_OF_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))


@dataclass
class Learned:
    """What the checks found out so far; None or empty for what they did not."""

    document: Document | None = None
    is_usable: bool = False
    """Whether a pass could work on the document."""
    answers: bool = False
    """Whether something answers where the engine should be."""
    version: bytes | None = None
    """The engine's answer to GET /version."""
    may: set[str] = field(default_factory=set)
    """Permissions that the engine, or a proxy before it, was seen to grant."""
    proposal: Proposal | None = None
    inventory: Inventory | None = None
    runner: Runner | None = None
    api: BackrestApi | None = None
    """Set once Backrest has answered."""
    served: Document | None = None


def read_version(url: str | None) -> bytes:
    """Ask an engine for its version; raises InventoryError, WireRefused with its status."""
    with Wire(url, SECONDS) as wire:
        return wire.get("/version")


@dataclass
class Patient:
    """What a check gets to see; `now` is aware.

    `own_id` is the container that we run in, empty outside of any; `is_contained` is also
    true where we run in one that does not tell its id. `mountinfo` lists the mounts that
    we see. `fix`: whether what is safe may be put right.
    """

    settings: Settings
    environment: Mapping[str, str]
    now: datetime
    fix: bool = False
    own_id: str = ""
    is_contained: bool = False
    mountinfo: Path = Path("/proc/self/mountinfo")
    localtime: Path = Path("/etc/localtime")
    ask_version: Callable[[str | None], bytes] = read_version
    learned: Learned = field(default_factory=Learned)
    _engine: Engine | None = None

    @property
    def no_version(self) -> str:
        """Why nothing else can be asked of the engine, where it told no version."""
        said = "tell its version" if self.learned.answers else "answer"
        return f"the engine does not {said}"

    def close(self) -> None:
        """Give all connections back."""
        if self._engine is not None:
            self._engine.close()
        if self.learned.api is not None:
            self.learned.api.close()

    @property
    def engine(self) -> Engine:
        """The engine; raises NotChecked unless it is known to answer."""
        needed(self.learned.version, self.no_version)
        if self._engine is None:
            self._engine = Engine(self.settings.source.docker_sock, SECONDS)
        return self._engine

    @engine.setter
    def engine(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def connection(self) -> Connection:
        """The connection to the engine; raises NotChecked like `engine`."""
        return self.engine.connection

    @property
    def document(self) -> Document:
        """The document; raises NotChecked if it cannot be read."""
        return needed(self.learned.document, "the document cannot be read")

    @property
    def planned(self) -> Document:
        """The document as the next pass would leave it, as far as that is known."""
        proposal = self.learned.proposal
        return self.document if proposal is None else proposal.after

    @property
    def runner(self) -> Runner:
        """The runner's container; raises NotChecked if it was not found."""
        return needed(self.learned.runner, "the runner's container was not found")

    def lose_engine(self) -> None:
        """Ask it nothing more: each question could take as long as the last."""
        self.learned.version = None


def admit(settings: Settings, environment: Mapping[str, str], *, fix: bool) -> Patient:
    """Prepare an examination of this machine, now."""
    own_id = own_container_id(environment=environment) or ""
    return Patient(
        settings,
        environment,
        datetime.now().astimezone(),
        fix,
        own_id,
        bool(own_id) or any(os.path.lexists(mark) for mark in _MARKS_OF_CONTAINERS),
    )
