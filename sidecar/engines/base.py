"""The interface of every engine, and the records in which it takes and gives values.

An engine builds command lines, runs them, and interprets how they end. It knows one repository;
it knows no schedule, no hook and no journal.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sidecar.backrest.plan import Retention
from sidecar.backrest.reading import CheckPolicy, PrunePolicy, Repo, RunPlan
from sidecar.lib.errors import SidecarError
from sidecar.lib.process import Child
from sidecar.lib.text import short_id


class ResultKind(StrEnum):
    """How a command ended."""

    SUCCESS = "success"
    WARNING = "warning"
    """It has worked, but not on everything: a snapshot exists."""
    RETRY = "retry"
    """It may succeed if it is run once more."""
    FAILED = "failed"


class BackupType(StrEnum):
    """How much a backup stores, where an engine lets one choose."""

    FULL = "full"
    DIFF = "diff"
    """What differs from the last full one."""
    INCR = "incr"
    """What differs from the last one."""


class FailureClass(StrEnum):
    """Why a command did not succeed, for people, metrics and notifications."""

    AUTH = "auth"
    NETWORK = "network"
    DISK_FULL = "disk-full"
    REPO_NOT_FOUND = "repo-not-found"
    WRONG_PASSWORD = "wrong-password"  # noqa: S105 - the name of a class
    LOCKED = "locked"
    PERMISSION = "permission"
    RATE_LIMIT = "rate-limit"
    TIMEOUT = "timeout"
    SOURCE_MISSING = "source-missing"
    SOURCE_EMPTY = "source-empty"
    SOURCE_IS_LINK = "source-is-link"
    SOURCE_CHANGED = "source-changed"
    DAMAGED = "damaged"
    CLOCK = "clock"
    INTERRUPTED = "interrupted"
    HOOK = "hook"
    NO_PROGRAM = "no-program"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Command:
    """One command line.

    `env` is added to the environment of our own process; secrets are there and nowhere else.
    `shown` is what a log may hold: the verb and what it acts on, no flag and no address.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """What a backup counted; sizes in bytes, time in seconds.

    An engine counts what of it there is: what it cannot tell apart is processed, and no more.
    Blobs are restic's own; None: the engine has none.
    """

    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    files_processed: int = 0
    bytes_added: int = 0
    bytes_processed: int = 0
    seconds: float = 0.0
    dirs_new: int = 0
    dirs_changed: int = 0
    dirs_unmodified: int = 0
    data_blobs: int | None = None
    tree_blobs: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a command is: `fraction` from 0 to 1, counts of files and bytes so far."""

    fraction: float
    files: int
    total_files: int
    bytes: int
    total_bytes: int
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended, and why.

    Attributes:
        kind: never RETRY outside an engine.
        failure: the class of what went wrong; None if nothing did.
        reason: one sentence without secrets; empty on success.
        snapshot: the id of the new snapshot, or its beginning (see `Snapshot.is_called`). A
            backup that succeeded without one found nothing new.
        stats: what a backup counted.
        excerpt: the last lines of the program's output, secrets masked.
        forged: snapshots of the plan, seen on the way, that bear another plan's tag too.
        listed: the plan's other snapshots without the forged ones, as they were listed for a
            backup or shortly before; None: they were not.
        unrestored: what a restore that ended with a warning could not give to entries. Not
            all of it: programs pass over some in silence.
        tells_attributes: whether each extended attribute that was lost is in `unrestored`,
            unless the file system has none.
        note: a sentence beside the reason, without secrets, that changes nothing of how it ended.
        is_sealed: whether `snapshot` is a snapshot; else it is only captured, see `Engine.seal`.
    """

    kind: ResultKind
    failure: FailureClass | None = None
    reason: str = ""
    snapshot: str = ""
    stats: Stats | None = None
    excerpt: str = ""
    forged: "tuple[Snapshot, ...]" = ()
    listed: "tuple[Snapshot, ...] | None" = None
    unrestored: "tuple[Unrestored, ...]" = ()
    tells_attributes: bool = False
    note: str = ""
    is_sealed: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot; `time` is aware, `paths` are as the runner saw them.

    `id` is a hash, or what the engine calls it, as `2026-11-29_03-10-00`.
    """

    id: str
    time: datetime
    paths: tuple[str, ...]
    tags: tuple[str, ...] = ()
    bytes_processed: int | None = None
    files_processed: int | None = None

    @property
    def short(self) -> str:
        """The id as people see it: of a hash the first eight digits, any other whole."""
        return short_id(self.id)

    def is_called(self, name: str) -> bool:
        """Return whether `name` is the id, or begins it and is no shorter than `short`.

        Of an id `plan@name` the name alone will do.
        """
        begins = len(name) >= len(self.short) and self.id.startswith(name)
        return begins or self.id.endswith(f"@{name}")

    @property
    def plan_tags(self) -> tuple[str, ...]:
        """The tags that name a plan, each once; that of the plan which made it comes first."""
        return tuple(dict.fromkeys(tag for tag in self.tags if tag.strip().startswith("plan:")))

    @property
    def is_forged(self) -> bool:
        """Whether it bears the tag of a second plan, which a backup of one plan never sets."""
        return len(self.plan_tags) > 1


REPLACED = "\ufffd"
"""Stands in paths of entries for bytes that are no UTF-8, as engines' listings show them."""


