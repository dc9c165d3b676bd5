"""The settings of the sidecar: flags, environment and secret files, parsed and checked once."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from sidecar.backrest.workloads import FOLDER
from sidecar.labels.policy import Policy
from sidecar.labels.retention import parse_retention
from sidecar.lib import duration
from sidecar.lib.errors import UsageError
from sidecar.lib.read_file import read_file
from sidecar.lib.text import SpecInvalid, is_utf8, quoted
from sidecar.planner.ids import PREFIX
from sidecar.planner.lifecycle import Orphans
from sidecar.schedule.parse import parse_schedule

_RUNNER_DOCUMENT = "runner.json"
_MODE_BITS = 0o777
# Without these Backrest itself could not read or save its document.
_OWNER_BITS = 0o600
_LONGEST_PASSWORD_FILE = 1 << 16
_URL = re.compile(r"https?://[^\s/@?#]+(?:/[^\s@?#]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class InventorySource:
    """Where the inventory comes from: a saved list, Compose files, or else Docker."""

    docker_sock: str | None = None
    """Address of Docker; None: $DOCKER_HOST, else the usual socket."""
    inventory: Path | None = None
    """A saved inventory to read instead of Docker's."""
    compose: tuple[str, ...] = ()
    """Compose files to read instead of asking Docker; `-` is standard input."""
    save_inventory: Path | None = None
    """Where to save Docker's answers."""


class ApplyVia(StrEnum):
    """The strategy by which Backrest is made to load a changed document."""

    AUTO = "auto"
    API = "api"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What happens to plans whose workload is gone."""

    orphans: Orphans = Orphans.DISABLE
    """What is done with an orphan after the grace."""
    grace: float = 7 * 86400.0
    """Seconds that a plan may be without its workload."""
    accept_orphans: bool = False
    """Act on the present orphans although they are suspiciously many."""
    accept_engine: bool = False
    """Go on although this is another Docker than before."""
    take_over: frozenset[str] = frozenset()
    """Plans that another workload than their owner may go on with."""


@dataclass(frozen=True, slots=True)
class BackrestLogin:
    """Backrest's HTTP API: where it is and who we are there."""

    url: str = ""
    """Base URL, for example http://backrest:9898; empty: there is none to be used."""
    user: str = ""
    """User name; empty where authentication is off."""
    password: str = field(default="", repr=False)
    """That user's password."""


@dataclass(frozen=True, slots=True)
class Applying:
    """How Backrest is made to load a written document; durations in seconds."""

    enabled: bool = False
    """Whether anything is done at all."""
    via: ApplyVia = ApplyVia.AUTO
    """By which strategy."""
    wait: float = 2 * 60.0
    """How long Backrest may be busy before that is reported."""
    settle: float = 10.0
    """How long nothing new is written before it is applied."""
    restart_timeout: float = 15.0
    """How long the backrest container has to stop before Docker kills it."""
    guard_after: float = 5 * 60.0
    """How old a marker of a dead run must be before its container is started again."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What wakes the daemon, and where its status pages are; durations in seconds."""

    interval: float = 60.0
    """Between two resyncs."""
    events: bool = True
    """Whether Docker's events are hints."""
    settle: float = 0.1
    """How long after a hint nothing more may come before the next pass."""
    cap: float = 0.5
    """How long hints that keep coming may put off a pass."""
    listen: tuple[str, int] | None = None
    """Host and port of the status pages; None: there are none."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names by which clients of the status pages may call this machine."""


@dataclass(frozen=True, slots=True)
class ReconcilerSettings:
    """Everything that the operator decides."""

    config: Path
    """The document."""
    policy: Policy = field(default_factory=Policy)
    """Defaults and limits for the planner."""
    source: InventorySource = field(default_factory=InventorySource)
    """Where the inventory comes from."""
    secrets_dir: Path = Path("/run/secrets")
    """The only directory below which `file:` references are read."""
    config_mode: int | None = None
    """Permission bits for the document; None keeps those it has."""
    accept_version: int | None = None
    """A document version above ours that is accepted all the same."""
    runner_config: Path | None = None
    """The runner's document, used if it is there; None: `runner.json` beside the document."""
    state_dir: Path | None = None
    """Where to remember things; None: `.sidecar` beside the document."""
    runner_named: bool = False
    """Whether the operator named the backrest container, instead of leaving the default."""
    lifetime: Lifetime = field(default_factory=Lifetime)
    """What happens to plans whose workload is gone."""
    access: BackrestLogin = field(default_factory=BackrestLogin)
    """Backrest's API."""
    applying: Applying = field(default_factory=Applying)
    """How Backrest is made to load the document."""
    watching: Watching = field(default_factory=Watching)
    """What wakes the daemon."""

    @property
    def runner_document(self) -> Path:
        """Where the runner's document is, if there is one."""
        return runner_document(self.config, self.runner_config)

    @property
    def state_directory(self) -> Path:
        """Where to remember things."""
        return self.state_dir or self.config.parent / FOLDER


