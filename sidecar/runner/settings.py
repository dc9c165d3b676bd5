"""The settings of the runner, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.backrest.workloads import FOLDER, NAME
from sidecar.engines.options import OnMissing
from sidecar.lib import duration
from sidecar.lib.errors import UsageError
from sidecar.lib.read_file import read_file
from sidecar.runner.due import CatchUp
from sidecar.runner.notify.notices import NoticeEvent
from sidecar.runner.union import DocumentChoice, DocumentFiles, DocumentName

_LONGEST_SECRET_FILE = 1 << 20
VARIABLE = "BACKREST_RUNNER_"
"""The prefix of every environment variable of the runner."""
STATE = ".runner"
"""The default name of the state folder, beside the document."""
JOURNAL = "journal.sqlite"
"""The name of the journal in the state folder."""
HOOK_TIMEOUT = 1800.0
"""Seconds that a hook may take by default."""
NO_DOCKER = "none"
"""The address of Docker with which the operator says that there is none."""


@dataclass(frozen=True, slots=True)
class Scheduling:
    """When jobs are run, and how many at a time."""

    seats: int = 4
    """How many jobs run at a time, each of another repository."""
    catch_up: CatchUp = CatchUp.ONCE
    """What to do about fires that came while the runner was down."""
    backup_on_start: bool = False
    """Whether every scheduled plan is backed up when the runner starts."""
    grace: float = 30.0
    """Seconds that runs have to end by themselves when the runner is asked to end."""


@dataclass(frozen=True, slots=True)
class Running:
    """How programs are run; times in seconds."""

    restic: str = "restic"
    """The program."""
    on_missing: OnMissing = OnMissing.FAIL
    """What to do if a path of a plan does not exist."""
    stall_timeout: float | None = 3600.0
    """How long restic may go without a sign of progress; None: for ever."""
    hook_timeout: float | None = HOOK_TIMEOUT
    """How long one hook may take; None: for ever, as in Backrest."""
    lock_wait: float = 600.0
    """How long others' locks are waited for, before START hooks that stop something."""


@dataclass(frozen=True, slots=True)
class Notifying:
    """Where notifications of runs are sent, beside the hooks of the document."""

    urls: tuple[str, ...] = field(default=(), repr=False)
    """Addresses for Apprise; they hold secrets."""
    on: frozenset[NoticeEvent] = frozenset(
        {NoticeEvent.ERROR, NoticeEvent.WARNING, NoticeEvent.MISSED}
    )
    """The events that are sent."""