@dataclass(frozen=True, slots=True)
class EntryAttributes:
    """The extended attributes of an entry of a snapshot, by their names; its path as bytes."""

    path: bytes
    attributes: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Unrestored:
    """What a restore could not give to an entry, in the engine's words; not its content.

    `attribute` is the name of the extended attribute, if that is what it could not give.
    """

    path: str
    message: str
    attribute: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a snapshot; None is what the engine does not tell.

    Attributes:
        path: absolute, see `has_exact_path`.
        kind: file, dir, symlink or another word of the engine.
        size: in bytes.
        mode: permissions with the set-id and sticky bits.
        mtime: in unix seconds.
        user: the number of its owner.
        group: the number of its group.
    """

    path: str
    kind: str | None = None
    size: int | None = None
    mode: int | None = None
    mtime: float | None = None
    user: int | None = None
    group: int | None = None

    @property
    def has_exact_path(self) -> bool:
        """Whether the path is its true one, so that it can be named to the engine."""
        return REPLACED not in self.path


class ChangeKind(StrEnum):
    """What became of an entry from one snapshot to another."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """An entry that differs between two snapshots; its owner and its mode do not count.

    `before` and `after` are the entry in each of them; None: it is not there, or the engine does
    not tell.
    """

    kind: ChangeKind
    path: str
    before: Entry | None = None
    after: Entry | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine keeps of a source and what else it can, in the repository at hand.

    Attributes:
        hard_links: several names of one file come back as one file.
        sparse: holes come back as holes.
        xattrs: extended attributes come back.
        acls: access control lists come back.
        time_resolution: how exactly times of files come back, in seconds.
        encryption: what it stores can be read by nobody without a password.
        progress: it says how far a backup is.
        unlock: what it leaves when it is killed may be a lock.
        prune: what is forgotten still takes space, until that is freed.
        mount: snapshots can be mounted, to look at them as at folders.
        types: the types of backups that can be asked for.
    """

    hard_links: bool
    sparse: bool
    xattrs: bool
    acls: bool
    time_resolution: float
    encryption: bool
    progress: bool
    unlock: bool
    prune: bool
    mount: bool
    types: frozenset[BackupType] = frozenset()


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock in a repository: who holds it, and when it was made or last renewed, in unix seconds.

    `is_exclusive`: nobody else may work on the repository meanwhile; else nobody who needs it
    for himself. With a `plan` nobody else may save that one either.
    """

    id: str
    hostname: str
    pid: int
    time: float
    is_exclusive: bool = False
    plan: str = ""

    def __str__(self) -> str:
        return f"PID {self.pid} on {self.hostname}"


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A program that we started and that may hold locks, as it was recorded then.

    Attributes:
        hostname: the name of the machine or container, as it is in the locks.
        pid: its number, within `namespace`.
        boot: the start of the machine, by an id of its kernel.
        namespace: the process namespace, that of a container.
        since: when it was started, in unix seconds.
        over: when it was known to have ended; None: it may live.
    """

    hostname: str
    pid: int
    boot: str
    namespace: str
    since: float
    over: float | None = None