def runner_document(config: Path, named: Path | None) -> Path:
    """Return where the runner's document is: as it was named, else beside config.json."""
    return named or config.parent / _RUNNER_DOCUMENT


def parse_duration(flag: str, text: str) -> float:
    """Parse `90s`, `1h30m`, `7d` or plain seconds into seconds; raises UsageError."""
    try:
        return duration.parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{flag} {error}", duration.FORMS) from None


def check_access(access: BackrestLogin) -> BackrestLogin:
    """Check Backrest's address and login; raises UsageError naming the flag."""
    if access.url and not _URL.fullmatch(access.url):
        raise UsageError(
            "--backrest-url is no address of Backrest",
            "write http://HOST:PORT or https://HOST/PATH, without a user or password in it",
        )
    check_utf8("--backrest-user", access.user)
    if not is_utf8(access.password):
        raise UsageError(
            "BACKREST_SIDECAR_BACKREST_PASSWORD is no UTF-8", "write it in UTF-8, in a UTF-8 locale"
        )
    if access.user and not access.password:
        raise UsageError(
            f"--backrest-user {access.user} has no password",
            "name a file by --backrest-password-file, or set BACKREST_SIDECAR_BACKREST_PASSWORD",
        )
    return access


def read_password(file: Path) -> str:
    """Read a password from the first line of a file; raises UsageError, which never shows it."""
    try:
        lines = read_file(file, _LONGEST_PASSWORD_FILE).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(
            f"--backrest-password-file {file} cannot be read: {what}",
            "name a file that holds the password and nothing else",
        ) from None
    if not lines or not lines[0]:
        raise UsageError(
            f"--backrest-password-file {file} is empty", "put the password on its first line"
        )
    return lines[0]


def parse_mode(text: str) -> int | None:
    """Parse `keep` (None) or octal permission bits."""
    if text == "keep":
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= _MODE_BITS or mode & _OWNER_BITS != _OWNER_BITS:
        raise UsageError(
            f"--config-mode {text} is no mode",
            "write keep, or octal bits such as 0640 that let the owner read and write",
        )
    return mode


def parse_path_map(entries: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Parse `HOST=RUNNER` entries, both absolute paths."""
    return tuple(_parse_mapping(entry) for entry in entries)


def check_utf8(flag: str, text: str) -> None:
    """Check a text that goes to the document or to Backrest; raises UsageError."""
    if not is_utf8(text):
        raise UsageError(
            f"{flag} {quoted(text)} is no UTF-8", "write it in UTF-8, in a UTF-8 locale"
        )


def _parse_mapping(entry: str) -> tuple[str, str]:
    check_utf8("--path-map", entry)
    host, equals, runner = entry.partition("=")
    if not (equals and host.startswith("/") and runner.startswith("/")) or "=" in runner:
        raise UsageError(
            f"--path-map {entry} is no mapping",
            "write /host/path=/path/in/the/runner; in the variable blanks separate several",
        )
    return host, runner


def check_policy(policy: Policy) -> Policy:
    """Check what operators may get wrong; raises UsageError naming the flag."""
    if not PREFIX.fullmatch(policy.plan_id_prefix):
        raise UsageError(
            f"--plan-id-prefix {policy.plan_id_prefix!r} cannot begin a plan id",
            "write lower-case letters, digits and _, ending in _",
        )
    if not policy.label_prefix or policy.label_prefix[-1].isalnum():
        raise UsageError(
            f"--label-prefix {policy.label_prefix!r} would run into the label's name",
            "end it with a dot, as in backrest.",
        )
    for flag, path in (
        ("--docker-root", policy.docker_root),
        ("--volume-prefix", policy.volume_prefix or "/"),
    ):
        check_utf8(flag, path)
        if not path.startswith("/"):
            raise UsageError(f"{flag} {path} is not absolute", "start it with /")
    _check_default("--default-schedule", policy.default_schedule)
    _check_default("--default-retention", policy.default_retention)
    return policy


def _check_default(flag: str, text: str) -> None:
    try:
        if flag == "--default-schedule":
            parse_schedule(text.strip(), "any", datetime.now(UTC))
        else:
            parse_retention(text.strip())
    except SpecInvalid as error:
        raise UsageError(f"{flag} {text!r}: {error.message}", error.hint) from None