@dataclass(frozen=True, slots=True)
class EmptySourceOptions:
    """What the operator wants done about empty plans.

    Attributes:
        everything: whether all plans are restored when they are empty.
        plans: the ids of further plans that are.
        on_purpose: the ids of plans that may be empty.
        may_stop: whether containers that use the paths may be stopped for a restore.
    """

    everything: bool = False
    plans: frozenset[str] = field(default_factory=frozenset)
    on_purpose: frozenset[str] = field(default_factory=frozenset)
    may_stop: bool = False

    def wants(self, plan: str) -> bool:
        """Return whether a plan is restored when it is empty."""
        return (self.everything or plan in self.plans) and plan not in self.on_purpose

    @property
    def is_active(self) -> bool:
        """Whether any plan is restored when it is empty."""
        return self.everything or bool(self.plans)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The Backrest that may execute the same document, and how to notice it."""

    data: Path | None = None
    """Its data directory; None: $BACKREST_DATA, else `data` beside the document's directory."""
    container: str = ""
    """The name of its container; empty: the usual one, if it exists."""
    docker_sock: str = ""
    """The address of Docker; empty: $DOCKER_HOST, else the usual socket; or NO_DOCKER."""
    force: bool = False
    """Whether the runner starts although Backrest runs."""

    @property
    def has_docker(self) -> bool:
        """Whether there may be a Docker; without one nobody else uses the data."""
        return self.docker_sock != NO_DOCKER


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """All settings of the runner."""

    config: Path
    """Backrest's document."""
    state_dir: Path | None = None
    """The state folder; None: `.runner` beside the document."""
    scheduling: Scheduling = field(default_factory=Scheduling)
    """When jobs are run."""
    running: Running = field(default_factory=Running)
    """How programs are run."""
    notifying: Notifying = field(default_factory=Notifying)
    """Where notifications are sent."""
    emptiness: EmptySourceOptions = field(default_factory=EmptySourceOptions)
    """What to do about plans that have become empty."""
    restore_check: str = ""
    """The cron of checks for empty plans apart from backups; empty: only at the start."""
    neighbour: Neighbour = field(default_factory=Neighbour)
    """The Backrest that may execute the same document."""
    identity: "ProcessUser | None" = None
    """The user to switch to at the start; None: the user stays."""
    journal_keep: int = 1000
    """How many runs of each job the journal keeps."""
    health_grace: float = 3600.0
    """Seconds beyond twice its period that a plan may be without a success."""
    listen: tuple[str, int] | None = None
    """Host and port of the status pages; None: there are none."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names by which clients of the status pages may call this machine."""
    runner_config: Path | None = None
    """The runner's own document; None: `runner.json` beside Backrest's."""
    documents: DocumentChoice = DocumentChoice.ALL
    """Which of the two documents are executed."""
    sidecar_dir: Path | None = None
    """Where the sidecar remembers things; None: `.sidecar` beside Backrest's document."""

    @property
    def files(self) -> DocumentFiles:
        """Where the two documents are, and which of them are executed."""
        runner = self.runner_config or self.config.parent / DocumentName.RUNNER.value
        return DocumentFiles(self.config, runner, self.documents)

    @property
    def workloads_file(self) -> Path:
        """Where the sidecar tells what workloads are called."""
        return (self.sidecar_dir or self.config.parent / FOLDER) / NAME

    @property
    def state_directory(self) -> Path:
        """The folder that holds the journal, the heartbeat and the markers."""
        return self.state_dir or self.config.parent / STATE

    @property
    def config_of_hooks(self) -> Path:
        """The path that hooks get as BACKREST_CONFIG: beside it they mark what they stop.

        Beside Backrest it is in the state folder, for the sidecar starts what Backrest has marked
        and left, and would not wait for a run of ours.
        """
        if self.documents is DocumentChoice.RUNNER:
            return self.state_directory.absolute() / DocumentName.RUNNER.value
        return self.config.absolute()

    @property
    def marker_folders(self) -> tuple[Path, ...]:
        """The folders with markers of what hooks have stopped, also before the choice changed."""
        own = self.state_directory.absolute()
        if self.documents is DocumentChoice.RUNNER:
            return (own,)
        return (self.config.absolute().parent, own)


LARGEST_ID = 2**32 - 2
"""The largest number of a user or a group: the next one means that it stays as it is."""


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """A user and a group by their numbers."""

    user: int
    group: int


def parse_seconds(flag: str, text: str) -> float:
    """Parse `90s`, `1h30m`, `7d` or plain seconds into seconds; raises UsageError."""
    try:
        return duration.parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{flag} {error}", duration.FORMS) from None


def parse_limit(flag: str, text: str) -> float | None:
    """Parse a duration into seconds; 0 means no limit, None; raises UsageError."""
    return parse_seconds(flag, text) or None


def resolve_identity(user: int | None, group: int | None) -> ProcessUser | None:
    """Return the user to switch to; without a group, the group has the user's number.

    Raises UsageError for a group without a user.
    """
    if user is None and group is not None:
        raise UsageError("--pgid is given without --puid", "give the user's number as well")
    return None if user is None else ProcessUser(user, user if group is None else group)


def read_lines(flag: str, file: Path) -> tuple[str, ...]:
    """Read the lines of a secret file but empty ones and comments.

    Raises UsageError, which never shows them.
    """
    try:
        content = read_file(file, _LONGEST_SECRET_FILE)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"{flag} {file} cannot be read: {what}") from None
    if len(content) > _LONGEST_SECRET_FILE:
        raise UsageError(f"{flag} {file} is larger than 1 MiB", "name a file of addresses")
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def environment_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of programs: all but the runner's variables, which hold secrets."""
    return {name: value for name, value in environ.items() if not name.startswith(VARIABLE)}