class LockRecords(Protocol):
    """What we remember of the programs that we started, also those of a runner that died."""

    @property
    def inherited(self) -> tuple[int, ...]:
        """Descriptors that every program inherits: as long as one is open, some program lives."""
        ...

    def note(self, repo: str, child: Child) -> None:
        """Record that a program may hold locks of the repository of this name from now on."""
        ...

    def holders(self, repo: str) -> tuple[LockHolder, ...]:
        """List the programs that may have left locks in the repository of this name."""
        ...


class EngineError(SidecarError):
    """A command of the engine failed where a value was wanted; `excerpt` as in CommandResult."""

    def __init__(
        self, failure: FailureClass, message: str, hint: str = "", excerpt: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.failure = failure
        self.excerpt = excerpt


def failed(failure: FailureClass, reason: str) -> CommandResult:
    """Return the result of a command that failed."""
    return CommandResult(ResultKind.FAILED, failure, reason)


def failure_of(error: EngineError) -> CommandResult:
    """Return an EngineError as a failed result."""
    return replace(failed(error.failure, str(error)), excerpt=error.excerpt)


def as_result(action: Callable[[], CommandResult]) -> CommandResult:
    """Run an action, and return an EngineError that it raises as a failed result."""
    try:
        return action()
    except EngineError as error:
        return failure_of(error)


def refuse_type(types: Collection[BackupType], wanted: BackupType | None) -> str:
    """Return why an engine of these types makes no backup of the one that is wanted.

    Empty: it does.
    """
    if wanted is None or wanted in types:
        return ""
    has = ", ".join(one.value for one in BackupType if one in types)
    known = f"it has {has}" if has else "it has no types, each of its backups is whole"
    return f"its engine makes no backup of type {wanted.value}: {known}"


def refuse_root(target: Path) -> None:
    """Raise EngineError for a restore into `/`: from a folder things are moved in."""
    if target == Path("/"):
        message = "nothing is restored into the root, only into a folder from which it is moved in"
        raise EngineError(FailureClass.UNKNOWN, message)


def check_regular(path: str, entry: Entry | None) -> None:
    """Raise EngineError unless an entry, that of a snapshot at a path, is a regular file."""
    if entry is None:
        message, hint = (
            f"the snapshot does not hold {path}",
            "`backrest-runner ls` lists what it holds",
        )
        raise EngineError(FailureClass.SOURCE_MISSING, message, hint)
    kind = "dir" if path == "/" else entry.kind
    if kind not in (None, "file"):
        word, hint = kind, "`backrest-runner restore` brings it back as it is"
        if kind == "dir":
            word, hint = "folder", "`backrest-runner ls` lists what is in it"
        message = f"{path} is no file in the snapshot: it is a {word}"
        raise EngineError(FailureClass.UNKNOWN, message, hint)


Report = Callable[[Progress], None]
OnStart = Callable[[Child], None]
"""Gets each program that is started, at once: whoever is killed then must have recorded it."""
PieceTaker = Callable[[bytes], None]
"""Gets a content piece by piece."""


class Upkeep(Protocol):
    """The part of `Engine` that looks after a repository, whichever plans use it."""

    def forget_all(self, keep: Retention) -> CommandResult:
        """Delete the records of snapshots beyond `keep`, for each plan separately."""
        ...

    def prune(self, policy: PrunePolicy) -> CommandResult:
        """Free the space that no snapshot uses."""
        ...

    def check(self, policy: CheckPolicy) -> CommandResult:
        """Check whether the repository is damaged."""
        ...

    def unlock(self) -> CommandResult:
        """Remove locks that nobody holds any more."""
        ...

    def locks(self) -> tuple[HeldLock, ...]:
        """List the locks, oldest first. Raises EngineError."""
        ...

    def initialise(self) -> str:
        """Create the repository if it does not exist; return its id (64 hex digits)."""
        ...

    def probe(self) -> str:
        """Read the repository's id; changes nothing, creates nothing."""
        ...


class SnapshotReader(Protocol):
    """The part of `Engine` that looks into snapshots: it takes no lock and changes nothing."""

    def snapshots(self, plan: RunPlan | None, instance: str) -> tuple[Snapshot, ...]:
        """List the plan's snapshots without the forged ones, or all, oldest first."""
        ...

    def entries(self, snapshot: Snapshot, path: str) -> Iterator[Entry]:
        """Yield what a snapshot holds at and below an absolute path, however much it is."""
        ...

    def children(self, snapshot: Snapshot, path: str) -> Iterator[Entry]:
        """Yield what a snapshot holds at an absolute path, then what lies directly in it.

        Of `/` only the latter.
        """
        ...

    def holds_file(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot holds at least one regular file; ends at the first one."""
        ...

    def attributes(self, snapshot: Snapshot, path: str) -> Iterator[EntryAttributes]:
        """Yield what has extended attributes at and below an absolute path of a snapshot.

        It may take very much longer than `entries`.
        """
        ...

    def changes(self, older: Snapshot, newer: Snapshot) -> Iterator[Change]:
        """Yield what differs between two snapshots, folders before what is in them."""
        ...

    def read_file(self, snapshot: Snapshot, path: str, take: PieceTaker) -> None:
        """Read the content of a regular file at an absolute path of a snapshot.

        Raises EngineError before the first piece if there is none, or if it is something else.
        """
        ...

    def stored_bytes(self, plan: RunPlan | None, instance: str) -> int | None:
        """Return how much the plan's snapshots take in the repository, or all; None: not known.

        What several plans share counts for each of them.
        """
        ...

    def render_own(self, words: Sequence[str]) -> Command:
        """Return the command that starts the engine's program with these words of its own.

        It works on the repository, with its credentials.
        """
        ...

    def render_mount(self, plan: RunPlan | None, instance: str, folder: str) -> Command:
        """Return the command that mounts the plan's snapshots, or all, until it is ended.

        Raises EngineError where `capabilities` has no `mount`.
        """
        ...


class Engine(Upkeep, SnapshotReader, Protocol):
    """One repository behind one program. Every method blocks.

    Methods that return a `CommandResult` never raise for a failure of the program; the others
    raise EngineError.
    """

    def capabilities(self) -> Capabilities:
        """Return what it can do in this repository."""
        ...

    def remark(self, retentions: Collection[Retention]) -> str:
        """Return what is otherwise here than files and these retentions say, in a sentence.

        Empty: all is kept as it is. For a repository that is there; raises EngineError.
        """
        ...

    def capture(
        self,
        plan: RunPlan,
        instance: str,
        report: Report,
        parent: str = "",
        wanted: BackupType | None = None,
    ) -> CommandResult:
        """Read the plan's paths; a capture that succeeds reports 1.0 at its end.

        A result that is sealed has made a snapshot, or found nothing new. Else nothing of it counts
        until `seal` has succeeded, and what is never sealed is removed by a later capture.

        `parent` is the id of a snapshot that an earlier run of the plan has made, or its
        beginning: what has not changed since is not read. It may be gone, and need not be the
        newest. Without one the repository is asked. `wanted` is the type of the backup, which
        fails if that is none of `capabilities`; None: the engine chooses.
        """
        ...

    def seal(self, plan: RunPlan, captured: CommandResult, report: Report) -> CommandResult:
        """Make a snapshot of what this very engine has captured, and read no source for it.

        It is tested, named, listed and protected, whatever the engine has of that. Return how the
        whole backup ended. What is sealed already is returned as it is.
        """
        ...

    def preview(self, plan: RunPlan, instance: str, report: Report) -> CommandResult:
        """Return how a backup of the plan would end, and what it would count.

        Changes nothing, creates nothing.
        """
        ...

    def forget(self, plan: RunPlan, instance: str, keep: Retention) -> CommandResult:
        """Delete the records of the plan's snapshots beyond `keep`; never all of them."""
        ...

    def restore(
        self, snapshot: Snapshot, includes: Sequence[str], target: Path, report: Report
    ) -> CommandResult:
        """Restore absolute paths of the snapshot below `target`, which is not `/`.

        A warning means that the contents are there, but not all owners, modes, attributes or
        device nodes.
        """
        ...


class Engines(Protocol):
    """Makes the engines of repositories."""

    def make(self, repo: Repo, on_start: OnStart | None = None) -> Engine:
        """Return the engine of a repository; `on_start` gets each program that it starts.

        Raises EngineError where no engine can work on the repository as it is described.
        """
        ...
