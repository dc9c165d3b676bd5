"""What the operator of the runner has decided, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.engines.restic import OnMissing
from sidecar.lib import duration
from sidecar.lib.errors import UsageError
from sidecar.runner.due import CatchUp
from sidecar.runner.empty_source import EmptySourceOptions
from sidecar.runner.hooks.run import DEFAULT_TIMEOUT
from sidecar.runner.notify.notices import NoticeEvent

VARIABLE = "BACKREST_RUNNER_"
"""What every variable of ours begins with."""
STATE = ".runner"
"""The name of the state folder, beside the document, if nothing else is said."""


@dataclass(frozen=True, slots=True)
class Scheduling:
    """When things are run, and how many at a time."""

    seats: int = 2
    """Runs at a time; a repository has one at the most."""
    catch_up: CatchUp = CatchUp.ONCE
    """What becomes of fires that came while the runner was down."""
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
    """What is done if a path of a plan does not exist."""
    stall_timeout: float | None = 3600.0
    """How long restic may go without a sign of progress; None: for ever."""
    hook_timeout: float | None = DEFAULT_TIMEOUT
    """How long one hook may take; None: for ever, as in Backrest."""


@dataclass(frozen=True, slots=True)
class Notifying:
    """Who else is told how runs end."""

    urls: tuple[str, ...] = field(default=(), repr=False)
    """Addresses for Apprise; they hold secrets."""
    on: frozenset[NoticeEvent] = frozenset(
        {NoticeEvent.ERROR, NoticeEvent.WARNING, NoticeEvent.MISSED}
    )
    """What is told."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The Backrest that may execute the same document, and how it is found out."""

    data: Path | None = None
    """Its data directory; None: $BACKREST_DATA, else `data` beside the document's directory."""
    container: str = ""
    """Its container; empty: the usual one, if it is there."""
    docker_sock: str = ""
    """Address of the engine; empty: $DOCKER_HOST, else the usual socket."""
    force: bool = False
    """Whether it may run all the same."""


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """All that the runner needs to know from its operator."""

    config: Path
    """The document."""
    state_dir: Path | None = None
    """Where to remember things; None: `.runner` beside the document."""
    scheduling: Scheduling = field(default_factory=Scheduling)
    """When things are run."""
    running: Running = field(default_factory=Running)
    """How programs are run."""
    notifying: Notifying = field(default_factory=Notifying)
    """Who else is told."""
    emptiness: EmptySourceOptions = field(default_factory=EmptySourceOptions)
    """What is done about plans that have become empty."""
    restore_check: str = ""
    """The cron by which these are looked for beside their backups; empty: at the start only."""
    neighbour: Neighbour = field(default_factory=Neighbour)
    """The Backrest that may execute the same document."""
    identity: "ProcessUser | None" = None
    """As whom to go on after the start; None: as who it was started."""
    journal_keep: int = 1000
    """How many runs of each plan and repository are remembered."""
    health_grace: float = 3600.0
    """Seconds beyond twice its period that a plan may be without a success."""
    listen: tuple[str, int] | None = None
    """Host and port of the status pages; None: there are none."""

    @property
    def state_directory(self) -> Path:
        """Where to remember things."""
        return self.state_dir or self.config.parent / STATE


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
    """Parse a duration, of which 0 means that there is no limit; raises UsageError."""
    return parse_seconds(flag, text) or None


def resolve_identity(user: int | None, group: int | None) -> ProcessUser | None:
    """Give as whom to go on; a group alone means nothing, a user alone has one of its number."""
    if user is None and group is not None:
        raise UsageError("--pgid is given without --puid", "give the user's number as well")
    return None if user is None else ProcessUser(user, user if group is None else group)


def read_lines(flag: str, file: Path) -> tuple[str, ...]:
    """Read the lines of a secret file that say something; raises UsageError, never showing them."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"{flag} {file} cannot be read: {what}") from None
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def environment_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what programs inherit: all but our own variables, some of which hold secrets."""
    return {name: value for name, value in environ.items() if not name.startswith(VARIABLE)}
