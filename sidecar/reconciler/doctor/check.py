"""What a check found: a verdict, a sentence, and what to do about it.

Who is examined: the settings, the ways to ask, and what earlier checks have learned.

Container paths → host paths, by what is mounted.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from sidecar.backrest.api import BackrestApi
from sidecar.backrest.document import Document
from sidecar.docker.client import Connection
from sidecar.docker.cuttable_connection import CuttableConnection
from sidecar.docker.inventory import DockerInventory, own_container_id
from sidecar.docker.models import Inventory, Mount
from sidecar.planner.host_path import is_under, move, normal_path
from sidecar.planner.propose import Proposal
from sidecar.reconciler.apply.container import Runner
from sidecar.reconciler.settings import ReconcilerSettings

T = TypeVar("T")
_MOST_DETAILS = 20


class CheckStatus(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """Backups run, but not as well as they could, or nobody can tell."""
    FAILURE = "failure"
    """Something that is asked for does not work."""
    NOT_CHECKED = "not-checked"
    """There was nothing to check, or an earlier failure hides it."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line: `hint` says what to do, `details` name what is concerned, one each.

    `fixed` tells what was done about it, empty if nothing was. `check` is the id.
    """

    verdict: CheckStatus
    message: str
    hint: str = ""
    details: tuple[str, ...] = ()
    fixed: str = ""
    check: str = ""


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All findings, in the order of the checks."""

    config: str
    findings: tuple[CheckResult, ...]

    @property
    def has_failed(self) -> bool:
        """Whether anything does not work; warnings and what was not checked do not count."""
        return any(finding.verdict is CheckStatus.FAILURE for finding in self.findings)


class NotChecked(Exception):
    """There is nothing that the check could look at; the text says why."""


def needed(value: T | None, why: str) -> T:
    """Return what an earlier check found; raises NotChecked if it found nothing."""
    if value is None:
        raise NotChecked(why)
    return value


def passed(message: str, *, details: Iterable[str] = (), fixed: str = "") -> CheckResult:
    """All is well."""
    return CheckResult(CheckStatus.OK, message, "", _some(details), fixed)


def warned(message: str, hint: str, details: Iterable[str] = ()) -> CheckResult:
    """It works, but somebody should know."""
    return CheckResult(CheckStatus.WARNING, message, hint, _some(details))


def failed(message: str, hint: str, details: Iterable[str] = ()) -> CheckResult:
    """It does not work."""
    return CheckResult(CheckStatus.FAILURE, message, hint, _some(details))


def counted(number: int, one: str, many: str = "") -> str:
    """Write a number of things, as in `1 plan` and `2 plans`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _some(details: Iterable[str]) -> tuple[str, ...]:
    listed = tuple(details)
    more = len(listed) - _MOST_DETAILS
    return listed if more <= 0 else (*listed[:_MOST_DETAILS], f"and {more} more")


SECONDS = 5.0
"""For which an engine or a Backrest may keep a check waiting."""

_MARKS_OF_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))


@dataclass
class CheckMemory:
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
    """Ask an engine for its version; raises InventoryError, RequestRefused with its status."""
    with CuttableConnection(url, SECONDS) as wire:
        return wire.get("/version")


@dataclass
class CheckContext:
    """What a check gets to see; `now` is aware.

    `own_id` is the container that we run in, empty outside of any; `is_contained` is also
    true where we run in one that does not tell its id. `mountinfo` lists the mounts that
    we see. `fix`: whether what is safe may be put right.
    """

    settings: ReconcilerSettings
    environment: Mapping[str, str]
    now: datetime
    fix: bool = False
    own_id: str = ""
    is_contained: bool = False
    mountinfo: Path = Path("/proc/self/mountinfo")
    localtime: Path = Path("/etc/localtime")
    ask_version: Callable[[str | None], bytes] = read_version
    memory: CheckMemory = field(default_factory=CheckMemory)
    _engine: DockerInventory | None = None

    @property
    def no_version(self) -> str:
        """Why nothing else can be asked of the engine, where it told no version."""
        said = "tell its version" if self.memory.answers else "answer"
        return f"the engine does not {said}"

    def close(self) -> None:
        """Give all connections back."""
        if self._engine is not None:
            self._engine.close()
        if self.memory.api is not None:
            self.memory.api.close()

    @property
    def engine(self) -> DockerInventory:
        """The engine; raises NotChecked unless it is known to answer."""
        needed(self.memory.version, self.no_version)
        if self._engine is None:
            self._engine = DockerInventory(self.settings.source.docker_sock, SECONDS)
        return self._engine

    @engine.setter
    def engine(self, engine: DockerInventory) -> None:
        self._engine = engine

    @property
    def connection(self) -> Connection:
        """The connection to the engine; raises NotChecked like `engine`."""
        return self.engine.connection

    @property
    def document(self) -> Document:
        """The document; raises NotChecked if it cannot be read."""
        return needed(self.memory.document, "the document cannot be read")

    @property
    def planned(self) -> Document:
        """The document as the next pass would leave it, as far as that is known."""
        proposal = self.memory.proposal
        return self.document if proposal is None else proposal.after

    @property
    def runner(self) -> Runner:
        """The runner's container; raises NotChecked if it was not found."""
        return needed(self.memory.runner, "the runner's container was not found")

    def lose_engine(self) -> None:
        """Ask it nothing more: each question could take as long as the last."""
        self.memory.version = None


def admit(
    settings: ReconcilerSettings, environment: Mapping[str, str], *, fix: bool
) -> CheckContext:
    """Prepare an examination of this machine, now."""
    own_id = own_container_id(environment=environment) or ""
    return CheckContext(
        settings,
        environment,
        datetime.now().astimezone(),
        fix,
        own_id,
        bool(own_id) or any(os.path.lexists(mark) for mark in _MARKS_OF_CONTAINERS),
    )


def find_mount(mounts: Iterable[Mount], path: str) -> Mount | None:
    """Find the mount that a container path lies in: the deepest one."""
    wanted = normal_path(path)
    holding = [mount for mount in mounts if is_under(wanted, normal_path(mount.destination))]
    return max(holding, key=lambda mount: len(normal_path(mount.destination)), default=None)


def host_path(mounts: Iterable[Mount], path: str) -> str | None:
    """Return the host's path of a container path; None for what is no directory of the host."""
    mount = find_mount(mounts, path)
    if mount is None or not mount.source:
        return None
    return move(normal_path(path), normal_path(mount.destination), normal_path(mount.source))
