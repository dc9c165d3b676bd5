"""Flags, environment and secret files come together here, checked once."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sidecar.core.ids import PREFIX
from sidecar.core.policy import HookPolicy, Policy
from sidecar.core.retention import parse_retention
from sidecar.core.schedule import parse_schedule
from sidecar.core.spec_error import SpecInvalid
from sidecar.errors import UsageError

_MODE_BITS = 0o777
# Without these Backrest itself could not read or save its document.
_OWNER_BITS = 0o600


@dataclass(frozen=True, slots=True)
class Source:
    """Where the inventory comes from: a saved list, Compose files, or else the engine."""

    docker_sock: str | None = None
    """Address of the engine; None: $DOCKER_HOST, else the usual socket."""
    inventory: Path | None = None
    """A saved inventory to read instead of the engine."""
    compose: tuple[str, ...] = ()
    """Compose files to read instead of the engine; `-` is standard input."""
    save_inventory: Path | None = None
    """Where to save what the engine said."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a pass needs to know from its operator."""

    config: Path
    """The document."""
    policy: Policy = field(default_factory=Policy)
    """Defaults and limits for the core."""
    source: Source = field(default_factory=Source)
    """Where to look for containers."""
    secrets_dir: Path = Path("/run/secrets")
    """The only directory below which `file:` references are read."""
    config_mode: int | None = None
    """Permission bits for the document; None keeps those it has."""
    accept_version: int | None = None
    """A document version above ours that is accepted all the same."""


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


def _parse_mapping(entry: str) -> tuple[str, str]:
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


__all__ = ["HookPolicy", "Settings", "Source", "check_policy", "parse_mode", "parse_path_map"]
